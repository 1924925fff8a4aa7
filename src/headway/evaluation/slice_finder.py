"""Every column as a few levels: a number by its quantiles, a text by its value; each level can be said in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, reduce
from itertools import combinations
from math import prod

import numpy as np
from numpy.typing import NDArray

from headway.core.arrays import Bools, Floats, Ints
from headway.core.contracts import Comparison, SliceColumn
from headway.core.variant import Field
from headway.evaluation.statistics.tables import Blocks, tally, weighted

Codes = NDArray[np.int16]

BINS = 5
MAX_DISTINCT = 8
EDGE_SAMPLE = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class BinnedColumn:
    """One column: the level of every row, int16 [n] in 0..count-1, or `count` where the row is in no level of note.

    `said` gives a level in words: `carrier=EV`, `hour 18-20`, `seats missing`.
    """

    name: str
    codes: Codes
    count: int
    said: Callable[[int], str]

    def of(self, chosen: Bools) -> BinnedColumn:
        """The chosen rows alone; words are still those of all rows."""
        return replace(self, codes=self.codes[chosen])


def bin_columns(subject: Comparison, least: int) -> list[BinnedColumn]:
    """The inputs of a subject's model, and its other slice columns; columns with a single level are left out.

    Texts of fewer than `least` rows are in no level: no part of the rows that is large enough can lie within them.
    """
    inputs = subject.variant.signature.inputs
    found = [_bin_input(field, subject.rows[:, place], least) for place, field in enumerate(inputs)]
    named = {field.name for field in inputs}
    found += [_bin_slice_column(name, column, least) for name, column in subject.slices.items() if name not in named]
    return [each for each in found if each.count > 1]


def most_informative(columns: Sequence[BinnedColumn], values: Sequence[Floats], most: int) -> list[BinnedColumn]:
    """Up to `most` columns, in their order: those whose levels say most of one of `values`, each float64 [n]."""
    if len(columns) <= most:
        return list(columns)
    told = [max(_explained_variance(each, value) for value in values) for each in columns]
    chosen = sorted(np.argsort(told, kind="stable")[-most:])
    return [columns[at] for at in chosen]


def _explained_variance(column: BinnedColumn, values: Floats) -> float:
    """The variance between levels of a column, for a level more than one, as part of that of the values."""
    codes = column.codes.astype(np.int64)
    rows, sums = tally(codes, column.count + 1), tally(codes, column.count + 1, values - values.mean())
    between = float((np.square(sums) / np.maximum(rows, 1)).sum()) / column.count
    return between / max(float(np.square(values - values.mean()).sum()), np.finfo(float).tiny)


def _bin_input(field: Field, values: Floats, least: int) -> BinnedColumn:
    if field.datatype != "BYTES":
        return _bin_numbers(field.name, np.ascontiguousarray(values))
    known = len(field.categories)
    ranks = np.where(np.isnan(values), known + 1, values).astype(np.int64)
    texts = (*(f"{field.name}={text}" for text in field.categories), f"{field.name} unseen", f"{field.name} missing")
    return _bin_categories(field.name, ranks, texts, least)


def _bin_slice_column(name: str, column: SliceColumn, least: int) -> BinnedColumn:
    return _bin_categories(name, column.codes, tuple(f"{name}={value}" for value in column.values), least)


def _bin_categories(name: str, ranks: NDArray[np.int64], texts: tuple[str, ...], least: int) -> BinnedColumn:
    """Ranks int64 [n] into texts, those of fewer than `least` rows in no level."""
    kept = np.flatnonzero(np.bincount(ranks, minlength=len(texts)) >= least)
    places = np.full(len(texts), len(kept), dtype=np.int16)
    places[kept] = np.arange(len(kept))
    return BinnedColumn(name=name, codes=places[ranks], count=len(kept), said=lambda level: texts[kept[level]])


def _bin_numbers(name: str, values: Floats) -> BinnedColumn:
    """A level a value where there are few, else one a fifth of the rows; a level of its own for what is missing."""
    missing = np.isnan(values)
    edges = _bin_edges(values[:: max(len(values) // EDGE_SAMPLE, 1)])
    codes = np.zeros(len(values), dtype=np.int16)
    for edge in edges:
        codes += values >= edge
    codes[missing] = len(edges) + 1

    def said(level: int) -> str:
        return f"{name} missing" if level > len(edges) else f"{name}{_format_range(values[codes == level])}"

    return BinnedColumn(name=name, codes=codes, count=len(edges) + 1 + bool(missing.any()), said=said)


def _bin_edges(values: Floats) -> Floats:
    """Where levels begin, but for the first; a value that fills a fifth by itself has a level of its own."""
    ordered = np.sort(values[~np.isnan(values)])
    distinct, first = np.unique(ordered, return_index=True)
    if len(distinct) <= MAX_DISTINCT:
        return np.asarray(distinct[1:], dtype=np.float64)
    begins = np.unique(np.searchsorted(first, np.arange(1, BINS) * len(ordered) // BINS, side="right") - 1)
    filling = np.diff(first, append=len(ordered)) * BINS >= len(ordered)
    edges: Floats = distinct[np.union1d(begins, np.flatnonzero(filling[:-1]) + 1)]
    above: Floats = edges[edges > distinct[0]]
    return above


def _format_range(values: Floats) -> str:
    low, high = f"{values.min():.6g}", f"{values.max():.6g}"
    if low == high:
        return f"={low}"
    return f" {low} to {high}" if "-" in low + high else f" {low}-{high}"


MAX_SLICE_COLUMNS = 3
MAX_PAIR_CELLS = 40
"""A pair of columns has at most so many cells, or is a single column: tables stay in the cache of the processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CombinationTable:
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


