"""Select layers to quantize: measure how far answers move with each layer in int8, and find the largest safe sets."""

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
    """Changes of the answers on the sample: the maximum, and the bound that 999 of 1,000 rows keep."""

    max: float
    tail: float


def answer_shift(expected: Floats, found: Floats, *, scale: float = 1.0) -> AnswerShift:
    """Return the changes of answers (n, k) as shares of `scale`; a number that became NaN is an infinite change.

    >>> answer_shift(np.array([[0.5], [0.5]]), np.array([[0.5], [0.75]])).max
    0.25
    """
    same = (expected == found) | (np.isnan(expected) & np.isnan(found))
    with np.errstate(invalid="ignore"):
        change = np.where(same, 0.0, np.nan_to_num(np.abs(expected - found), nan=np.inf)).max(axis=1)
    # The value of a row, and none between two: between two infinities there is none.
    return AnswerShift(max=float(change.max()) / scale, tail=float(np.quantile(change, _TAIL, method="higher")) / scale)


def select_layers(layers: Layers, moved: Callable[[Layers], AnswerShift], limits: Sequence[float]) -> list[Layers]:
    """Return all layers, and for each limit the largest set whose maximal change stays below it.

    Layers are added from the least to the most sensitive. If there are more than 24, adjacent layers are grouped.

    Parameters
    ----------
    layers
        Names in the order of the graph.
    moved
        Measures the changes that a set of layers causes.
    limits
        Limits of the maximal change.

    Returns
    -------
    list of tuple of str
        Distinct sets; none is empty.
    """
    groups = group_neighbors(layers)
    alone = {group: moved(group) for group in groups}
    ranked = sorted(groups, key=lambda group: alone[group])
    steps = [_in_order(layers, ranked[: number + 1]) for number in range(len(ranked))]
    known = alone | {steps[0]: alone[ranked[0]]}
    sets = [steps[-1]]
    for limit in limits:
        count = bisect_left(steps, True, key=lambda subset: _measure_once(subset, moved, known).max >= limit)
        sets += steps[count - 1 : count] if count else []
    return list(dict.fromkeys(sets))


def group_neighbors(layers: Layers) -> list[Layers]:
    """Group adjacent layers into at most 24 groups."""
    return [tuple(str(name) for name in subset) for subset in np.array_split(layers, min(_GROUPS, len(layers)))]


def _measure_once(
    subset: Layers, moved: Callable[[Layers], AnswerShift], known: dict[Layers, AnswerShift]
) -> AnswerShift:
    """Return the changes that a set causes, measured once."""
    if subset not in known:
        known[subset] = moved(subset)
    return known[subset]


def _in_order(layers: Layers, groups: Sequence[Layers]) -> Layers:
    chosen = {name for group in groups for name in group}
    return tuple(name for name in layers if name in chosen)
