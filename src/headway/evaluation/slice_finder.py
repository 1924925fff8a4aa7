"""Slice finder: bins every column, counts all combinations of up to three, and returns the worst slices.

Columns are joined to pairs, and the rows are counted once for every three pairs: each combination of three columns is
then a sum over such a table, which has far fewer cells than there are rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, reduce
from itertools import combinations
from math import prod

import numpy as np
from numpy.typing import NDArray

from headway.core.arrays import Bools, Floats, Ints
from headway.core.contracts import SliceColumn
from headway.core.texts import text_codes
from headway.core.variant import Field
from headway.data.texts import script_of, word_counts, words_of
from headway.evaluation.context import Comparison
from headway.evaluation.statistics.tables import Blocks, tally, weighted

Codes = NDArray[np.int16]

BINS = 5
MAX_DISTINCT = 8
EDGE_SAMPLE = 4_096
MAX_WORDS = 50
"""Most words of a text column whose presence is a slice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BinnedColumn:
    """One column: the bin of every row, int16 (n,) in 0..count-1, or `count` for rows in no bin.

    `said` names a bin: `carrier=EV`, `hour 18-20`, `seats missing`.
    """

    name: str
    codes: Codes
    count: int
    label: Callable[[int], str]

    def of(self, chosen: Bools) -> BinnedColumn:
        """Keep the chosen rows; bins keep their names."""
        return replace(self, codes=self.codes[chosen])


def bin_columns(subject: Comparison, min_rows: int) -> list[BinnedColumn]:
    """Bin the inputs of the model and its other slice columns; columns with a single bin are left out.

    Categories with fewer than `least` rows have no bin: no slice that is large enough can lie within them.
    """
    inputs = subject.fields
    found = [
        column
        for index, field in enumerate(inputs)
        for column in (
            _bin_text(field.name, subject.rows[:, index], min_rows)
            if field.is_text
            else [_bin_input(field, subject.rows[:, index], min_rows)]
        )
    ]
    named = {field.name for field in inputs}
    found += [_bin_slice_column(name, column, min_rows) for name, column in subject.slices.items() if name not in named]
    return [column for column in found if column.count > 1]


def most_informative(columns: Sequence[BinnedColumn], values: Sequence[Floats], max_count: int) -> list[BinnedColumn]:
    """Return up to `most` columns in their order: those that explain most variance of one of `values`, each (n,)."""
    if len(columns) <= max_count:
        return list(columns)
    explained = [max(_explained_variance(column, value) for value in values) for column in columns]
    chosen = sorted(np.argsort(explained, kind="stable")[-max_count:])
    return [columns[at] for at in chosen]


def _explained_variance(column: BinnedColumn, values: Floats) -> float:
    """Return the share of the variance between bins, per degree of freedom."""
    codes = column.codes.astype(np.int64)
    rows, sums = tally(codes, column.count + 1), tally(codes, column.count + 1, values - values.mean())
    between = float((np.square(sums) / np.maximum(rows, 1)).sum()) / column.count
    return between / max(float(np.square(values - values.mean()).sum()), np.finfo(float).tiny)


def _bin_input(field: Field, values: Floats, min_rows: int) -> BinnedColumn:
    if field.datatype != "BYTES":
        return _bin_numbers(field.name, np.ascontiguousarray(values))
    known = len(field.categories)
    ranks = np.where(np.isnan(values), known + 1, np.minimum(values, known)).astype(np.int64)
    texts = (*(f"{field.name}={text}" for text in field.categories), f"{field.name} unseen", f"{field.name} missing")
    return _bin_categories(field.name, ranks, texts, min_rows)


def _bin_text(name: str, codes: Floats, min_rows: int) -> list[BinnedColumn]:
    """Bin a text by its number of words, its script, and the presence of each of its most frequent words."""
    texts = text_codes.texts(codes)
    words = [frozenset() if text is None else frozenset(words_of(text)) for text in texts]
    scripts, ranks = np.unique([script_of(text or "") for text in texts], return_inverse=True)
    counts = Counter(word for of_row in words for word in of_row)
    frequent = [word for word, n in counts.most_common(MAX_WORDS) if min_rows <= n <= len(words) - min_rows]
    return [
        _bin_numbers(f"words in {name}", word_counts(codes)),
        _bin_categories(name, ranks, tuple(f"{name} in {script or 'no'} letters" for script in scripts), min_rows),
        *(
            _bin_categories(
                name,
                np.array([word in of_row for of_row in words], dtype=np.int64),
                (f"{name} without '{word}'", f"{name} with '{word}'"),
                min_rows,
            )
            for word in frequent
        ),
    ]


def _bin_slice_column(name: str, column: SliceColumn, min_rows: int) -> BinnedColumn:
    return _bin_categories(name, column.codes, tuple(f"{name}={value}" for value in column.values), min_rows)


