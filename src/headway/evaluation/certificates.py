"""Robustness certificates: the smallest change of numbers that can flip a decision.

Of trees it is found by branch and bound, of linear models in closed form.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from headway.core.arrays import Bools, Floats, Ints, sigmoid
from headway.core.errors import NotApplicable
from headway.engines.formats.graph import Graph
from headway.engines.formats.trees import (
    Forest,
    Precision,
    Tree,
    goes_left,
    leaf_paths,
    limit_of_odds,
    limit_of_sum,
    read_cells,
    rounding_of_sigmoid,
    rounding_of_sum,
)
from headway.evaluation.decision_attack import AttackColumn

MAX_BOXES = 4_000
SUM_ROUNDING = 1e-12
"""Rounding of a weighted sum that is allowed for, relative to the magnitude of its terms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What is certified of a row: no change below `distance` flips its `decision`.

    `is_exact`: a change of any larger distance exists that does; otherwise the search ended before, and the distance is
    a lower bound. It is infinite if no change flips the decision.
    """

    decision: int
    distance: float
    is_exact: bool


class Certifier(Protocol):
    """Certifies the decisions of a model."""

    def certify(self, row: Floats) -> Certificate:
        """Certify the decision on a row (d,)."""
        ...


class TreeCertifier:
    """Certifies decisions of trees against changes of some columns, all of which may change at once.

    The distance of a change is the largest move of a column, in interquartile ranges times its cost. Numbers may take
    any finite value, and are rounded as the trees round them. Categories, flags, missing and infinite values stay.
    Where shares of votes tie at the threshold, a library may round to either side: the distance to a tie is a bound.

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
        if forest.zero_as_missing or not math.isnan(forest.missing):
            value = "zero" if forest.zero_as_missing else f"{forest.missing:g}"
            raise NotApplicable(f"its trees read {value} as missing, which no certificate covers")
        self._forest, self._threshold, self._max_boxes = forest, threshold, max_boxes
        self._limit = limit_of_sum(forest, threshold)
        self._at, self._weights = _numbers(columns)
        self._leaves = _Leaves.of(forest, self._at)
        self._slack = rounding_of_sum(forest, threshold)

    def certify(self, row: Floats) -> Certificate:
        """Certify the decision on a row (d,)."""
        may_change = np.zeros(len(row), dtype=np.bool_)
        own = self._decide(self._leaves.reachable(self._forest, row, may_change))
        may_change[self._at] = np.isfinite(row[self._at])
        reachable, may_move = self._leaves.reachable(self._forest, row, may_change), may_change[self._at]
        point = np.where(may_move, row[self._at], 0.0)
        found = Certificate(decision=own, distance=math.inf, is_exact=True)
        for start, values, limit in self._targets(own):

            def flips(mask: Bools, own: int = own) -> bool:
                return self._decide(mask) != own

            search = _BoxSearch(
                self._leaves, values, limit - start, self._slack, flips, keeps_ties=self._forest.link != "identity"
            )
            distance, is_exact = search.run(point, self._weights, may_move, reachable, self._max_boxes, found.distance)
            if distance < found.distance:
                found = Certificate(decision=own, distance=distance, is_exact=is_exact)
        return found

    def _decide(self, mask: Bools) -> int:
        """Return the decision of a mask with one leaf of each tree, added in the order of the trees."""
        total = self._forest.base.astype(self._forest.sum_dtype)
        for values in self._leaves.values[mask]:
            total = (total + values.astype(total.dtype)).astype(total.dtype)
        if len(total) > 1:
            return int(np.argmax(total))
        score = total.astype(np.float64)
        if self._forest.link == "sigmoid":
            score = sigmoid(score).astype(total.dtype).astype(np.float64)
        return int(score[0] >= self._threshold)

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


