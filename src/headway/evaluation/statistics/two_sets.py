"""Permutation intervals for the difference of two sets of groups: two periods, or canary against live."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from headway.core.arrays import Floats
from headway.core.evidence import Measurement
from headway.evaluation.statistics.intervals import LEVEL, Estimate, Sample, student_quantile, t_interval
from headway.evaluation.statistics.tables import ScoreTable

Weights = NDArray[np.floating]
Sets = tuple[tuple[Floats, Floats], tuple[Floats, Floats]]
TwoSampleStatistic = Callable[[Weights], Sets]
"""From weights [R, G] in [0, 1] of the groups, the value and variance [R] of the set they weigh, and of the rest."""

PERMUTATION = "studentised permutation of groups"


def permutation_interval(
    name: str, statistic: TwoSampleStatistic, in_first: NDArray[np.bool_], sample: Sample
) -> Measurement:
    """Build the interval of first set minus second; `in_first` bool (G,) marks the groups of the first set.

    The t quantile is replaced by that of |D*| / se* over 999 random regroupings (Chung and Romano 2013), so that a few
    dominating groups widen it. `se` is scaled so that a t bound with `dof` reproduces the interval. Groups that depend
    on their neighbours in time are to be given as runs.
    """
    count = len(in_first)
    weights: list[Weights] = [in_first[None].astype(np.float64)]
    weights += np.array_split(_regroupings(count, int(in_first.sum())), 4)  # small arrays: half the time
    parts = [_difference(statistic, part) for part in weights]
    difference, se = (np.concatenate(values) for values in zip(*parts, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(difference == 0, 0.0, np.abs(difference / se))
    critical = float(np.quantile(np.where(np.isnan(ratios), np.inf, ratios), LEVEL, method="higher"))
    scale = critical / student_quantile(0.5 + LEVEL / 2, max(count - 1, 3))
    estimate = Estimate(value=float(difference[0]), se=float(se[0]) * scale, dof=count - 1, method=PERMUTATION)
    return t_interval(name, estimate, sample)


def _difference(statistic: TwoSampleStatistic, weights: Weights) -> tuple[Floats, Floats]:
    """Return first set minus the rest, and its standard error, for weights (R, G)."""
    (a, var_a), (b, var_b) = statistic(weights)
    return a - b, np.sqrt(var_a + var_b)


@lru_cache(maxsize=2)
def _regroupings(count: int, first: int) -> NDArray[np.float32]:
    """Draw 999 random choices of `first` among `count` groups, the same at every call, float32 (999, count).

    Single precision is twice as fast, and suffices for the place of a quantile.
    """
    order = np.argsort(np.random.default_rng(0).random((999, count)), axis=1)
    chosen = (order < first).astype(np.float32)
    chosen.setflags(write=False)
    return chosen


def mean_statistic(sums: Floats, rows: Floats) -> TwoSampleStatistic:
    """Return the statistic "mean over rows" for sums and rows (G,) by group, with its linearised variance."""

    def one(weights: Weights) -> tuple[Floats, Floats]:
        total = weights @ rows
        values = weights @ sums / total
        influence = (sums - values[:, None] * rows) / total[:, None]
        return values, _variance(weights, influence)

    def both(weights: Weights) -> Sets:
        return one(weights), one(1 - weights)

    return both


def auc_statistic(table: ScoreTable) -> TwoSampleStatistic:
    """Return the statistic "area under the ROC curve", with DeLong's variance summed by group."""

    def both(weights: Weights) -> Sets:
        counts = table.positives.astype(weights.dtype), table.negatives.astype(weights.dtype)
        ones, zeros = (weights @ by_group for by_group in counts)
        rest = counts[0].sum(0) - ones, counts[1].sum(0) - zeros
        return _area(weights, (ones, zeros), counts), _area(1 - weights, rest, counts)

    return both


def _area(weights: Weights, sums: tuple[Weights, Weights], counts: tuple[Weights, Weights]) -> tuple[Floats, Floats]:
    """Return area and variance (R,) of weighted sets, from their positives and negatives, and those by group."""
    (ones, zeros), (positives, negatives) = sums, counts
    n_ones, n_zeros = ones.sum(1, keepdims=True), zeros.sum(1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        below, above = _middle(zeros) / n_zeros, 1 - _middle(ones) / n_ones
        area = np.einsum("rb,rb->r", ones, below)[:, None] / n_ones
        influence = (below @ positives.T - area * positives.sum(1)) / n_ones
        influence += (above @ negatives.T - area * negatives.sum(1)) / n_zeros
    return area[:, 0], _variance(weights, influence)


def _middle(counts: Weights) -> Weights:
    """Count what lies below the middle of each bin, counts (R, bins)."""
    middle: Weights = np.cumsum(counts, 1)
    middle -= 0.5 * counts
    return middle


def _variance(weights: Weights, influence: Weights) -> Floats:
    count = weights.sum(1)
    variance: Floats = (weights * np.square(influence)).sum(1) * count / (count - 1)
    return variance
