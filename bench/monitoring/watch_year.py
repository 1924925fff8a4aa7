"""Watch a simulated project for years: false alarms, months that could be judged, planted breaks, and late labels.

Also the estimate of the quality without labels, on months whose inputs are sound or broken. `loop.py` prints the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from harness import Row, shown
from headway.core.arrays import Floats, Ints
from headway.core.errors import NotApplicable
from headway.core.monitoring import Drift, MonitoringReport
from headway.data.context import Windows
from headway.evaluation.statistics.tables import exact_auc
from headway.monitoring.budget import WEALTH, lord_level
from headway.monitoring.input_drift import judge_inputs
from headway.monitoring.performance_estimation import LabeledScores, estimate_performance, require_known_inputs
from monitoring.canary import at_most
from monitoring.watch_worlds import (
    AMOUNT,
    CATEGORY,
    JUDGED_DAYS,
    MONTH_DAYS,
    SIGNATURE,
    Break,
    World,
    watched,
    world,
)

YEARS, MONTHS, ROWS_A_DAY = 200, 12, 50
LONG_PROJECTS, LONG_MONTHS = 3, 36
BREAKS = 40
LATE_PROJECTS, LATE_MONTHS, LATE_ROWS, DROP = 40, 12, 200, 0.03
ESTIMATES, SEASON = 60, 0.3
TINY = {"YEARS": 1, "MONTHS": 2, "LONG_PROJECTS": 1, "LONG_MONTHS": 2, "BREAKS": 1, "LATE_PROJECTS": 1, "ESTIMATES": 2}


def watch_rows() -> list[Row]:
    """All rows on what a watch says of inputs and labels."""
    return [_false_years(), _judged_months(), *_broken_found(), _late_months()]


def _false_years() -> Row:
    false = sum(any(map(_alarms, _quiet(seed, MONTHS))) for seed in range(YEARS))
    days = f"{ROWS_A_DAY} rows a day, days correlated with the day before by 0 to .7"
    return Row(
        name="watch.false_year",
        measured=false / YEARS,
        unit="share of years",
        target="at most 0.05",
        ok=false / YEARS <= 0.05,
        against=f"{false} of {YEARS} years of 12 months without change, {days}; at most {at_most(false, YEARS):.3f}",
    )


def _quiet(seed: int, months: int) -> list[MonitoringReport]:
    days = JUDGED_DAYS + MONTH_DAYS * months
    return watched(world(np.random.default_rng(seed), days=days, rows=ROWS_A_DAY), months=months)


def _alarms(report: MonitoringReport) -> bool:
    return report.status in ("drifted", "degraded") or bool(report.drift and report.drift.alarm)


def _judged_months() -> Row:
    reports = [report for seed in range(LONG_PROJECTS) for report in _quiet(1000 + seed, LONG_MONTHS)]
    judged = sum(report.status != "unknown" and report.drift is not None for report in reports) / len(reports)
    return Row(
        name="watch.judged_months",
        measured=judged,
        unit="share of months",
        target="at least 0.95",
        ok=judged >= 0.95,
        against=f"{LONG_PROJECTS} projects of {LONG_MONTHS} months, {JUDGED_DAYS} days of reference",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A break of a period of `days`: in all of them, in each `step`-th, or in `in_a_row` of them."""

    name: str
    change: Break
    days: int = MONTH_DAYS
    in_a_row: int = 0
    step: int = 1

    def broken_days(self, since: int, rng: np.random.Generator) -> Ints:
        """Return the days that are broken, of a period that begins at a day."""
        if self.in_a_row:
            begin = since + int(rng.integers(self.days - self.in_a_row + 1))
            return np.arange(begin, begin + self.in_a_row)
        return np.arange(since, since + self.days, self.step)


def _missing(rows: Floats, here: Ints) -> None:
    rows[here, 0] = np.nan


def _unit(rows: Floats, here: Ints) -> None:
    rows[here, AMOUNT] /= 10


def _unit_of_centred(rows: Floats, here: Ints) -> None:
    rows[here, 1] *= 10


def _swap(rows: Floats, here: Ints) -> None:
    swapped = np.array([1, 0, 2, 3])
    rows[here, CATEGORY] = swapped[rows[here, CATEGORY].astype(np.int64)]


PLANTED = (
    Planted(name="missing column", change=_missing),
    Planted(name="unit / 10", change=_unit),
    Planted(name="unit x 10", change=_unit_of_centred),
    Planted(name="category swap", change=_swap),
    Planted(name="10 of 30 days missing", change=_missing, in_a_row=10),
    Planted(name="10 of 30 days / 10", change=_unit, in_a_row=10),
    Planted(name="every third day / 10", change=_unit, step=3),
    Planted(name="31 of 91 days missing", change=_missing, days=91, in_a_row=31),
    Planted(name="31 of 91 days / 10", change=_unit, days=91, in_a_row=31),
    Planted(name="31 of 91 days swapped", change=_swap, days=91, in_a_row=31),
)


