"""Which layers can be int8: how far answers move when each is so alone, and the most that together move them little."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Layers = tuple[str, ...]

_GROUPS = 24
_TAIL = 0.999


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class AnswerShift:
    """How far answers moved on the sample: the most, and what 999 of 1,000 rows stay below."""

    most: float
    tail: float


def answer_shift(expected: Floats, found: Floats, *, scale: float = 1.0) -> AnswerShift:
    """The change of answers (float64 [n, k]) as a share of `scale`; a number that became none moved without limit.

    >>> answer_shift(np.array([[0.5], [0.5]]), np.array([[0.5], [0.75]])).most
    0.25
    """
    same = (expected == found) | (np.isnan(expected) & np.isnan(found))
    with np.errstate(invalid="ignore"):
        change = np.where(same, 0.0, np.nan_to_num(np.abs(expected - found), nan=np.inf)).max(axis=1)
    # The value of a row, and none between two: between two infinities there is none.
    return AnswerShift(
        most=float(change.max()) / scale, tail=float(np.quantile(change, _TAIL, method="higher")) / scale
    )


def select_layers(layers: Layers, moved: Callable[[Layers], AnswerShift], limits: Sequence[float]) -> list[Layers]:
    """All layers, and for each limit the most that keep the largest move below it: sets that differ, none empty.

    `moved` says what a set moves, in the order of the graph. Layers are taken from the least to
    the most sensitive, each alone; where there are more than 24, neighbours go together.
    """
    groups = group_neighbors(layers)
    alone = {group: moved(group) for group in groups}
    ranked = sorted(groups, key=lambda group: alone[group])
    steps = [_in_order(layers, ranked[: number + 1]) for number in range(len(ranked))]
    known = alone | {steps[0]: alone[ranked[0]]}
    sets = [steps[-1]]
    for limit in limits:
        count = bisect_left(steps, True, key=lambda some: _measure_once(some, moved, known).most >= limit)
        sets += steps[count - 1 : count] if count else []
    return list(dict.fromkeys(sets))


def group_neighbors(layers: Layers) -> list[Layers]:
    """Each layer by itself; where there are more than 24, neighbours together."""
    return [tuple(str(name) for name in some) for some in np.array_split(layers, min(_GROUPS, len(layers)))]


def _measure_once(
    some: Layers, moved: Callable[[Layers], AnswerShift], known: dict[Layers, AnswerShift]
) -> AnswerShift:
    """What a set moves, looked at once."""
    if some not in known:
        known[some] = moved(some)
    return known[some]


def _in_order(layers: Layers, groups: Sequence[Layers]) -> Layers:
    chosen = {name for group in groups for name in group}
    return tuple(name for name in layers if name in chosen)
