"""Search for a row that two forests decide differently, over all rows there can be: exact branch and bound.

The thresholds and categories of a forest cut each column into cells, and its trees do not distinguish the values of a
cell. A box is a range of cells of each column. It is dropped if sums over the trees, of their largest reachable leaves,
show that no row in it is decided differently, else it is cut in two. If no box remains, all rows are decided alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import NotApplicable
from headway.engines.formats.trees import (
    Forest,
    Tree,
    distinct_trees,
    goes_left,
    leaf_paths,
    limit_of_sum,
    read_cells,
    rounding_of_sum,
)
from headway.optimization.parity import MAX_EDGES, column_edges

MAX_LEAVES, MAX_TABLE = 600, 2**25
_MAX_FOUND = 40  # rows of a search: each costs the caller a constraint
_BOXES = 256  # examined together
# Both forests are compared by sums of these two parts; where one is 0 or 1 the sum is of one forest alone.
_PARTS = np.array([0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0])
_ORDER = (3, 6, 0, 2, 4, 1, 5)  # those that exclude the largest number of boxes come first
_OF_SOFTMAX = 32  # units of rounding within which probabilities of several classes may be equal
_Boxes = tuple[Ints, Ints, Bools]
_Numbers = tuple[Floats, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecisionDifference:
    """Rows (n, d) that are decided differently, and whether the search ended: with no row, there is none."""

    rows: Floats
    is_complete: bool


class DecisionSearch:
    """Search of rows that a forest, and another with the same splits, decide differently.

    A forest of one output decides by a threshold, one of several by the largest of them. Then, for each two classes, a
    row is searched for which the first is the largest by the one forest, and the second by the other. Missing values,
    categories that no tree knows, and infinite values are among the rows, where the library of the forest accepts them.

    Parameters
    ----------
    forest : Forest
        The forest.
    threshold : float
        A score of at least this value is a decision for the positive class; of no account for several classes.
    clip : callable
        Return rows (n, d) with each value that the model does not accept replaced by one that it does.

    Raises
    ------
    NotApplicable
        If the forest is too large, its link is not covered, or a column is both a number and a category.
    """

    def __init__(self, forest: Forest, threshold: float, clip: Callable[[Floats], Floats] = np.copy) -> None:
        self.forest, self.threshold = forest, threshold
        self.limit = limit_of_sum(forest, threshold)
        self._trees, self._tree_of = distinct_trees(forest)
        if (leaves := sum(len(tree.leaf) for tree in self._trees)) > MAX_LEAVES:
            raise NotApplicable(f"it has {leaves:,} different leaves; equal decisions are proved up to {MAX_LEAVES}")
        self.leaves = self._leaf_values(forest)
        cells = [
            _cells(forest, self._trees, column, clip)
            for column in sorted({int(at) for tree in self._trees for at in tree.feature})
        ]
        self._columns = [found.column for found in cells]
        self._values = [found.values for found in cells]
        lengths = np.array([len(found.values) for found in cells], dtype=np.int64)
        self._first = np.cumsum(lengths + 1) - lengths - 1  # the first cell of each column; there is room for an end
        self._end = self._first + lengths
        leaf_slots = self.leaves.shape[:2]
        slots, size = leaf_slots[0], int((lengths + 1).sum())
        if size * slots * len(self._trees) > MAX_TABLE:
            raise NotApplicable(f"its {slots} leaves a tree by {size:,} cells are too many for a proof")
        self._exists = np.zeros(leaf_slots, dtype=np.bool_)
        self._reaching = np.zeros((size, *leaf_slots), dtype=np.int32)  # cells before each that reach a leaf
        self._fill(cells)

    def _fill(self, cells: list[_Cells]) -> None:
        """Fill the tables of leaves and nodes: paths, and where the side of a node changes next."""
        nodes = sum(len(tree.feature) for tree in self._trees)
        size = len(self._reaching)
        self._next_change = np.zeros((nodes + 1, size), dtype=np.int64)
        self._column_of = np.zeros(nodes + 1, dtype=np.int64)
        paths: dict[tuple[int, int], list[int]] = {}
        before = 0
        for number, tree in enumerate(self._trees):
            node_turns: list[Bools] = []
            for node, column in enumerate(tree.feature.tolist()):
                at = self._columns.index(column)
                node_turns.append(cells[at].is_left[number, node])
                self._column_of[before + node] = at
                self._next_change[before + node, self._first[at] : self._end[at] + 1] = self._first[at] + _changes(
                    node_turns[-1]
                )
            for leaf, path in leaf_paths(tree):
                reaches = np.ones(size, dtype=np.bool_)
                reaches[self._end] = False
                for node, is_left in path:
                    at = self._column_of[before + node]
                    reaches[self._first[at] : self._end[at]] &= node_turns[node] == is_left
                for first, end in zip(self._first.tolist(), self._end.tolist(), strict=True):
                    self._reaching[first + 1 : end + 1, leaf, number] = np.cumsum(reaches[first:end])
                self._exists[leaf, number] = np.logical_or.reduceat(reaches, self._first).all() if path else True
                paths[leaf, number] = [before + node for node, _ in path]
            before += len(tree.feature)
        depth = max((len(path) for path in paths.values()), default=0)
        self._path = np.full((*self._exists.shape, max(depth, 1)), nodes)  # the last node never changes its side
        for (leaf, number), nodes_above in paths.items():
            self._path[leaf, number, : len(nodes_above)] = nodes_above

    def _leaf_values(self, forest: Forest) -> Floats:
        """Return the leaves of each kind of tree, (slots, trees, outputs), or 0; trees of a kind are added."""
        slots = max((len(tree.leaf) for tree in self._trees), default=1)
        found = np.zeros((slots, len(self._trees), len(forest.base)))
        for number, tree in zip(self._tree_of, forest.trees, strict=True):
            found[: len(tree.leaf), number, list(tree.outputs)] += tree.leaf
        return found

    def random_rows(self, count: int, random: np.random.Generator) -> Floats:
        """Return rows (count, d) of random cells."""
        drawn = [random.integers(first, end, count) for first, end in zip(self._first, self._end, strict=True)]
        return self._rows(np.column_stack([np.zeros((count, 0), np.int64), *drawn]))

    def differences(self, other: Forest, differs: Callable[[Floats], Bools], *, until: float) -> DecisionDifference:
        """Search the rows that another forest decides differently.

        Parameters
        ----------
        other : Forest
            The same trees with other leaves and another base.
        differs : callable
            Return which rows (n, d) are decided differently, by the models themselves: asked where sums are too near to
            the limit for their rounding to be known.
        until : float
            Time of `time.monotonic` at which to end.

        Raises
        ------
        NotApplicable
            If the sums of a forest are not finite.
        """
        slack = 2 * max(rounding_of_sum(forest, self.threshold) for forest in (self.forest, other))
        if len(other.base) > 1:  # differences of two sums, and the rounding of the exponential
            slack = 2 * slack + _OF_SOFTMAX * float(np.finfo(other.sum_dtype).eps)
        if not np.isfinite(slack):  # it bounds every sum of both forests
            raise NotApplicable("its sums are not finite, and no bound of them proves anything")
        found: list[Floats] = []
        for sums in self._sums(other):
            for cells in self._suspects(sums, slack, until):
                if cells is None:
                    return DecisionDifference(rows=_stacked(found, self.forest.width), is_complete=False)
                rows = self._rows(cells)
                found.append(rows[differs(rows)])
                if sum(map(len, found)) >= _MAX_FOUND:
                    return DecisionDifference(rows=_stacked(found, self.forest.width), is_complete=False)
        return DecisionDifference(rows=_stacked(found, self.forest.width), is_complete=True)

    def _sums(self, other: Forest) -> Iterator[_Sums]:
        """Yield sums for each two decisions: all of them are positive, or nearly, where the forests decide so."""
        values = self._leaf_values(other)
        if len(other.base) == 1:
            own, of_other = float(self.forest.base[0]) - self.limit, float(other.base[0]) - self.limit
            for sign in (1.0, -1.0):  # yes by the forest and no by the other, and the other way round
                yield _Sums.of((sign * self.leaves[..., 0], sign * own), (-sign * values[..., 0], -sign * of_other))
            return
        own_base, base = self.forest.base, other.base
        for first, second in permutations(range(len(other.base)), 2):
            leads = self.leaves[..., first] - self.leaves[..., second]
            follows = values[..., second] - values[..., first]
            yield _Sums.of(
                (leads, float(own_base[first] - own_base[second])), (follows, float(base[second] - base[first]))
            )

    def _suspects(self, sums: _Sums, slack: float, until: float) -> Iterator[Ints | None]:
        """Yield cells (n, columns) in which no bound excludes a difference; None if time ran out."""
        waiting: list[_Boxes] = [(self._first[None], self._end[None], self._exists[None])]
        while waiting:
            if time.monotonic() > until:
                yield None
                return
            low, high, reach = waiting.pop()
            remaining, bound = sums.bounds(reach, slack)
            low, high, reach = low[remaining], high[remaining], reach[remaining]
            is_cell = (reach.sum(axis=1) == 1).all(axis=1)
            if is_cell.any():
                yield low[is_cell]
            if not is_cell.all():
                boxes = low[~is_cell], high[~is_cell], reach[~is_cell]
                waiting += self._halves(boxes, bound[~is_cell], sums)

    def _halves(self, boxes: _Boxes, bound: Floats, sums: _Sums) -> list[_Boxes]:
        """Cut boxes in two where the tree with the most different leaves turns to its best one; the best come last."""
        low, high, reach = boxes
        # Where both decide alike a mixture of them hardly differs, so each counts by itself.
        spread = sum((_range(reach, sums.values[part]) for part in (0, -1)), np.zeros(1))
        values = sums.values[-1]
        tree = np.where(reach.sum(axis=1) > 1, spread, -1.0).argmax(axis=1)
        index = np.arange(len(low))
        best = np.where(reach[index, :, tree], values[:, tree].T, -np.inf).argmax(axis=1)
        path = self._path[best, tree]
        column = self._column_of[path]
        change = self._next_change[path, np.take_along_axis(low, column, 1)]
        is_open = (change < np.take_along_axis(high, column, 1)) & (path < len(self._column_of) - 1)
        turn = is_open.argmax(axis=1)
        column, cut = column[index, turn], change[index, turn]
        ends = self._reaching[low[index, column]], self._reaching[cut], self._reaching[high[index, column]]
        new_high, new_low = high.copy(), low.copy()
        new_high[index, column], new_low[index, column] = cut, cut
        order = np.argsort(np.concatenate([bound, bound]), kind="stable")
        halves = (
            np.concatenate([low, new_low])[order],
            np.concatenate([new_high, high])[order],
            np.concatenate([reach & (ends[1] > ends[0]), reach & (ends[2] > ends[1])])[order],
        )
        return [
            (halves[0][at : at + _BOXES], halves[1][at : at + _BOXES], halves[2][at : at + _BOXES])
            for at in range(0, len(order), _BOXES)
        ]

    def _rows(self, cells: Ints) -> Floats:
        """Return a row (n, d) of each combination of cells (n, columns)."""
        rows = np.zeros((len(cells), self.forest.width))
        for at, (column, values) in enumerate(zip(self._columns, self._values, strict=True)):
            rows[:, column] = values[cells[:, at] - self._first[at]]
        return rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sums:
    """Weighted sums of two numbers for each leaf (slots, trees), of which a difference needs both to be positive."""

    values: Floats
    start: Floats

    @classmethod
    def of(cls, first: _Numbers, second: _Numbers) -> _Sums:
        """Weight the numbers of the leaves, and where their sums start."""
        parts = _PARTS[:, None, None]
        return cls(
            values=parts * first[0] + (1 - parts) * second[0], start=_PARTS * first[1] + (1 - _PARTS) * second[1]
        )

    def bounds(self, reach: Bools, slack: float) -> tuple[Ints, Floats]:
        """Return the boxes that no bound excludes, and their lowest bound."""
        remaining, bound = np.arange(len(reach)), np.full(len(reach), np.inf)
        for part in _ORDER:
            largest = np.where(reach[remaining], self.values[part], -np.inf).max(axis=1)
            bound = np.minimum(bound, largest.sum(axis=1) + self.start[part])
            holds = bound >= -slack
            remaining, bound = remaining[holds], bound[holds]
        return remaining, bound


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Cells:
    """Cells of a column: a value of each, and whether each goes left at a node, by tree and node."""

    column: int
    values: Floats
    is_left: dict[tuple[int, int], Bools]


def _cells(forest: Forest, trees: list[Tree], column: int, clip: Callable[[Floats], Floats]) -> _Cells:
    at = {number: np.flatnonzero(tree.feature == column) for number, tree in enumerate(trees)}
    if len({bool(is_set) for number, nodes in at.items() for is_set in trees[number].categorical[nodes]}) > 1:
        raise NotApplicable(f"column {column} is read as a number and as a category")
    edges = np.unique(column_edges(forest, column, np.random.default_rng(0)))
    if len(edges) >= MAX_EDGES:
        raise NotApplicable(f"column {column} has too many thresholds for a proof")
    rows = np.zeros((len(edges), forest.width))
    rows[:, column] = edges
    rows = clip(rows)
    edges, read = rows[:, column], read_cells(forest, rows)[:, column]
    order = np.argsort(read, kind="stable")
    edges, read = edges[order], read[order]
    is_left = {
        (number, int(node)): goes_left(forest, trees[number], np.full(len(read), node), read)
        for number, nodes in at.items()
        for node in nodes
    }
    first = np.sort(np.unique(np.stack([*is_left.values()]), axis=1, return_index=True)[1])
    return _Cells(column=column, values=edges[first], is_left={key: turns[first] for key, turns in is_left.items()})


def _changes(is_left: Bools) -> Ints:
    """Return, for each cell and the end, the next cell that takes the other side; the end if there is none."""
    found = np.full(len(is_left) + 1, len(is_left))
    for at in range(len(is_left) - 2, -1, -1):
        found[at] = at + 1 if is_left[at] != is_left[at + 1] else found[at + 1]
    return found


def _range(reach: Bools, values: Floats) -> Floats:
    """Return the range of the reachable leaves of each tree in boxes, (boxes, trees)."""
    lowest = np.where(reach, values, np.inf).min(axis=1)
    return np.asarray(np.where(reach, values, -np.inf).max(axis=1) - lowest)


def _stacked(rows: list[Floats], width: int) -> Floats:
    return np.concatenate([np.zeros((0, width)), *rows])