def _numbers(columns: Sequence[AttackColumn]) -> tuple[Ints, Floats]:
    """Return the columns of numbers, and the distance of a move by 1 in each."""
    numbers = [column for column in columns if column.among is None]
    at = np.array([column.at for column in numbers], dtype=np.int64)
    return at, np.array([column.cost / column.scale for column in numbers])


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
            cuts = _cuts(tree.threshold, forest.input_dtype)
            for leaf, path in leaf_paths(tree):
                boxes.append(_box(tree, cuts, path, at))
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

    def reachable(self, forest: Forest, row: Floats, may_change: Bools) -> Bools:
        """Return the leaves that a row (d,) may reach when columns that `may_change`, bool (d,), change."""
        cells = read_cells(forest, row[None])[0]
        goes = (goes_left(forest, tree, np.arange(len(tree.feature)), cells[tree.feature]) for tree in forest.trees)
        is_left = np.concatenate([*goes, [True]])
        categorical = np.concatenate([*(tree.categorical for tree in forest.trees), [False]])
        is_fixed = ~may_change[self.feature] | categorical
        is_fixed[-1] = False
        holds = (is_left[self.node] == self.is_left) | ~is_fixed[self.node]
        found = np.logical_and.reduceat(holds, self.starts)
        is_inside = (self.low < self.high) | ~may_change[self.at]  # no number reaches a box that its conditions empty
        return np.asarray(found & is_inside.all(axis=1))


def _cuts(thresholds: Floats, precision: Precision) -> Floats:
    """Return the largest float64 values that are at most each threshold (m,) after they are rounded."""
    if precision == "float64":
        return thresholds
    with np.errstate(over="ignore"):
        rounded = thresholds.astype(np.float32)
    last = np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)
    first = np.nextafter(last, np.float32(np.inf))
    return np.asarray((last.astype(np.float64) + first.astype(np.float64)) / 2)


def _box(tree: Tree, cuts: Floats, path: Sequence[tuple[int, bool]], at: Ints) -> tuple[Floats, Floats]:
    """Return the box (low, high] of a leaf over columns `at`."""
    low, high = np.full(len(at), -np.inf), np.full(len(at), np.inf)
    for node, is_left in path:
        index = np.flatnonzero(at == tree.feature[node])
        if tree.categorical[node]:
            continue
        if is_left:
            high[index] = np.minimum(high[index], cuts[node])
        else:
            low[index] = np.maximum(low[index], cuts[node])
    return low, high


class _BoxSearch:
    """Search of the nearest box in which a sum over the trees reaches a limit, nearest boxes first.

    Unless it `keeps_ties`, a box whose sum is at the limit but for rounding ends the search: a library that adds the
    trees otherwise may decide it otherwise.
    """

    def __init__(
        self,
        leaves: _Leaves,
        values: Floats,
        limit: float,
        slack: float,
        flips: Callable[[Bools], bool],
        *,
        keeps_ties: bool,
    ) -> None:
        self._leaves, self._values, self._starts, self._flips = leaves, values, leaves.tree_starts, flips
        self._limit, self._slack, self._keeps_ties = limit, slack, keeps_ties

    def run(
        self,
        point: Floats,
        weights: Floats,
        may_change: Bools,
        reachable: Bools,
        max_boxes: int,
        nearer_than: float,
    ) -> tuple[float, bool]:
        """Return the distance of the nearest box if it is nearer than another distance, and whether it is exact."""
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
            if worst.sum() >= self._limit + self._slack:
                return distance, True
            if is_one_leaf and self._keeps_ties:
                if self._flips(self._one_each(mask)):
                    return distance, True
                continue
            if is_one_leaf or examined >= max_boxes:
                return distance, False
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
        return math.inf, True

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