def count_combinations(
    columns: Sequence[BinnedColumn], values: Sequence[Floats], weights: Floats | None = None
) -> CombinationTable:
    """Every combination of up to three of the columns, each with the sums of all `values` (each [n]) over its rows."""
    totals = [weighted(each, weights) for each in (None, *values)]
    found: dict[tuple[int, ...], Floats] = {}
    for joined in _triples(_pairs(columns)):
        cells = [tally(joined.codes, prod(joined.shape), each) for each in totals]
        table = np.stack(cells).reshape(-1, *joined.shape)
        sides = {tuple(range(len(joined.members))): table}
        for axes in _axis_subsets(len(joined.members)):
            some = tuple(joined.members[axis] for axis in axes)
            if some not in found:
                of_note = (slice(columns[each].count) for each in some)
                found[some] = _marginal(axes, sides)[(slice(None), *of_note)]
    shapes = [each.shape[1:] for each in found.values()]
    flat = np.concatenate([each.reshape(len(totals), -1) for each in found.values()], axis=1)
    starts = np.cumsum([0, *map(prod, shapes)])[:-1]
    return CombinationTable(members=list(found), shapes=shapes, starts=starts, rows=flat[0], sums=flat[1:])


@cache
def _axis_subsets(axes: int) -> list[tuple[int, ...]]:
    """Every one, two and three of so many axes."""
    return [some for size in range(1, MAX_SLICE_COLUMNS + 1) for some in combinations(range(axes), size)]


def _marginal(axes: tuple[int, ...], sides: dict[tuple[int, ...], Floats]) -> Floats:
    """The whole table, first of `sides`, summed over all axes but these; `sides` keeps each step that leads there.

    Outer axes are summed first: that is the way memory lies.
    """
    if axes not in sides:
        last = max(set(next(iter(sides))) - set(axes))
        more = tuple(sorted((*axes, last)))
        sides[axes] = _marginal(more, sides).sum(axis=more.index(last) + 1)
    return sides[axes]


def _triples(pairs: Sequence[_Joined]) -> Iterator[_Joined]:
    """Every three pairs joined; all of them where there are no three."""
    if len(pairs) < MAX_SLICE_COLUMNS:
        yield reduce(_Joined.times, pairs)
    for first, second in combinations(range(len(pairs)), 2):
        two = pairs[first].times(pairs[second]) if second + 1 < len(pairs) else pairs[first]
        for third in pairs[second + 1 :]:
            yield two.times(third)


def _pairs(columns: Sequence[BinnedColumn]) -> list[_Joined]:
    """Each column in one pair; the one with most levels takes the one with most that still fits."""
    alone = [
        _Joined((at,), (int(each.codes.max()) + 1,), each.codes.astype(np.int64)) for at, each in enumerate(columns)
    ]
    left = sorted(alone, key=lambda each: -each.shape[0])
    found = []
    while left:
        first = left.pop(0)
        second = next((each for each in left if first.shape[0] * each.shape[0] <= MAX_PAIR_CELLS), None)
        if second is None:
            found.append(first)
        else:
            left.remove(second)
            found.append(first.times(second))
    return found


def _alone(at: int, column: BinnedColumn) -> _Joined:
    return _Joined((at,), (int(column.codes.max()) + 1,), column.codes.astype(np.int64))


