"""What a model that never saw a row says of it: out-of-fold probabilities, and what the other rows of its group add."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FOLDS = 5
PRIOR_STRENGTHS = (20.0, 100.0, 500.0)
"""How many rows of what is usual may stand against what was seen of a part."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OutOfFold:
    """Probabilities float64 [n, k] of labelled rows, each by a model that learned from other groups alone.

    `rows` int64 [n] are their places in the table; `labels` int64 [n] point into `classes`, the values of the target;
    `groups` int64 [n] in 0..G-1. `sure` [n, k] says by which rows a class is known best; it must not lean on the label
    of the row, not even through what is left of a part without it.
    """

    rows: Ints
    labels: Ints
    probabilities: Floats
    groups: Ints
    classes: tuple[str, ...]
    confidence: Floats

    @property
    def n_groups(self) -> int:
        """How many groups there are."""
        return int(self.groups.max()) + 1

    @property
    def label_probability(self) -> Floats:
        """The probability of the label that each row has, [n]."""
        of: Floats = self.probabilities[np.arange(len(self.labels)), self.labels]
        return of


def group_folds(groups: Ints, count: int = FOLDS, *, seed: int = 0) -> Ints:
    """The fold of each row, whole groups drawn into folds of about as many rows, int64 [n] in 0..count-1."""
    sizes = np.bincount(groups)
    order = np.random.default_rng(seed).permutation(len(sizes))
    middles = np.cumsum(sizes[order]) - sizes[order] / 2
    of_group = np.empty(len(sizes), dtype=np.int64)
    of_group[order] = np.minimum(middles * count // len(groups), count - 1)
    found: Ints = of_group[groups]
    return found


def adjust_by_subgroups(oof: OutOfFold, parts: Sequence[Ints]) -> Floats:
    """Probabilities [n, k] with what the other rows of its part say of a row, for each division into parts, [n].

    The odds of each class move by how often the rest of the part had it over how often that was expected, both with as
    many rows of the usual shares as tell the labels best: flights of one stormy day are late together, which no other
    day can tell. A row's own label is left out.
    """
    return _adjusted(oof, parts, _sum_of_others)


def adjust_by_half_subgroups(oof: OutOfFold, parts: Sequence[Ints]) -> Floats:
    """As `adjust_by_subgroups`, but each half of a part is told by the other half.

    What a part has without a row is the less the more its own label was of a class, so that among rows that are sure
    of a class those stand first that are not of it. Halves have no such trace.
    """
    half = np.random.default_rng(0).integers(0, 2, len(oof.labels))

    def of_other_half(values: Floats, part: Ints) -> Floats:
        count = 2 * (int(part.max()) + 1)
        sums = np.column_stack([np.bincount(part * 2 + half, column, count) for column in values.T])
        found: Floats = sums[part * 2 + 1 - half]
        return found

    return _adjusted(oof, parts, of_other_half)


def _adjusted(oof: OutOfFold, parts: Sequence[Ints], rest: Callable[[Floats, Ints], Floats]) -> Floats:
    """Part by part, with the strength that tells the labels best; parts that tell nothing leave all as it was."""
    held = np.eye(len(oof.classes))[oof.labels]
    found = oof.probabilities
    for part in parts:
        seen, expected = (rest(each, part) for each in (held, found))
        ways = [found]
        for strength in PRIOR_STRENGTHS:
            usual = held.mean(axis=0) * strength
            moved = found * (seen + usual) / (expected + usual)
            ways.append(moved / moved.sum(axis=1, keepdims=True))
        found = min(ways, key=lambda each: log_loss(each, oof.labels))
    return found


def log_loss(probabilities: Floats, labels: Ints) -> float:
    """The mean log loss of labels int64 [n] by probabilities [n, k]."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())


def _sum_of_others(values: Floats, part: Ints) -> Floats:
    """The sum over the other rows of a row's part, [n, k]."""
    sums = np.column_stack([np.bincount(part, column) for column in values.T])
    others: Floats = sums[part] - values
    return np.maximum(others, 0.0)
