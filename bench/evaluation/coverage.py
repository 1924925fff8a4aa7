"""The rows `coverage.*` of bench/evidence.py: whether an interval of 95 % covers the truth in 93 to 97 %."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from evaluation.days import Days, simulated
from evaluation.flight_rows import Flights, year
from harness import Row
from headway.core.arrays import Floats
from headway.core.evidence import Measurement
from headway.evaluation.statistics.intervals import SHARE, Sample, jackknife_interval, period_change
from headway.evaluation.statistics.tables import ScoreTable, auc, leave_one_out_auc, score_table

DRAWS, SPLITS, OF_TWO_MONTHS = 2000, 2000, 500
DAYS, LEANING_DAYS, FEW_DAYS = (30, 120), (62, 120), 30
LEAN, TRUTH_DAYS, TRUTHS = 0.3, 20_000, 10
PROMISED = (0.93, 0.97)
SINGLE, PAIRED = ("roc_auc", "brier"), ("roc_auc.drop", "brier.drop")
Z = 1.959964
TINY = {"DRAWS": 2, "SPLITS": 2, "OF_TWO_MONTHS": 2, "TRUTH_DAYS": 50, "TRUTHS": 1}


def rows() -> tuple[list[Row], list[str]]:
    """Measure all rows; a row with several cases reports the case furthest from 95 %, and lists them all."""
    data, rng = year(), np.random.default_rng(0)
    later = Days.of(data.within(5, 12).answers())
    count = len(later.rows)
    drawn = {
        days: _shares((later.drawn(rng.integers(0, count, days)) for _ in range(DRAWS)), later.values())
        for days in DAYS
    }
    known = [simulated(TRUTH_DAYS, LEAN, rng).values() for _ in range(TRUTHS)]
    truth = {name: float(np.mean([values[name] for values in known])) for name in known[0]}
    leaning = {
        days: _shares((simulated(days, LEAN, rng) for _ in range(DRAWS)), truth) for days in (FEW_DAYS, *LEANING_DAYS)
    }
    few = {FEW_DAYS: leaning.pop(FEW_DAYS)}
    months = {month: _halves(data.within(month, month + 1), OF_TWO_MONTHS, rng) for month in range(5, 12)}
    worst = min(months, key=lambda month: months[month][0])
    by_day, by_row = _halves(data.within(5, 12), SPLITS, rng)
    return [
        _row("coverage.single", _named(drawn, SINGLE)),
        _row("coverage.paired", _named(drawn, PAIRED)),
        _row("coverage.halves", {"May to December": by_day}, f"; {by_row:.3f} by row (DeLong)"),
        _row("coverage.simulated", _named(leaning, SINGLE + PAIRED)),
        _row("coverage.simulated_few", _named(few, SINGLE + PAIRED)),
        Row(
            name="coverage.worst_month",
            measured=months[worst][0],
            unit="share",
            target="stated",
            ok=True,
            against=", ".join(f"months {month} and {month + 1}: {share:.3f}" for month, (share, _) in months.items()),
        ),
    ], []


def _shares(worlds: Iterable[Days], truth: Mapping[str, float]) -> dict[str, float]:
    """Return for each measure the share of worlds whose interval covers the truth."""
    covered = [
        {name: interval.low <= truth[name] <= interval.high for name, interval in one.measured().items()}
        for one in worlds
    ]
    return {name: float(np.mean([flags[name] for flags in covered])) for name in truth}


def _named(found: Mapping[int, Mapping[str, float]], measures: Iterable[str]) -> dict[str, float]:
    return {f"{measure}, {days} days": shares[measure] for days, shares in found.items() for measure in measures}


def _row(name: str, shares: Mapping[str, float], against: str = "") -> Row:
    """Return the share that is furthest from 95 %, with all of them."""
    low, high = PROMISED
    worst = max(shares.values(), key=lambda share: abs(share - 0.95))
    message = ", ".join(f"{case}: {share:.3f}" for case, share in shares.items())
    target = f"{low} to {high}"
    return Row(
        name=name, measured=worst, unit="share", target=target, ok=low <= worst <= high, against=message + against
    )


def _halves(data: Flights, splits: int, rng: np.random.Generator) -> tuple[float, float]:
    """Return how often the interval of the difference of random halves of the days covers 0: by day, and by row."""
    answers = data.answers()
    table = score_table(answers.scores, answers)
    by_day = by_row = 0
    for _ in range(splits):
        first = rng.permutation(answers.n_groups) < answers.n_groups // 2
        found = period_change(_auc(table, first), _auc(table, ~first))
        by_day += found.low <= 0 <= found.high
        by_row += _delong_covers(table, (first.astype(np.float64), 1.0 - first))
    return by_day / splits, by_row / splits


def _auc(table: ScoreTable, days: NDArray[np.bool_]) -> Measurement:
    """Return the AUC of these days, with its interval by day."""
    part = ScoreTable(table.positives[days], table.negatives[days])
    value = float(auc(part.positives.sum(0), part.negatives.sum(0)))
    rows = int(part.positives.sum() + part.negatives.sum())
    sample = Sample(n_rows=rows, n_groups=int(days.sum()), bounds=SHARE)
    return jackknife_interval("roc_auc", value, leave_one_out_auc(part), sample)


def _delong_covers(table: ScoreTable, halves: tuple[Floats, Floats]) -> bool:
    """Return whether the interval with independent rows (DeLong 1988, from counts by score) covers 0."""
    parts = [_delong(half @ table.positives, half @ table.negatives) for half in halves]
    return abs(parts[0][0] - parts[1][0]) <= Z * math.sqrt(parts[0][1] + parts[1][1])


def _delong(positives: Floats, negatives: Floats) -> tuple[float, float]:
    """Area under the ROC curve of counts [bins] by score, and its variance with rows as independent."""
    ones, zeros = positives.sum(), negatives.sum()
    below = (np.cumsum(negatives) - 0.5 * negatives) / zeros
    above = 1 - (np.cumsum(positives) - 0.5 * positives) / ones
    area = float(positives @ below / ones)
    variance = positives @ (below - area) ** 2 / (ones * (ones - 1)) + negatives @ (above - area) ** 2 / (
        zeros * (zeros - 1)
    )
    return area, float(variance)