class LinearCertifier:
    """Certifies decisions of a linear model against changes of some columns, in closed form.

    The distance is that of `TreeCertifier`. The largest change of a sum w x within distance 1 is the sum of |w| over
    the weights of the columns, so a decision with margin m keeps within m divided by it.

    Parameters
    ----------
    graph : Graph
        A logistic regression, or a classifier that answers the sigmoid or softmax of its sums; scalers and imputers may
        come before it.
    columns : sequence of AttackColumn
        Columns that may change.
    threshold : float
        A score of at least this value is a decision for the positive class.

    Raises
    ------
    NotApplicable
        If the model is not linear in its numbers.
    """

    def __init__(self, graph: Graph, columns: Sequence[AttackColumn], threshold: float) -> None:
        self._columns, self._fill, self._weights, self._bias = _read_linear(graph)
        self._is_binary, self._slack = len(self._bias) == 1, 0.0
        if self._is_binary:  # the sum above the limit, next to 0
            limit = limit_of_odds(threshold)
            self._slack = rounding_of_sigmoid(np.finfo(np.float64).eps, threshold)
            self._weights = np.column_stack([np.zeros(len(self._columns)), self._weights])
            self._bias = np.append(0.0, self._bias - limit)
        at, weights = _numbers(columns)
        moves = np.zeros(graph.width)
        moves[at] = 1 / weights
        self._moves = moves[self._columns]

    def certify(self, row: Floats) -> Certificate:
        """Certify the decision on a row (d,)."""
        values = row[self._columns]
        moves = np.where(np.isfinite(values), self._moves, 0.0)
        values = np.where(np.isnan(values), self._fill, values)
        with np.errstate(invalid="ignore"):
            sums = values @ self._weights + self._bias
        if not np.isfinite(sums).all():  # the library rejects the row
            return Certificate(decision=0, distance=0.0, is_exact=False)
        own = int(sums[1] >= 0) if self._is_binary else int(np.argmax(sums))
        magnitude = float((np.abs(values) @ np.abs(self._weights) + np.abs(self._bias)).max())
        rounding = 2 * SUM_ROUNDING * magnitude + self._slack
        margins = np.maximum(sums[own] - np.delete(sums, own) - rounding, 0.0)
        slopes = moves @ np.abs(self._weights[:, [own]] - np.delete(self._weights, own, axis=1))
        distances = np.divide(margins, slopes, out=np.full(len(slopes), np.inf), where=slopes > 0)
        return Certificate(decision=own, distance=float(distances.min()), is_exact=True)


def _read_linear(graph: Graph) -> tuple[Ints, Floats, Floats, Floats]:
    """Return the columns that a linear model reads, what replaces missing values, weights (columns, k) and bias (k,).

    Raises
    ------
    NotApplicable
        If the model has another operation than those of its input, one weighted sum, and its link.
    """
    operations, constants = list(graph.operations), graph.constants
    columns, fill = np.arange(graph.width), np.full(1, np.nan)
    if operations[0].kind == "Gather":
        columns = np.asarray(constants[operations.pop(0).inputs[1]], dtype=np.int64)
    elif operations[0].kind == "Slice":
        start, end = (int(constants[name][0]) for name in operations.pop(0).inputs[1:3])
        columns = columns[start:end]
    if operations[0].kind == "IsNaN":
        fill = constants[operations[1].inputs[1]]
        operations = operations[2:]
    kinds = tuple(operation.kind for operation in operations)
    if kinds[:-1] != ("MatMul", "Add", "Mod") or kinds[-1] not in ("Sigmoid", "Softmax"):
        raise NotApplicable("its answer is not the sigmoid or softmax of one weighted sum of numbers")
    product, bias = operations[:2]
    return columns, fill, constants[product.inputs[1]], constants[bias.inputs[1]]


def certify_rows(certifier: Certifier, rows: Floats, *, proceed: Callable[[], bool]) -> tuple[Ints, Floats, Bools]:
    """Return the decision on each row (n, d), its certified distance, and whether that is exact.

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
    return (
        np.array([one.decision for one in found]),
        np.array([one.distance for one in found]),
        np.array([one.is_exact for one in found]),
    )
