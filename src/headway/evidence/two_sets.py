"""Two different sets of groups (two periods, canary against live): an interval for their difference."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from headway.core.evidence import Measurement
from headway.evidence.intervals import LEVEL, Estimate, Floats, Sample, interval, student_quantile
from headway.evidence.tables import ScoreTable

Weighted = Callable[[Floats], tuple[Floats, Floats]]

PERMUTATION = "studentised permutation of groups"


def between(name: str, statistic: Weighted, in_first: NDArray[np.bool_], sample: Sample) -> Measurement:
    """First set minus second, two different sets of groups (two periods, canary against live); `in_first` bool [G].

    The t quantile gives way to that of |D*| / se* over 999 random regroupings (Chung and Romano 2013): a few groups
    that carry all make it wide. `se` is scaled so that a t bound with `dof` reproduces the interval. Where groups lean
    on their neighbours in time, give runs of groups as one.
    """
    count = len(in_first)
    weights = np.vstack([in_first.astype(np.float64), _regroupings(count, int(in_first.sum()))])
    parts = [_difference(statistic, part) for part in np.array_split(weights, 4)]  # small arrays: half the time
    difference, se = (np.concatenate(each) for each in zip(*parts, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(difference == 0, 0.0, np.abs(difference / se))
    critical = float(np.quantile(np.where(np.isnan(ratios), np.inf, ratios), LEVEL, method="higher"))
    scale = critical / student_quantile(0.5 + LEVEL / 2, max(count - 1, 3))
    estimate = Estimate(value=float(difference[0]), se=float(se[0]) * scale, dof=count - 1, method=PERMUTATION)
    return interval(name, estimate, sample)


def _difference(statistic: Weighted, weights: Floats) -> tuple[Floats, Floats]:
    """First set minus the rest, and its standard error, for each line of weights [R, G] -> [R], [R]."""
    (a, var_a), (b, var_b) = statistic(weights), statistic(1 - weights)
    return a - b, np.sqrt(var_a + var_b)


@lru_cache(maxsize=2)
def _regroupings(count: int, first: int) -> Floats:
    """999 random choices of `first` groups among `count`, 1 where chosen -> [999, count]; the same at every call."""
    order = np.argsort(np.random.default_rng(0).random((999, count)), axis=1)
    chosen = (order < first).astype(np.float64)
    chosen.setflags(write=False)
    return chosen


def mean_of(sums: Floats, rows: Floats) -> Weighted:
    """For `between`: the mean over rows from sums and rows [G] by group, with its linearised variance by group."""

    def weighted(weights: Floats) -> tuple[Floats, Floats]:
        total = weights @ rows
        values = weights @ sums / total
        influence = (sums - values[:, None] * rows) / total[:, None]
        return values, _variance(weights, influence)

    return weighted


def auc_of(table: ScoreTable) -> Weighted:
    """For `between`: the area under the ROC curve, its variance DeLong's summed by group; bins shared by both sets."""
    positives, negatives = table.positives, table.negatives

    def weighted(weights: Floats) -> tuple[Floats, Floats]:
        ones, zeros = weights @ positives, weights @ negatives
        n_ones, n_zeros = ones.sum(1, keepdims=True), zeros.sum(1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            below, above = _middle(zeros) / n_zeros, 1 - _middle(ones) / n_ones
            area = np.einsum("rb,rb->r", ones, below)[:, None] / n_ones
            influence = (below @ positives.T - area * positives.sum(1)) / n_ones
            influence += (above @ negatives.T - area * negatives.sum(1)) / n_zeros
        return area[:, 0], _variance(weights, influence)

    return weighted


def _middle(counts: Floats) -> Floats:
    """How many lie below the middle of each bin, counts [R, bins]."""
    middle: Floats = np.cumsum(counts, 1)
    middle -= 0.5 * counts
    return middle


def _variance(weights: Floats, influence: Floats) -> Floats:
    count = weights.sum(1)
    variance: Floats = (weights * np.square(influence)).sum(1) * count / (count - 1)
    return variance
