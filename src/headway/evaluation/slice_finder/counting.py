"""Rows, and sums of values over them, of every combination of one, two or three columns' levels.

Columns are joined to pairs, and the rows are counted once for every three pairs: each combination of three columns is
then a sum over such a table, whose cells are far fewer than the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from itertools import combinations
from math import prod

import numpy as np

from headway.evaluation.slice_finder.levels import Levelled
from headway.evaluation.statistics.tables import Floats, Ints, tally, weighted

MOST_COLUMNS = 3
PAIR_CELLS = 40
"""A pair of columns has at most so many cells, or is a single column: tables stay in the cache of the processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """All combinations one after the other: `rows` float64 [cells] by weight, `sums` float64 [values, cells].

    Those of the columns `members[i]` begin at `starts[i]`, in C order of the levels in `shapes[i]`.
    """

    members: list[tuple[int, ...]]
    shapes: list[tuple[int, ...]]
    starts: Ints
    rows: Floats
    sums: Floats

    def levels(self, cell: int) -> dict[int, int]:
        """The levels whose combination a cell is, by their column."""
        which = int(np.searchsorted(self.starts, cell, side="right")) - 1
        place = np.unravel_index(cell - int(self.starts[which]), self.shapes[which])
        return dict(zip(self.members[which], map(int, place), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class _Joined:
    """One or two columns as one: int64 [n] codes in C order of `shape`."""

    members: tuple[int, ...]
    shape: tuple[int, ...]
    codes: Ints

    def times(self, other: _Joined) -> _Joined:
        codes = self.codes * prod(other.shape) + other.codes
        return _Joined(self.members + other.members, self.shape + other.shape, codes)


def count(columns: Sequence[Levelled], values: Sequence[Floats], weights: Floats | None = None) -> Cells:
    """Every combination of up to three of the columns, each with the sums of all `values` (each [n]) over its rows."""
    totals = [weighted(each, weights) for each in (None, *values)]
    found: dict[tuple[int, ...], Floats] = {}
    for joined in _threes(_pairs(columns)):
        cells = [tally(joined.codes, prod(joined.shape), each) for each in totals]
        table = np.stack(cells).reshape(-1, *joined.shape)
        sides = {tuple(range(len(joined.members))): table}
        for axes in _choices(len(joined.members)):
            some = tuple(joined.members[axis] for axis in axes)
            if some not in found:
                of_note = (slice(columns[each].count) for each in some)
                found[some] = _side(axes, sides)[(slice(None), *of_note)]
    shapes = [each.shape[1:] for each in found.values()]
    flat = np.concatenate([each.reshape(len(totals), -1) for each in found.values()], axis=1)
    starts = np.cumsum([0, *map(prod, shapes)])[:-1]
    return Cells(members=list(found), shapes=shapes, starts=starts, rows=flat[0], sums=flat[1:])


@cache
def _choices(axes: int) -> list[tuple[int, ...]]:
    """Every one, two and three of so many axes."""
    return [some for size in range(1, MOST_COLUMNS + 1) for some in combinations(range(axes), size)]


def _side(axes: tuple[int, ...], sides: dict[tuple[int, ...], Floats]) -> Floats:
    """The whole table, first of `sides`, summed over all axes but these; `sides` keeps each step that leads there.

    Outer axes are summed first: that is the way memory lies.
    """
    if axes not in sides:
        last = max(set(next(iter(sides))) - set(axes))
        more = tuple(sorted((*axes, last)))
        sides[axes] = _side(more, sides).sum(axis=more.index(last) + 1)
    return sides[axes]


def _threes(pairs: Sequence[_Joined]) -> Iterator[_Joined]:
    """Every three pairs joined; all of them where there are no three."""
    if len(pairs) < MOST_COLUMNS:
        yield reduce(_Joined.times, pairs)
    for first, second in combinations(range(len(pairs)), 2):
        two = pairs[first].times(pairs[second]) if second + 1 < len(pairs) else pairs[first]
        for third in pairs[second + 1 :]:
            yield two.times(third)


def _pairs(columns: Sequence[Levelled]) -> list[_Joined]:
    """Each column in one pair; the one with most levels takes the one with most that still fits."""
    alone = [
        _Joined((at,), (int(each.codes.max()) + 1,), each.codes.astype(np.int64)) for at, each in enumerate(columns)
    ]
    left = sorted(alone, key=lambda each: -each.shape[0])
    found = []
    while left:
        first = left.pop(0)
        second = next((each for each in left if first.shape[0] * each.shape[0] <= PAIR_CELLS), None)
        if second is None:
            found.append(first)
        else:
            left.remove(second)
            found.append(first.times(second))
    return found


def _alone(at: int, column: Levelled) -> _Joined:
    return _Joined((at,), (int(column.codes.max()) + 1,), column.codes.astype(np.int64))
