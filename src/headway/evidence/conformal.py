"""Conformal sets of a binary model: split, by group (Mondrian), and an online form that keeps its promise under drift.

The score of a class is how little the model believes in it, 1 - p; a set holds every class whose score is at most the
limit, and the limit is a quantile of the scores that true classes had.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import DataError
from headway.evidence.tables import Floats, Ints, tally

Bools = NDArray[np.bool_]


def strangeness(scores: Floats, labels: Floats) -> Floats:
    """How little the model believed in the true class: 1 - p of it; scores in [0, 1], labels {0, 1}, both [n].

    >>> strangeness(np.array([0.75, 0.75]), np.array([1.0, 0.0])).tolist()
    [0.25, 0.75]
    """
    found: Floats = np.where(labels > 0.5, 1 - scores, scores)
    return found


def limit(values: Floats, coverage: float) -> float:
    """The ceil((n + 1) coverage)-th least of values [n] (split conformal); infinite where n is too few for it.

    >>> limit(np.arange(1.0, 10.0), 0.9), limit(np.arange(1.0, 9.0), 0.9)
    (9.0, inf)
    """
    rank = int(np.ceil((len(values) + 1) * coverage - 1e-9))
    if rank > len(values):
        return float("inf")
    return float(np.partition(values, max(rank, 1) - 1)[max(rank, 1) - 1]) if rank > 0 else float("-inf")


def limits_by_part(values: Floats, parts: Ints, n_parts: int, coverage: float) -> Floats:
    """A limit for each part 0..n_parts-1 of values [n] (Mondrian), float64 [n_parts]: each part has the coverage."""
    return np.array([limit(values[parts == part], coverage) for part in range(n_parts)])


def sets(scores: Floats, limits: Floats | float) -> Bools:
    """Which of the classes 0 and 1 a set holds, bool [n, 2]; a limit for all rows, or one a row."""
    return np.column_stack([scores <= limits, 1 - scores <= limits])


@dataclass(frozen=True, slots=True, kw_only=True)
class Drifting:
    """How the online form follows drift: coverage asked, rate of its correction, groups that limits come from.

    `delay` is how many groups go by before the labels of one are known.
    """

    coverage: float = 0.9
    rate: float = 0.05
    window: int = 28
    delay: int = 1


def online_limits(values: Floats, groups: Ints, plan: Drifting = Drifting()) -> Floats:
    """A limit for each row [n], the same over a group, from groups before it alone (Gibbs and Candes 2021).

    After each group, miscoverage asked for moves by rate * (what was asked in the end - the share of its rows missed):
    a group counts once, since its rows share fate. Values are the `strangeness` of rows, groups int64 [n] in order of
    time. Groups for which no label is known have infinite limits. Raises DataError where lengths differ.
    """
    if len(values) != len(groups):
        raise DataError(f"{len(values)} scores, {len(groups)} groups", mend="one of each a row")
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
        found[place] = limit(np.concatenate(recent), 1 - asked) if recent else np.inf
    return found[codes]
