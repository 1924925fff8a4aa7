"""A table by time bucket (day, week, month, year) and by period of its split: rows, missing values, mean target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime

import numpy as np
import polars as pl
from msgspec.structs import replace as changed

from headway.core.arrays import Floats, Ints
from headway.core.assessment import TimeBucket
from headway.core.dataset import Dataset
from headway.core.evidence import Measurement
from headway.data.matrix import group_codes as group_numbers
from headway.evaluation.statistics.intervals import SHARE, UNBOUNDED, Sample, ratio_of_sums, t_interval
from headway.evaluation.statistics.tables import tally
from headway.monitoring.scored_rows import time_expression

LENGTHS = {"1d": "%Y-%m-%d", "1w": "%Y-%m-%d", "1mo": "%Y-%m", "1q": "%Y-%m", "1y": "%Y"}
MAX_BUCKETS, MIN_BUCKETS = 24, 2
MAX_CLASSES = 4
MEAN = "target.mean"
_AT = "__at"


def time_buckets(dataset: Dataset) -> tuple[TimeBucket, ...]:
    """Return buckets of the shortest length that gives at most 24; none if rows have no time or all fall into one bucket."""
    if not dataset.roles.time:
        return ()
    times = dataset.table.select(time_expression(dataset).alias(_AT)).to_series()
    cuts = {length: times.dt.truncate(length) for length in LENGTHS}
    length = next((candidate for candidate, begins in cuts.items() if begins.n_unique() <= MAX_BUCKETS), "1y")
    begins, form = cuts[length], LENGTHS[length]
    if begins.n_unique() < MIN_BUCKETS:
        return ()
    ever = _ever_missing(dataset.table)
    parts = dataset.table.with_columns(begins.alias(_AT)).partition_by(_AT, as_dict=True, include_key=False)
    order = sorted(start for (start,) in parts)
    return tuple(_bucket(replace(dataset, table=parts[(at,)]), f"{at:{form}}", ever) for at in order)


def split_buckets(dataset: Dataset, periods: Mapping[str, Dataset]) -> tuple[TimeBucket, ...]:
    """Return one bucket for each period of the split, in their order."""
    ever = _ever_missing(dataset.table)
    return tuple(_bucket(part, name, ever) for name, part in periods.items())


def _ever_missing(table: pl.DataFrame) -> list[str]:
    return [name for name in table.columns if table[name].null_count()]


def _bucket(dataset: Dataset, name: str, ever: list[str]) -> TimeBucket:
    table = dataset.table
    since, until = _ends(dataset)
    return TimeBucket(
        name=name,
        n_rows=len(table),
        n_groups=table[dataset.roles.groups].n_unique() if dataset.roles.groups else 0,
        since=since,
        until=until,
        missing={column: table[column].null_count() / len(table) for column in ever},
        target=tuple(_target(dataset)),
    )


def _ends(dataset: Dataset) -> tuple[str, str]:
    if not dataset.roles.time:
        return "", ""
    times = dataset.table.select(time_expression(dataset)).to_series()
    ends = (times.min(), times.max())
    first, last = (end.isoformat() if isinstance(end, datetime) else "" for end in ends)
    return first, last


def _target(dataset: Dataset) -> Iterator[Measurement]:
    """Measure the mean of the target, or the share of each class, with an interval by group."""
    roles = dataset.roles
    known = replace(dataset, table=dataset.table.filter(pl.col(roles.target).is_not_null()))
    if known.table.is_empty() or roles.task == "embedding":
        return
    values = known.table[roles.target].cast(pl.Float64).to_numpy()
    groups = group_numbers(known)
    if roles.task != "multiclass":
        yield _mean(values, groups, SHARE if roles.task == "binary" else UNBOUNDED)
        return
    for value in np.unique(values)[:MAX_CLASSES]:
        share = _mean((values == value).astype(np.float64), groups, SHARE)
        yield changed(share, slice=_label(roles.classes, int(value)))


def _mean(values: Floats, groups: Ints, bounds: tuple[float, float]) -> Measurement:
    size = int(groups.max()) + 1
    estimate = ratio_of_sums(tally(groups, size, values)[None], tally(groups, size)[None])[0]
    return t_interval(MEAN, estimate, Sample(n_rows=len(values), n_groups=size, bounds=bounds))


def _label(classes: tuple[str, ...], number: int) -> str:
    return classes[number] if number < len(classes) else str(number)
