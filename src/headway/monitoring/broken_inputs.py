"""The record of broken inputs: cells (column, day) that the rules of `input_rules` found, as later steps read it.

A report keeps the cells of its period. A retraining applies the rules again to the rows of today, so that a repaired
feed counts at once: days since the release was judged are held against those that it was judged on, by calendar month
as in `headway watch`. Older days are broken if a report found them so and the rows of today still are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np
import polars as pl

from headway.core.arrays import Bools, Ints
from headway.core.dataset import Dataset
from headway.core.errors import DataError
from headway.core.monitoring import BrokenInput, MonitoringReport
from headway.data.context import Windows
from headway.monitoring.budget import broken_days, day_number, recorded_inputs
from headway.monitoring.deployed_release import DeployedRelease
from headway.monitoring.input_drift import find_broken_inputs
from headway.monitoring.input_rules import MIN_DAYS, check_rows, iso_days
from headway.monitoring.scored_rows import input_window, time_expression

_DAY = "datetime64[D]"


def broken_since_training(
    deployed: DeployedRelease, dataset: Dataset, reports: Iterable[MonitoringReport], *, until: datetime | None = None
) -> list[BrokenInput]:
    """Apply the rules to the rows of a table since the training of a release began, in order of time.

    The reference is the days that the release was judged on; if they are too few for the rules on days, those that it
    was trained on as well, and if these are too few, the rules on rows hold (O010). Days that a report found broken are
    no reference.
    """
    time = time_expression(dataset)
    begin = datetime.fromisoformat(deployed.training.since)
    table = dataset.table.filter((time >= begin) & (time < until if until else pl.lit(True))).sort(time)
    if table.is_empty():
        return []
    release = deployed.release
    rows = input_window(table, time, release.variant.signature)
    recorded = recorded_inputs(reports)
    healthy = ~np.isin(rows.groups, list(broken_days(recorded)))
    judged_since, judged_until = (np.datetime64(text).astype(_DAY).astype(np.int64) for text in deployed.judged)
    reference = healthy & (rows.groups >= judged_since) & (rows.groups < judged_until)
    if len(np.unique(rows.groups[reference])) < MIN_DAYS:
        reference = healthy & (rows.groups < judged_until)
    is_short = len(np.unique(rows.groups[reference])) < MIN_DAYS

    def broken_on(period: Bools, between: Bools) -> list[BrokenInput]:
        if not (period.any() and reference.any()):
            return []
        if is_short:
            findings = check_rows(rows.rows[period], rows.rows[reference], release.contract, release.variant.signature)
            days = iso_days(np.unique(rows.groups[period]))
            return [BrokenInput(column=finding.where, days=days, message=finding.message) for finding in findings]
        windows = Windows(
            before=rows.subset(reference),
            between=rows.subset(between),
            after=rows.subset(period),
            signature=release.variant.signature,
        )
        return find_broken_inputs(windows, release.contract)

    broken = list[BrokenInput]()
    for earlier in recorded:
        numbers = np.array([day_number(day) for day in earlier.days])
        days = np.isin(rows.groups, numbers[numbers < judged_until])
        broken += [now for now in broken_on(days, np.zeros_like(days)) if now.column == earlier.column]
    later = rows.groups >= judged_until
    months = _months(rows.groups)
    for month in np.unique(months[later]):
        broken += broken_on(later & (months == month), later & (months < month))
    return broken


def require_healthy_inputs(days: Ints, broken: Sequence[BrokenInput]) -> None:
    """Raise DataError if an input is out of its range on one of these days, counted from 1970."""
    judged = frozenset(days.tolist())
    out = [entry for entry in broken if judged & broken_days([entry])]
    if not out:
        return
    longest = {entry.column: entry for entry in sorted(out, key=lambda entry: len(entry.days))}
    raise DataError(
        f"inputs are out of their range on {len(judged & broken_days(out))} of the {len(judged)} days to judge by: "
        f"{', '.join(sorted(longest))}",
        where="; ".join(longest[column].message for column in sorted(longest)),
        hint="repair the feed, then headway retrain; if the world moved, and no feed broke: "
        f"[retrain] accept_out_of_range = {sorted(longest)}".replace("'", '"'),
    )


def _months(days: Ints) -> Ints:
    months: Ints = days.astype(_DAY).astype("datetime64[M]").astype(np.int64)
    return months