def _broken_found() -> Iterator[Row]:
    """Plant each break in a later month at the level that quiet months left, and ask the watch."""
    shares = {planted.name: np.mean([_found(planted, seed) for seed in range(BREAKS)]) for planted in PLANTED}
    worst = min(shares, key=lambda name: shares[name])
    mean = float(np.mean(list(shares.values())))
    yield Row(
        name="watch.broken_found",
        measured=mean,
        unit="share",
        target="at least 0.95",
        ok=mean >= 0.95,
        against=f"{BREAKS} of each of {len(PLANTED)} breaks, within the period; worst {worst}: {shares[worst]:.2f}",
    )
    yield from (shown(f"watch.broken_found[{name}]", float(share), "share") for name, share in shares.items())


def _found(planted: Planted, seed: int) -> bool:
    rng = np.random.default_rng(5000 + seed)
    before = int(rng.integers(12)) if planted.days == MONTH_DAYS else int(rng.integers(4))
    since = JUDGED_DAYS + planted.days * before
    simulated = world(rng, days=since + planted.days, rows=ROWS_A_DAY)
    broken = simulated.broken(planted.change, planted.broken_days(since, rng))
    return _drift(broken, since, since + planted.days, n_before=before).alarm


def _drift(simulated: World, since: int, until: int, *, n_before: int) -> Drift:
    windows = Windows(
        before=simulated.window(0, JUDGED_DAYS),
        between=simulated.window(JUDGED_DAYS, since),
        after=simulated.window(since, until),
        signature=SIGNATURE,
        alpha=lord_level([False] * n_before, WEALTH["drift"]),
    )
    return judge_inputs(windows, year_alpha=WEALTH["drift"])


def _late_months() -> Row:
    late = [_late(seed) for seed in range(LATE_PROJECTS)]
    median = float(np.median(late))
    found = np.isfinite(late).sum()
    return Row(
        name="watch.late_months",
        measured=median,
        unit="months",
        target="at most 1",
        ok=median <= 1,
        against=f"AUC less {DROP:g} from month 1 to 6 on, {MONTH_DAYS} days x {LATE_ROWS} rows; "
        f"{found} of {LATE_PROJECTS} found within a year",
    )


def _late(seed: int) -> float:
    """Return how many months after the first month with a lower AUC the degradation is shown."""
    rng = np.random.default_rng(9000 + seed)
    begins = seed % 6
    days = JUDGED_DAYS + MONTH_DAYS * LATE_MONTHS
    simulated = world(rng, days=days, rows=LATE_ROWS)
    worse = simulated.less_ranking(JUDGED_DAYS + MONTH_DAYS * begins, drop=DROP, rng=rng)
    reports = watched(worse, months=LATE_MONTHS, stop=True)
    return len(reports) - 1 - begins if reports[-1].status == "degraded" else np.inf


def no_label_rows() -> list[Row]:
    """All rows on the estimate without labels; half of the months are broken."""
    sound = [_estimate(seed, None) for seed in range(ESTIMATES)]
    broken = [_estimate(seed, PLANTED[seed % len(PLANTED)]) for seed in range(ESTIMATES)]
    wrong = sum(found is False for found in (*sound, *broken))
    answered = [sum(found is not None for found in part) for part in (sound, broken)]
    of = len(sound) + len(broken)
    share = answered[0] / len(sound)
    return [
        Row(
            name="no_labels.confident_wrong",
            measured=wrong / of,
            unit="share of months",
            target="at most 0.05",
            ok=wrong / of <= 0.05,
            against=f"{wrong} intervals of {sum(answered)} answers miss the AUC; {len(sound)} sound months, "
            f"{len(broken)} broken ones",
        ),
        Row(
            name="no_labels.answered",
            measured=share,
            unit="share of sound months",
            target="at least 0.6",
            ok=share >= 0.6,
            against=f"a season of {SEASON:g} standard deviations",
        ),
        shown("no_labels.answered[broken]", answered[1] / len(broken), "share of broken months"),
    ]


def _estimate(seed: int, planted: Planted | None) -> bool | None:
    """Return whether the interval of the AUC without labels covers the true one; None if no estimate is given."""
    rng = np.random.default_rng(7000 + seed)
    days, before = planted.days if planted else MONTH_DAYS, 3
    since = JUDGED_DAYS + days * before
    simulated = world(rng, days=since + days, rows=ROWS_A_DAY, season=SEASON)
    if planted:
        simulated = simulated.broken(planted.change, planted.broken_days(since, rng))
    ends = [0, JUDGED_DAYS, *(JUDGED_DAYS + days * (month + 1) for month in range(before + 1))]
    *past, now = [_labeled(simulated, *span) for span in pairwise(ends)]
    drift = _drift(simulated, since, since + days, n_before=before)
    try:
        require_known_inputs(
            simulated.window(since - days, since), simulated.window(since, since + days), SIGNATURE, drift=drift
        )
        area = estimate_performance(past, now.scores, now.groups)[0]
    except NotApplicable:
        return None
    return area.low <= exact_auc(now.scores, now.labels) <= area.high


def _labeled(simulated: World, since: int, until: int) -> LabeledScores:
    here = (simulated.day >= since) & (simulated.day < until)
    return LabeledScores(scores=simulated.scores[here], labels=simulated.labels[here], groups=simulated.day[here])