def _bin_categories(name: str, ranks: Ints, texts: tuple[str, ...], min_rows: int) -> BinnedColumn:
    """Bin category ranks int64 (n,), those with fewer than `least` rows in no bin."""
    frequent = np.flatnonzero(np.bincount(ranks, minlength=len(texts)) >= min_rows)
    bins_of = np.full(len(texts), len(frequent), dtype=np.int16)
    bins_of[frequent] = np.arange(len(frequent))
    return BinnedColumn(
        name=name, codes=bins_of[ranks], count=len(frequent), label=lambda level: texts[frequent[level]]
    )


def _bin_numbers(name: str, values: Floats) -> BinnedColumn:
    """Bin numbers by value if there are few, else by quintile; missing values have their own bin."""
    missing = np.isnan(values)
    edges = _bin_edges(values[:: max(len(values) // EDGE_SAMPLE, 1)])
    codes = np.zeros(len(values), dtype=np.int16)
    for edge in edges:
        codes += values >= edge
    codes[missing] = len(edges) + 1

    def label(level: int) -> str:
        return f"{name} missing" if level > len(edges) else f"{name}{_format_range(values[codes == level])}"

    return BinnedColumn(name=name, codes=codes, count=len(edges) + 1 + bool(missing.any()), label=label)


def _bin_edges(values: Floats) -> Floats:
    """Return the lower edges of all bins but the first; a value that fills a fifth of the rows has its own bin."""
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
"""Maximum number of cells of a pair of columns; below it, the tables stay in the cache of the processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CombinationTable:
    """All combinations one after the other: `rows` (cells,) by weight, `sums` (values, cells).

    The combinations of columns `members[i]` begin at `starts[i]`, in C order of the bins in `shapes[i]`.
    """

    members: list[tuple[int, ...]]
    shapes: list[tuple[int, ...]]
    starts: Ints
    rows: Floats
    sums: Floats

    def levels(self, cell: int) -> dict[int, int]:
        """Return the bins of a cell by their column."""
        which = int(np.searchsorted(self.starts, cell, side="right")) - 1
        index = np.unravel_index(cell - int(self.starts[which]), self.shapes[which])
        return dict(zip(self.members[which], map(int, index), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class _Joined:
    """One or two columns joined: int64 (n,) codes in C order of `shape`."""

    members: tuple[int, ...]
    shape: tuple[int, ...]
    codes: Ints

    def times(self, other: _Joined) -> _Joined:
        codes = self.codes * prod(other.shape) + other.codes
        return _Joined(self.members + other.members, self.shape + other.shape, codes)


def count_combinations(
    columns: Sequence[BinnedColumn], values: Sequence[Floats], weights: Floats | None = None
) -> CombinationTable:
    """Count every combination of up to three columns, and sum each of `values` (n,) over its rows."""
    totals = [weighted(column_values, weights) for column_values in (None, *values)]
    found: dict[tuple[int, ...], Floats] = {}
    for joined in _triples(_pairs(columns)):
        cells = [tally(joined.codes, prod(joined.shape), total) for total in totals]
        table = np.stack(cells).reshape(-1, *joined.shape)
        marginals = {tuple(range(len(joined.members))): table}
        for axes in _axis_subsets(len(joined.members)):
            some = tuple(joined.members[axis] for axis in axes)
            if some not in found:
                named_levels = (slice(columns[member].count) for member in some)
                found[some] = _marginal(axes, marginals)[(slice(None), *named_levels)]
    shapes = [counts.shape[1:] for counts in found.values()]
    flat = np.concatenate([counts.reshape(len(totals), -1) for counts in found.values()], axis=1)
    starts = np.cumsum([0, *map(prod, shapes)])[:-1]
    return CombinationTable(members=list(found), shapes=shapes, starts=starts, rows=flat[0], sums=flat[1:])


@cache
def _axis_subsets(axes: int) -> list[tuple[int, ...]]:
    """Return every one, two and three of the axes."""
    return [some for size in range(1, MAX_SLICE_COLUMNS + 1) for some in combinations(range(axes), size)]


def _marginal(axes: tuple[int, ...], marginals: dict[tuple[int, ...], Floats]) -> Floats:
    """Sum the full table, first of `marginals`, over all axes but these; `marginals` caches each step.

    Outer axes are summed first, which is the order of memory.
    """
    if axes not in marginals:
        last = max(set(next(iter(marginals))) - set(axes))
        more = tuple(sorted((*axes, last)))
        marginals[axes] = _marginal(more, marginals).sum(axis=more.index(last) + 1)
    return marginals[axes]


def _triples(pairs: Sequence[_Joined]) -> Iterator[_Joined]:
    """Yield every three pairs joined; all pairs if there are fewer."""
    if len(pairs) < MAX_SLICE_COLUMNS:
        yield reduce(_Joined.times, pairs)
    for first, second in combinations(range(len(pairs)), 2):
        two = pairs[first].times(pairs[second]) if second + 1 < len(pairs) else pairs[first]
        for third in pairs[second + 1 :]:
            yield two.times(third)


def _pairs(columns: Sequence[BinnedColumn]) -> list[_Joined]:
    """Join columns to pairs; the one with most bins takes the largest that still fits."""
    alone = [
        _Joined((at,), (int(column.codes.max()) + 1,), column.codes.astype(np.int64))
        for at, column in enumerate(columns)
    ]
    unpaired = sorted(alone, key=lambda pair: -pair.shape[0])
    found = []
    while unpaired:
        first = unpaired.pop(0)
        second = next((pair for pair in unpaired if first.shape[0] * pair.shape[0] <= MAX_PAIR_CELLS), None)
        if second is None:
            found.append(first)
        else:
            unpaired.remove(second)
            found.append(first.times(second))
    return found


def _alone(at: int, column: BinnedColumn) -> _Joined:
    return _Joined((at,), (int(column.codes.max()) + 1,), column.codes.astype(np.int64))


SIZE_WEIGHT = 0.05
MAX_CANDIDATES = 500
MAX_OVERLAP = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Rows that have these bins, by the name of their column, one to three of them."""

    levels: dict[str, int]

    def label(self, columns: Mapping[str, BinnedColumn]) -> str:
        """Return its name: `carrier=EV & hour 18-20`."""
        return " & ".join(columns[name].label(level) for name, level in self.levels.items())

    def rows(self, columns: Mapping[str, BinnedColumn]) -> Bools:
        """Return which rows of the columns belong to it, bool (n,)."""
        inside: Bools = np.logical_and.reduce([columns[name].codes == level for name, level in self.levels.items()])
        return inside


def slice_scores(rows: Floats, sums: Floats, *, total: tuple[float, float], scale: float) -> Floats:
    """Score each slice from its rows and sum of values, both (cells,), as SliceLine does with w = 0.05.

    (1 - w) (mean - mean of all) / scale - w (all rows / rows - 1), Sagadeeva and Boehm 2021. `total` holds all rows and
    their sum, `scale` the mean size of a value. -inf for a slice without rows.
    """
    n, total_sum = total
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = (sums / rows - total_sum / n) / scale if scale else np.zeros_like(rows)
        found: Floats = (1 - SIZE_WEIGHT) * excess - SIZE_WEIGHT * (n / rows - 1)
    return np.where(rows > 0, found, -np.inf)


def worst_slices(
    cells: CombinationTable, order: Floats, columns: Sequence[BinnedColumn], max_count: int
) -> list[Slice]:
    """Return up to `most` slices with the highest `order` (cells,), each overlapping earlier ones by less than half.

    The overlap is the Jaccard index of their rows. Cells with -inf are skipped; if none is above 0, no slice is worse
    than all rows, and the first one alone is returned.
    """
    likely = np.argsort(-order, kind="stable")[:MAX_CANDIDATES]
    likely = likely[(order[likely] > 0) | (likely == likely[0])]
    named = {column.name: column for column in columns}
    found: list[Slice] = []
    chosen_rows: list[Bools] = []
    for cell in likely[np.isfinite(order[likely])]:
        part = Slice(levels={columns[index].name: level for index, level in sorted(cells.levels(int(cell)).items())})
        rows = part.rows(named)
        if all((rows & other).sum() < MAX_OVERLAP * (rows | other).sum() for other in chosen_rows):
            found.append(part)
            chosen_rows.append(rows)
        if len(found) == max_count:
            break
    return found


GROUP_RUNS = 8
MIN_SHARE = 0.01
MIN_ROWS = 30
MAX_SEARCHED_COLUMNS = 24
MAX_SLICES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceSearchResult:
    """The worst slices by each value, and how many slices were large enough to be compared."""

    parts: list[list[Slice]]
    compared: int


def search_half(blocks: Blocks) -> Bools:
    """Return the rows to search on, bool (n,): every other of eight runs of neighbouring groups.

    Runs separate few dependent neighbours, and both halves cover the whole period.
    """
    runs = min(GROUP_RUNS, blocks.n_blocks)
    found: Bools = blocks.blocks * runs // blocks.n_blocks % 2 == 0
    return found


def min_slice_rows(finding: Bools) -> int:
    """Return the minimum number of rows of a slice on the search half."""
    return max(int(MIN_SHARE * finding.sum()), MIN_ROWS)


def find_slices(
    columns: Sequence[BinnedColumn], values: Sequence[Floats], finding: Bools, weights: Floats | None
) -> SliceSearchResult:
    """Find the worst slices by each of `values` (n,) on the search half alone.

    Of more than 24 columns, the most informative ones are combined. With weights, the size of a slice is its weight.
    """
    there = [row_values[finding] for row_values in values]
    weights = None if weights is None else weights[finding]
    some = most_informative([column.of(finding) for column in columns], there, MAX_SEARCHED_COLUMNS)
    cells = count_combinations(some, there, weights)
    total = float(len(there[0]) if weights is None else weights.sum())
    large = cells.rows >= total * min_slice_rows(finding) / len(there[0])
    parts = []
    for sums, row_values in zip(cells.sums, there, strict=True):
        scale = float(np.average(np.abs(row_values), weights=weights))
        total_sum = float(np.average(row_values, weights=weights)) * total
        order = slice_scores(cells.rows, sums, total=(total, total_sum), scale=scale)
        parts.append(worst_slices(cells, np.where(large, order, -np.inf), some, MAX_SLICES))
    return SliceSearchResult(parts=parts, compared=int(large.sum()))
