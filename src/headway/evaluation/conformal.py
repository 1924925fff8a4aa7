"""Conformal sets and intervals: split, by part (Mondrian), and an online form that keeps its promise under drift.

Each row has a number that says how strange what came true was to the model; a set holds what is no stranger than the
limit, and the limit is a quantile of the numbers that known rows had. Of classes it is how little the model believed in
the true one (`lac_scores`), or all that it believed in more (`aps_scores`); of a regression the distance of answer and truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import DataError
from headway.evaluation.statistics.tables import tally


def two_class_probabilities(scores: Floats) -> Floats:
    """Probabilities of both classes, float64 [n, 2], from those of the positive one [n]."""
    return np.column_stack([1 - scores, scores])


def lac_scores(scores: Floats, labels: Ints) -> Floats:
    """How little the model believed in the true class, 1 - p of it (Sadinle, Lei and Wasserman 2019), float64 [n].

    Probabilities float64 [n, k], labels int64 [n] in 0..k-1.

    >>> lac_scores(np.array([[0.25, 0.75], [0.25, 0.75]]), np.array([1, 0])).tolist()
    [0.25, 0.75]
    """
    found: Floats = 1 - scores[np.arange(len(labels)), labels]
    return found


def lac_sets(scores: Floats, limits: Floats | float) -> Bools:
    """Which classes a set holds, bool [n, k]; a limit for all rows, or one a row."""
    return (1 - scores) <= np.reshape(limits, (-1, 1))


def aps_scores(scores: Floats, labels: Ints, chance: Floats) -> Floats:
    """The probability of all classes above the true one, and a part of its own (Romano, Sesia and Candes 2020).

    The part is 1 - chance, drawn for each row from [0, 1], so that limits are no larger than they must be.

    >>> aps_scores(np.array([[0.5, 0.3, 0.2]]), np.array([1]), np.array([0.5])).tolist()
    [0.65]
    """
    rows = np.arange(len(labels))
    found: Floats = _mass_above(scores)[rows, labels] + (1 - chance) * scores[rows, labels]
    return found


def aps_sets(scores: Floats, limits: Floats | float) -> Bools:
    """Which classes a set holds, bool [n, k]: the most probable ones, with the one that reaches the limit."""
    return _mass_above(scores) <= np.reshape(limits, (-1, 1))


def _mass_above(scores: Floats) -> Floats:
    """What all classes above each have together, float64 [n, k]; of equal ones a later class comes first."""
    order = np.argsort(scores, axis=1, kind="stable")[:, ::-1]
    ordered = np.take_along_axis(scores, order, axis=1)
    found = np.empty_like(scores)
    np.put_along_axis(found, order, np.cumsum(ordered, axis=1) - ordered, axis=1)
    return found


def conformal_quantile(values: Floats, coverage: float) -> float:
    """The ceil((n + 1) coverage)-th least of values [n] (split conformal); infinite where n is too few for it.

    >>> conformal_quantile(np.arange(1.0, 10.0), 0.9), conformal_quantile(np.arange(1.0, 9.0), 0.9)
    (9.0, inf)
    """
    rank = int(np.ceil((len(values) + 1) * coverage - 1e-9))
    if rank > len(values):
        return float("inf")
    return float(np.partition(values, max(rank, 1) - 1)[max(rank, 1) - 1]) if rank > 0 else float("-inf")


def mondrian_quantiles(values: Floats, parts: Ints, n_parts: int, coverage: float) -> Floats:
    """A limit for each part 0..n_parts-1 of values [n] (Mondrian), float64 [n_parts]: each part has the coverage."""
    return np.array([conformal_quantile(values[parts == part], coverage) for part in range(n_parts)])


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveConformal:
    """How the online form follows drift: coverage asked, rate of its correction, groups that limits come from.

    `delay` is how many groups go by before the labels of one are known.
    """

    coverage: float = 0.9
    rate: float = 0.05
    window: int = 28
    delay: int = 1


def adaptive_limits(values: Floats, groups: Ints, plan: AdaptiveConformal = AdaptiveConformal()) -> Floats:
    """A limit for each row [n], the same over a group, from groups before it alone (Gibbs and Candes 2021).

    After each group, miscoverage asked for moves by rate * (what was asked in the end - the share of its rows missed):
    a group counts once, since its rows share fate. Values say how strange each row was, groups int64 [n] in order of
    time. Groups for which no label is known have infinite limits. Raises DataError where lengths differ.
    """
    if len(values) != len(groups):
        raise DataError(f"{len(values)} scores, {len(groups)} groups", hint="one of each a row")
    numbers, codes = np.unique(groups, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    parts = np.split(values[order], np.cumsum(tally(codes, len(numbers)))[:-1].astype(np.int64))
    asked = target = 1 - plan.coverage
    found = np.empty(len(parts))
    for place in range(len(parts)):
        known = place - plan.delay
        if known > 0:
            asked += plan.rate * (target - float((parts[known - 1] > found[known - 1]).mean()))
        recent = parts[max(0, known - plan.window) : max(0, known)]
        found[place] = conformal_quantile(np.concatenate(recent), 1 - asked) if recent else np.inf
    return found[codes]
