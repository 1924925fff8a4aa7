"""Conformal prediction sets and intervals: split, Mondrian, and adaptive ones that keep their coverage under drift.

Each row has a nonconformity score; a set holds the outcomes with a score up to the limit, a quantile of the scores of
rows with known labels. For classes the score is one minus the probability of the true class (`lac_scores`), or the
probability mass above it (`aps_scores`); for a regression it is the absolute error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import DataError
from headway.evaluation.statistics.tables import tally


def two_class_probabilities(scores: Floats) -> Floats:
    """Return probabilities of both classes (n, 2) from those of the positive class (n,)."""
    return np.column_stack([1 - scores, scores])


def lac_scores(scores: Floats, labels: Ints) -> Floats:
    """Return one minus the probability of the true class (Sadinle, Lei and Wasserman 2019), float64 (n,).

    Probabilities have shape (n, k), labels are int64 (n,) in 0..k-1.

    >>> lac_scores(np.array([[0.25, 0.75], [0.25, 0.75]]), np.array([1, 0])).tolist()
    [0.25, 0.75]
    """
    found: Floats = 1 - scores[np.arange(len(labels)), labels]
    return found


def lac_sets(scores: Floats, limits: Floats | float) -> Bools:
    """Return the classes in each set, bool (n, k), for one limit or one per row."""
    return (1 - scores) <= np.reshape(limits, (-1, 1))


def aps_scores(scores: Floats, labels: Ints, chance: Floats) -> Floats:
    """Return the probability mass above the true class plus a random part of its own (Romano, Sesia and Candes 2020).

    The part is 1 - chance, drawn for each row from [0, 1], so that limits are no larger than needed.

    >>> aps_scores(np.array([[0.5, 0.3, 0.2]]), np.array([1]), np.array([0.5])).tolist()
    [0.65]
    """
    rows = np.arange(len(labels))
    found: Floats = _mass_above(scores)[rows, labels] + (1 - chance) * scores[rows, labels]
    return found


def aps_sets(scores: Floats, limits: Floats | float) -> Bools:
    """Return the classes in each set, bool (n, k): the most probable ones up to that which reaches the limit."""
    return _mass_above(scores) <= np.reshape(limits, (-1, 1))


def _mass_above(scores: Floats) -> Floats:
    """Return the probability mass of the classes ranked above each, float64 (n, k); of equal ones the later ranks first."""
    order = np.argsort(scores, axis=1, kind="stable")[:, ::-1]
    ordered = np.take_along_axis(scores, order, axis=1)
    found = np.empty_like(scores)
    np.put_along_axis(found, order, np.cumsum(ordered, axis=1) - ordered, axis=1)
    return found


def conformal_quantile(values: Floats, coverage: float) -> float:
    """Return the ceil((n + 1) coverage)-th smallest of values (n,); infinite if n is too small for it.

    >>> conformal_quantile(np.arange(1.0, 10.0), 0.9), conformal_quantile(np.arange(1.0, 9.0), 0.9)
    (9.0, inf)
    """
    rank = int(np.ceil((len(values) + 1) * coverage - 1e-9))
    if rank > len(values):
        return float("inf")
    return float(np.partition(values, max(rank, 1) - 1)[max(rank, 1) - 1]) if rank > 0 else float("-inf")


def mondrian_quantiles(values: Floats, parts: Ints, n_parts: int, coverage: float) -> Floats:
    """Return the limit of each part 0..n_parts-1 of values (n,), so that each part has the coverage (Mondrian)."""
    return np.array([conformal_quantile(values[parts == part], coverage) for part in range(n_parts)])


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveConformal:
    """Settings of adaptive conformal prediction.

    Attributes
    ----------
    coverage : float
        Target coverage, in (0, 1).
    rate : float
        Step size of the correction.
    window : int
        Groups whose scores give the limit.
    delay : int
        Groups that pass before the labels of one are known.
    """

    coverage: float = 0.9
    rate: float = 0.05
    window: int = 28
    delay: int = 1


def adaptive_limits(values: Floats, groups: Ints, plan: AdaptiveConformal = AdaptiveConformal()) -> Floats:
    """Return a limit for each row (n,), the same within a group, from earlier groups alone (Gibbs and Candes 2021).

    After each group the miscoverage moves by rate * (target - share of its rows missed): a group counts once, since its
    rows are dependent.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Nonconformity scores.
    groups : ndarray of shape (n,)
        Groups in order of time.
    plan : AdaptiveConformal
        Coverage, rate, window and delay.

    Returns
    -------
    ndarray of shape (n,)
        Limits; infinite for groups before which no label is known.

    Raises
    ------
    DataError
        If the lengths differ.
    """
    if len(values) != len(groups):
        raise DataError(f"{len(values)} scores, {len(groups)} groups", hint="give one group per score")
    numbers, codes = np.unique(groups, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    parts = np.split(values[order], np.cumsum(tally(codes, len(numbers)))[:-1].astype(np.int64))
    miscoverage = target = 1 - plan.coverage
    found = np.empty(len(parts))
    for index in range(len(parts)):
        known = index - plan.delay
        if known > 0:
            miscoverage += plan.rate * (target - float((parts[known - 1] > found[known - 1]).mean()))
        recent = parts[max(0, known - plan.window) : max(0, known)]
        found[index] = conformal_quantile(np.concatenate(recent), 1 - miscoverage) if recent else np.inf
    return found[codes]
