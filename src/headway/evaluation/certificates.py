"""Robustness certificates of trees: the smallest change of numbers that can flip a decision, by branch and bound."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import NotApplicable
from headway.engines.formats.trees import Forest, Tree
from headway.evaluation.decision_attack import AttackColumn

MAX_BOXES = 4_000
_TOLERANCE = 1e-12
_CLASSES = ("identity", "softmax")


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What is certified of a row: no change below `distance` flips its decision.

    `is_exact`: a change of any larger distance exists that does; otherwise the search ended before, and the distance is
    a lower bound. It is infinite if no change flips the decision.
    """

    distance: float
    is_exact: bool


class TreeCertifier:
    """Certifies decisions of trees against changes of some columns, all of which may change at once.

    The distance of a change is the largest move of a column, in interquartile ranges times its cost. Numbers may take
    any value. Categories, flags and missing values stay.

    Parameters
    ----------
    forest : Forest
        The trees.
    columns : sequence of AttackColumn
        Columns that may change.
    threshold : float
        A score of at least this value is a decision for the positive class.
    max_boxes : int
        Boxes to examine for a row and class.

    Raises
    ------
    NotApplicable
        If these trees cannot be certified.
    """

    def __init__(
        self, forest: Forest, columns: Sequence[AttackColumn], threshold: float, *, max_boxes: int = MAX_BOXES
    ) -> None:
        if forest.zero_as_missing:
            raise NotApplicable("its trees read zero as missing, which no certificate covers")
        self._forest, self._max_boxes = forest, max_boxes
        self._limit = _limit_of_sum(forest, threshold)
        numbers = [column for column in columns if column.among is None]
        self._at = np.array([column.at for column in numbers], dtype=np.int64)
        self._weights = np.array([column.cost / column.scale for column in numbers])
        self._leaves = _Leaves.of(forest, self._at)

    def certify(self, row: Floats) -> Certificate:
        """Certify the decision on a row (d,)."""
        row = row.astype(self._forest.input_dtype).astype(np.float64)
        missing = np.isnan(row) | (row == self._forest.missing)
        reachable = self._leaves.reachable(self._forest, row, missing)
        point, may_change = row[self._at], ~missing[self._at]
        own = self._decide(self._leaves.containing(np.where(may_change, point, np.nan), reachable))
        found = Certificate(distance=math.inf, is_exact=True)
        for start, values, limit in self._targets(own):

            def flips(mask: Bools, own: int = own) -> bool:
                return self._decide(mask) != own

            search = _BoxSearch(self._leaves, values, limit - start, flips)
            one = search.run(point, self._weights, may_change, reachable, self._max_boxes, found.distance)
            found = one if one.distance < found.distance else found
        return found

    def _decide(self, mask: Bools) -> int:
        """Return the decision of a mask with one leaf of each tree, added in the order of the trees."""
        total = self._forest.base.astype(self._forest.sum_dtype)
        for values in self._leaves.values[mask]:
            total = (total + values.astype(total.dtype)).astype(total.dtype)
        return int(total[0] >= self._limit) if len(total) == 1 else int(np.argmax(total))

    def _targets(self, own: int) -> Iterator[tuple[float, Floats, float]]:
        """Yield what flips a decision: a start, values of the leaves, and the sum that they must reach."""
        base, values = self._forest.base, self._leaves.values
        if len(base) == 1:
            sign = -1.0 if own else 1.0
            yield sign * float(base[0]), sign * values[:, 0], sign * self._limit
            return
        for other in range(len(base)):
            if other != own:
                yield float(base[other] - base[own]), values[:, other] - values[:, own], 0.0