SIZE_WEIGHT = 0.05
MAX_CANDIDATES = 500
MAX_OVERLAP = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A part of the rows: those that have these levels, by the name of their column, one to three of them."""

    levels: dict[str, int]

    def said(self, columns: Mapping[str, BinnedColumn]) -> str:
        """It in words: `carrier=EV & hour 18-20`."""
        return " & ".join(columns[name].said(level) for name, level in self.levels.items())

    def rows(self, columns: Mapping[str, BinnedColumn]) -> Bools:
        """Which rows of the columns are in it, bool [n]."""
        inside: Bools = np.logical_and.reduce([columns[name].codes == level for name, level in self.levels.items()])
        return inside


def slice_scores(rows: Floats, sums: Floats, *, total: tuple[float, float], scale: float) -> Floats:
    """How bad each part is, from its rows and the sum of its values, both [cells]: as SliceLine has it, w = 0.05.

    (1 - w) (mean - mean of all) / scale - w (all rows / rows - 1), Sagadeeva and Boehm 2021; `total` are all rows and
    their sum, `scale` the mean size of a value, which is the mean of all for errors. -inf for a part without rows.
    """
    n, whole = total
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = (sums / rows - whole / n) / scale if scale else np.zeros_like(rows)
        found: Floats = (1 - SIZE_WEIGHT) * excess - SIZE_WEIGHT * (n / rows - 1)
    return np.where(rows > 0, found, -np.inf)


def worst_slices(cells: CombinationTable, order: Floats, columns: Sequence[BinnedColumn], most: int) -> list[Slice]:
    """Up to `most` parts of the highest `order` [cells], each with less than half its rows in common with those before.

    In common is measured as rows of both over rows of either (Jaccard). Where `order` is -inf there is no part; those
    with none above 0 are no worse than all rows, and the first of them alone stands for them.
    """
    likely = np.argsort(-order, kind="stable")[:MAX_CANDIDATES]
    likely = likely[(order[likely] > 0) | (likely == likely[0])]
    named = {each.name: each for each in columns}
    found: list[Slice] = []
    taken: list[Bools] = []
    for cell in likely[np.isfinite(order[likely])]:
        part = Slice(levels={columns[place].name: level for place, level in sorted(cells.levels(int(cell)).items())})
        rows = part.rows(named)
        if all((rows & other).sum() < MAX_OVERLAP * (rows | other).sum() for other in taken):
            found.append(part)
            taken.append(rows)
        if len(found) == most:
            break
    return found


GROUP_RUNS = 8
MIN_SHARE = 0.01
MIN_ROWS = 30
MAX_SEARCHED_COLUMNS = 24
MAX_SLICES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceSearchResult:
    """The worst parts by each value that was searched, and how many parts were large enough to be compared."""

    parts: list[list[Slice]]
    compared: int


def search_half(blocks: Blocks) -> Bools:
    """True for rows of the half to find on, bool [n]: every other of eight runs of neighbouring groups.

    Neighbours lean on each other; few of them are torn apart so, and both halves are of the whole period.
    """
    runs = min(GROUP_RUNS, blocks.n_blocks)
    found: Bools = blocks.blocks * runs // blocks.n_blocks % 2 == 0
    return found


def min_slice_rows(finding: Bools) -> int:
    """The rows that a part has at least on the half to find on."""
    return max(int(MIN_SHARE * finding.sum()), MIN_ROWS)


def find_slices(
    columns: Sequence[BinnedColumn], values: Sequence[Floats], finding: Bools, weights: Floats | None
) -> SliceSearchResult:
    """The worst parts by each of `values` (each [n]), searched on the rows to find on alone.

    Of more than 24 columns those are combined whose levels say most of the values. With weights, a part's share of the
    rows is that of their weight.
    """
    there = [each[finding] for each in values]
    weights = None if weights is None else weights[finding]
    some = most_informative([each.of(finding) for each in columns], there, MAX_SEARCHED_COLUMNS)
    cells = count_combinations(some, there, weights)
    total = float(len(there[0]) if weights is None else weights.sum())
    large = cells.rows >= total * min_slice_rows(finding) / len(there[0])
    parts = []
    for sums, each in zip(cells.sums, there, strict=True):
        scale = float(np.average(np.abs(each), weights=weights))
        whole = float(np.average(each, weights=weights)) * total
        order = slice_scores(cells.rows, sums, total=(total, whole), scale=scale)
        parts.append(worst_slices(cells, np.where(large, order, -np.inf), some, MAX_SLICES))
    return SliceSearchResult(parts=parts, compared=int(large.sum()))