def _limit_of_sum(forest: Forest, threshold: float) -> float:
    """Return the sum of the leaves from which the decision is yes; raise NotApplicable if there is none."""
    if len(forest.base) > 1:
        if forest.link in _CLASSES:
            return 0.0
    elif forest.link == "identity":
        return threshold
    elif forest.link == "sigmoid" and 0 < threshold < 1:
        return math.log(threshold / (1 - threshold))
    raise NotApplicable(
        f"its trees end in {forest.link!r} with {len(forest.base)} outputs, which no certificate covers"
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Leaves:
    """All leaves of a forest: boxes (low, high] over the columns that may change, and the conditions of each.

    `tree_starts` are the first leaves of the trees, `starts` the first condition of each leaf; a condition is a node,
    of all trees, and whether its left side leads to the leaf. The first condition of a leaf always holds.
    """

    low: Floats
    high: Floats
    values: Floats
    tree_starts: Ints
    starts: Ints
    node: Ints
    is_left: Bools
    feature: Ints
    at: Ints

    @classmethod
    def of(cls, forest: Forest, at: Ints) -> _Leaves:
        """Return the leaves of a forest; columns `at` may change."""
        boxes: list[tuple[Floats, Floats]] = []
        values: list[Floats] = []
        conditions: list[tuple[int, bool]] = []
        starts: list[int] = []
        tree_starts: list[int] = []
        first_node = 0
        for tree in forest.trees:
            tree_starts.append(len(boxes))
            for leaf, path in _paths(tree):
                boxes.append(_box(tree, path, at))
                starts.append(len(conditions))
                conditions += [(-1, True), *((first_node + node, is_left) for node, is_left in path)]
                value = np.zeros(len(forest.base))
                value[list(tree.outputs)] = tree.leaf[leaf]
                values.append(value)
            first_node += len(tree.feature)
        return cls(
            low=np.array([low for low, _ in boxes]).reshape(len(boxes), len(at)),
            high=np.array([high for _, high in boxes]).reshape(len(boxes), len(at)),
            values=np.array(values),
            tree_starts=np.array(tree_starts, dtype=np.int64),
            starts=np.array(starts, dtype=np.int64),
            node=np.array([node for node, _ in conditions], dtype=np.int64),
            is_left=np.array([is_left for _, is_left in conditions]),
            feature=np.concatenate([*(tree.feature for tree in forest.trees), np.zeros(1, np.int64)]),
            at=at,
        )

    def reachable(self, forest: Forest, row: Floats, missing: Bools) -> Bools:
        """Return the leaves that a row may reach when the columns of the boxes change, but no missing value."""
        goes_left = np.concatenate([*(_goes_left(forest, tree, row, missing) for tree in forest.trees), [True]])
        categorical = np.concatenate([*(tree.categorical for tree in forest.trees), [False]])
        may_change = np.zeros(len(row), dtype=np.bool_)
        may_change[self.at] = True
        is_fixed = ~may_change[self.feature] | missing[self.feature] | categorical
        is_fixed[-1] = False
        holds = (goes_left[self.node] == self.is_left) | ~is_fixed[self.node]
        found = np.logical_and.reduceat(holds, self.starts)
        is_inside = self.low < self.high  # a box that its own conditions empty
        return np.asarray(found & is_inside.all(axis=1))

    def containing(self, point: Floats, reachable: Bools) -> Bools:
        """Return the leaf of each tree that a point (columns) reaches."""
        inside = (self.low < point) & (point <= self.high) | np.isnan(point)
        return np.asarray(inside.all(axis=1) & reachable)


def _box(tree: Tree, path: Sequence[tuple[int, bool]], at: Ints) -> tuple[Floats, Floats]:
    """Return the box (low, high] of a leaf over columns `at`."""
    low, high = np.full(len(at), -np.inf), np.full(len(at), np.inf)
    for node, is_left in path:
        index = np.flatnonzero(at == tree.feature[node])
        if tree.categorical[node]:
            continue
        if is_left:
            high[index] = np.minimum(high[index], tree.threshold[node])
        else:
            low[index] = np.maximum(low[index], tree.threshold[node])
    return low, high


def _paths(tree: Tree) -> Iterator[tuple[int, list[tuple[int, bool]]]]:
    """Yield each leaf of a tree with the nodes above it, and whether it is to their left."""
    waiting: list[tuple[int, list[tuple[int, bool]]]] = [(0 if len(tree.feature) else ~0, [])]
    while waiting:
        node, path = waiting.pop()
        if node < 0:
            yield ~node, path
        else:
            waiting.append((int(tree.right[node]), [*path, (node, False)]))
            waiting.append((int(tree.left[node]), [*path, (node, True)]))


def _goes_left(forest: Forest, tree: Tree, row: Floats, missing: Bools) -> Bools:
    """Return whether a row goes left at each node of a tree."""
    values = row[tree.feature]
    goes_left = values <= tree.threshold
    for node in np.flatnonzero(tree.categorical).tolist():
        value = values[node]
        category = value if forest.category_cast == "exact" else np.floor(value)
        category = np.trunc(value) if forest.category_cast == "truncated" else category
        goes_left[node] = category in tree.sets[int(tree.threshold[node])]
    return np.asarray(np.where(missing[tree.feature], tree.missing_left, goes_left))


class _BoxSearch:
    """Search of the nearest box in which a sum over the trees reaches a limit, nearest boxes first."""

    def __init__(self, leaves: _Leaves, values: Floats, limit: float, flips: Callable[[Bools], bool]) -> None:
        self._leaves, self._values, self._starts, self._flips = leaves, values, leaves.tree_starts, flips
        self._limit, self._slack = limit, _TOLERANCE * max(1.0, abs(limit), float(np.abs(values).max()))

    def run(
        self,
        point: Floats,
        weights: Floats,
        may_change: Bools,
        reachable: Bools,
        max_boxes: int,
        nearer_than: float,
    ) -> Certificate:
        """Return the distance of the nearest box, if it is nearer than another distance."""
        everywhere = (np.full(len(point), -np.inf), np.full(len(point), np.inf), reachable)
        heap: list[tuple[float, float, int, tuple[Floats, Floats, Bools]]] = [(0.0, 0.0, 0, everywhere)]
        examined = 0
        while heap and heap[0][0] < nearer_than:
            distance, _, _, (low, high, mask) = heapq.heappop(heap)
            best = np.maximum.reduceat(np.where(mask, self._values, -np.inf), self._starts)
            if best.sum() < self._limit - self._slack:
                continue
            worst = np.minimum.reduceat(np.where(mask, self._values, np.inf), self._starts)
            is_one_leaf = bool((best == worst).all())
            if worst.sum() >= self._limit + self._slack or (is_one_leaf and self._flips(self._one_each(mask))):
                return Certificate(distance=distance, is_exact=True)
            if is_one_leaf:  # a sum at the limit, rounded to the other side
                continue
            if examined >= max_boxes:
                return Certificate(distance=distance, is_exact=False)
            tree = int(np.argmax(best - worst))
            index, cut = self._cut(tree, low, high, mask, point, weights, may_change)
            for is_left in (True, False):
                examined += 1
                ends = (low.copy(), high.copy())
                ends[1 if is_left else 0][index] = cut
                overlaps = self._leaves.low[:, index] < cut if is_left else self._leaves.high[:, index] > cut
                away = max(point[index] - cut, 0.0) if is_left else max(cut - point[index], 0.0)
                far = max(distance, float(away * weights[index]))
                heapq.heappush(heap, (far, -float(best.sum()), examined, (*ends, mask & overlaps)))
        return Certificate(distance=math.inf, is_exact=True)

    def _one_each(self, mask: Bools) -> Bools:
        """Return one leaf of each tree; those of a tree that can be reached have the same value."""
        starts = self._starts
        ends = [*starts[1:].tolist(), len(mask)]
        found = np.zeros(len(mask), dtype=np.bool_)
        found[[start + int(np.argmax(mask[start:end])) for start, end in zip(starts.tolist(), ends, strict=True)]] = (
            True
        )
        return found

    def _cut(
        self, tree: int, low: Floats, high: Floats, mask: Bools, point: Floats, weights: Floats, may_change: Bools
    ) -> tuple[int, float]:
        """Return the column and the threshold that take a leaf of a tree, the farthest, from the near side of a box."""
        end = self._starts[tree + 1] if tree + 1 < len(self._starts) else len(mask)
        which = self._starts[tree] + np.flatnonzero(mask[self._starts[tree] : end])
        near = np.clip(point, low, high)
        above, below = self._leaves.low[which] - near, near - self._leaves.high[which]
        outside = np.where(may_change, np.maximum(above, below) * weights, -np.inf)
        leaf, index = np.unravel_index(int(np.argmax(outside)), outside.shape)
        is_above = above[leaf, index] >= below[leaf, index]
        bounds = self._leaves.low if is_above else self._leaves.high
        return int(index), float(bounds[which[leaf], index])


def certify_rows(certifier: TreeCertifier, rows: Floats, *, proceed: Callable[[], bool]) -> tuple[Floats, Bools]:
    """Return the certified distance of each row (n, d), and whether it is exact.

    Raises
    ------
    NotApplicable
        If `proceed` returns False before a row.
    """
    found = []
    for row in rows:
        if not proceed():
            raise NotApplicable("time ran out before all rows were certified", hint="headway evaluate --budget 10m")
        found.append(certifier.certify(row))
    return np.array([one.distance for one in found]), np.array([one.is_exact for one in found])
