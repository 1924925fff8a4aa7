"""Read a model of trees that decides, and find few weights of its trees, for transforms `fipe` and `pine`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linprog

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.record import Scalar
from headway.core.variant import Step, Variant
from headway.engines.compiled.forest import compile_forest
from headway.engines.formats.trees import (
    Forest,
    TreeEngine,
    accepted_rows,
    distinct_trees,
    leaves_of,
    limit_of_sum,
    read_cells,
)
from headway.optimization.context import TransformContext

MAX_SHARE = 0.9
"""Largest share of nodes that is worth a variant."""
_SAMPLE_ROWS = 5_000
_FIRST, _MORE = 200, 100  # rows in the linear program at first, and added each time
_IDLE, _EVEN = 1e-9, 1e-6
_FAVOR = 0.01

Decide = Callable[[Floats], Ints]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecidingTrees:
    """A model of trees that decides: its forest, and a function that returns its decisions (n,) for rows (n, d)."""

    forest: Forest
    threshold: float
    decide: Decide

    @classmethod
    def of(cls, variant: Variant, context: TransformContext, *, tasks: Sequence[str] = ("binary",)) -> DecidingTrees:
        """Read the baseline; raise NotApplicable if it is another variant, or no tree model of these tasks."""
        engine = load_engine(variant.engine)
        if not isinstance(engine, TreeEngine) or variant.task not in tasks:
            raise NotApplicable(f"applies to tree models of {'two classes' if len(tasks) == 1 else 'classes'}")
        if variant.steps:
            raise NotApplicable("applies to the baseline only")
        load_engine("trees")
        forest = engine.forest(context.read(variant))
        if (len(forest.base) > 1) != (variant.task == "multiclass"):
            raise NotApplicable(f"it has {len(forest.base)} outputs, which is not usual for a {variant.task} model")
        limit_of_sum(forest, context.threshold)
        if forest.link == "identity" and not average_probabilities(forest):
            raise NotApplicable("its scores are not averages of probabilities")
        if not any(len(tree.feature) for tree in forest.trees):
            raise NotApplicable("its trees have no splits")
        decide = decide_by(context.open(variant).predict, context.threshold)
        return cls(forest=forest, threshold=context.threshold, decide=decide)

    def accepted(self, rows: Floats) -> Floats:
        """Return up to 5,000 rows that the model accepts; raise NotApplicable if there are none."""
        found = rows[:: len(rows) // _SAMPLE_ROWS + 1]
        found = found[accepted_rows(self.forest, found)]
        if not len(found):
            raise NotApplicable("it requires rows, and there are 0 rows that the model accepts")
        return found

    def decided_by(self, forest: Forest) -> Decide:
        """Return a function that returns the decisions of the kernels of a forest."""
        return decide_by(load_engine("trees")(compile_forest(forest), {}).predict, self.threshold)

    def differs_from(self, forest: Forest) -> Callable[[Floats], Bools]:
        """Return a function that returns which rows the model and the kernels of a forest decide differently."""
        other = self.decided_by(forest)
        return lambda rows: self.decide(rows) != other(rows)


class TreeWeights:
    """Find weights of trees of the least cost with which known rows are decided as before.

    Each known row has one condition: its sum is on its side of the limit. With several classes it has one for each of
    the others: its class is ahead.

    Parameters
    ----------
    model : DecidingTrees
        The model.
    sample : ndarray of shape (n, d)
        Representative rows, to whose scores the scale of the weights is fitted.
    more : ndarray of shape (m, d)
        More rows that are known from the beginning.
    """

    def __init__(self, model: DecidingTrees, sample: Floats, more: Floats) -> None:
        self._model, self.forest = model, model.forest
        self.nodes = np.array([len(tree.feature) for tree in self.forest.trees], dtype=np.float64)
        self._classes, self._kinds = len(self.forest.base), np.array(distinct_trees(self.forest)[1])
        self._limit = limit_of_sum(model.forest, model.threshold)
        self._spread = np.array([float(np.ptp(tree.leaf)) or 1.0 for tree in self.forest.trees])
        self._values, self._starts = np.zeros((0, len(self.nodes))), np.zeros((0, self._classes))
        self._used = np.zeros(0, dtype=np.int64)
        stride = max(self._classes - 1, 1)  # as many conditions as with two classes
        self.add(np.concatenate([sample, more])[::stride], used=_FIRST)
        self._sample = tree_values(self.forest, sample[::stride])
        self._sums = self._sums_of(np.ones(len(self.nodes)), self.forest.base - self._limit)

    def add(self, rows: Floats, *, used: int | None = None) -> None:
        """Add known rows; so many conditions, those nearest to the limit, enter the linear program at once."""
        values, starts = self._conditions(tree_values(self.forest, rows), self._model.decide(rows))
        margins = values.sum(axis=1) + starts @ (self.forest.base - self._limit)
        nearest = np.argsort(np.abs(margins), kind="stable")
        self._used = np.append(self._used, len(self._values) + nearest[:used])
        self._values = np.concatenate([self._values, values])
        self._starts = np.concatenate([self._starts, starts])

    def _conditions(self, values: Floats, decided: Ints) -> tuple[Floats, Floats]:
        """Return what trees (conditions, trees) and starts (conditions, outputs) add to the sum of each condition."""
        if self._classes == 1:
            toward = np.where(decided == 1, 1.0, -1.0)
            return values[..., 0] * toward[:, None], toward[:, None]
        index, names = np.arange(len(values)), np.eye(self._classes)
        others = np.arange(self._classes)[None] != decided[:, None]
        ahead = values[index, :, decided][..., None] - values  # (rows, trees, classes)
        starts = names[decided][:, None, :] - names[None]
        return ahead.transpose(0, 2, 1)[others], starts[others]

    def _sums_of(self, weights: Floats, start: Floats) -> Floats:
        """Return the sums of the sample (n, outputs); of several classes relative to their mean."""
        sums = np.tensordot(self._sample, weights, axes=(1, 0)) + start
        return sums - sums.mean(axis=1, keepdims=True) if self._classes > 1 else np.asarray(sums)

    def favored(self, weights: Floats) -> Floats:
        """Return costs of trees that favor the splits of those with the largest weights, so that fewer remain."""
        size = np.zeros(len(weights))
        np.maximum.at(size, self._kinds, weights * self._spread)
        size = size[self._kinds]
        return np.asarray(self.nodes / (size / size.max() + _FAVOR))

    def fit(self, cost: Floats, until: float) -> tuple[Floats, Forest]:
        """Return weights (trees,) of the least cost that decide all known rows alike, and all trees with them.

        Of all scales of the weights, which decide alike, it is the one with the sums nearest to those of the model.

        Raises
        ------
        NotApplicable
            If there are none, or none were found until a time of `time.monotonic`.
        """
        conditions = np.column_stack([self._values / self._spread, self._starts])
        # Averages of probabilities of several classes remain such if nothing is added.
        bounds = [(0.0, None)] * len(cost) + [(0.0, 0.0) if self._averages else (None, None)] * self._classes
        costs = np.append(cost / self._spread, np.zeros(self._classes))
        while True:
            used = self._used
            found = _least_weights(conditions[used], costs, bounds, until)
            margins = conditions @ found
            broken = np.setdiff1d(np.flatnonzero(margins < 1 - 1e-6), used, assume_unique=True)
            if not len(broken):
                break
            self._used = np.append(used, broken[np.argsort(margins[broken], kind="stable")][:_MORE])
        weights, start = np.maximum(found[: len(cost)], 0.0), found[len(cost) :]
        weights = np.where(weights < _IDLE * weights.max(initial=0.0), 0.0, weights) / self._spread
        scale = self._scale(weights, start)
        return weights * scale, self._reweighted(weights * scale, start * scale)

    @property
    def _averages(self) -> bool:
        return self._classes > 1 and self.forest.link == "identity"

    def _scale(self, weights: Floats, start: Floats) -> float:
        """Return the scale of the weights at which sums are nearest to those of the model, or add up as they do."""
        if self._averages:
            totals = np.array([float(tree.leaf[0].sum()) for tree in self.forest.trees])
            return float(totals.sum() / max(float(totals @ weights), 1e-300))
        sums = self._sums_of(weights, start)
        scale = max(float((sums * self._sums).sum()), 0.0) / max(float((sums * sums).sum()), 1e-300)
        if self.forest.link != "identity" or self._classes > 1:
            return scale or 1.0
        pairs = list(zip(weights, self.forest.trees, strict=True))
        low, high = (
            float(start[0]) + sum(weight * end(tree.leaf) for weight, tree in pairs) for end in (np.min, np.max)
        )
        return min(scale or 1.0, largest_scale(self._limit, low, high))

    def _reweighted(self, weights: Floats, start: Floats) -> Forest:
        """Return the forest with these weights, its leaves in the precision in which they are added."""
        kind = np.dtype(self.forest.sum_dtype)
        base = (start + self._limit).astype(kind).astype(np.float64)
        trees = (
            replace(tree, leaf=(tree.leaf * weight).astype(kind).astype(np.float64))
            for tree, weight in zip(self.forest.trees, weights, strict=True)
        )
        return replace(self.forest, base=base, trees=tuple(trees))


def largest_scale(limit: float, low: float, high: float) -> float:
    """Return the largest scale of sums, from low to high above the limit, with which they remain probabilities."""
    above = (1 - limit) / high if high > 0 else np.inf
    below = -limit / low if low < 0 else np.inf
    return float(min(above, below)) * (1 - 1e-9)


def average_probabilities(forest: Forest) -> bool:
    """Return whether trees of several outputs add shares of probabilities, and nothing else is added."""
    if len(forest.base) == 1:
        return True
    totals = [tree.leaf.sum(axis=1) for tree in forest.trees]
    return (
        not forest.base.any()
        and all(tree.leaf.min() >= 0 for tree in forest.trees)
        and all(np.ptp(total) <= _EVEN * total.max() for total in totals)
    )


def tree_values(forest: Forest, rows: Floats) -> Floats:
    """Return what each tree of a forest adds to each output for each row, (n, trees, outputs)."""
    cells = read_cells(forest, rows)
    found = np.zeros((len(rows), len(forest.trees), len(forest.base)))
    for number, tree in enumerate(forest.trees):
        found[:, number, list(tree.outputs)] = tree.leaf[leaves_of(forest, tree, cells)]
    return found


def margins(model: DecidingTrees, rows: Floats) -> Floats:
    """Return how far the sum of each row is from the limit, or the largest of several sums from the next."""
    found = np.zeros(len(rows))
    for first in range(0, len(rows), _SAMPLE_ROWS):
        sums = tree_values(model.forest, rows[first : first + _SAMPLE_ROWS]).sum(axis=1) + model.forest.base
        if sums.shape[1] == 1:
            sums = np.column_stack([sums, np.full(len(sums), limit_of_sum(model.forest, model.threshold))])
        largest = np.partition(sums, -2, axis=1)
        found[first : first + _SAMPLE_ROWS] = largest[:, -1] - largest[:, -2]
    return found


def count_nodes(forest: Forest) -> int:
    """Count the split nodes of a forest."""
    return sum(len(tree.feature) for tree in forest.trees)


def merged(forest: Forest) -> Forest:
    """Return a forest without the trees whose leaves are all 0, but one, and with one tree for all of the same splits.

    That tree adds to the outputs of all of them, and its leaves are in the precision in which they are added.
    """
    some = replace(forest, trees=tuple(tree for tree in forest.trees if tree.leaf.any()) or forest.trees[:1])
    first, numbers = distinct_trees(some)
    leaves = [np.zeros((len(tree.leaf), len(forest.base))) for tree in first]
    outputs: list[set[int]] = [set() for _ in first]
    for number, tree in zip(numbers, some.trees, strict=True):
        leaves[number][:, list(tree.outputs)] += tree.leaf
        outputs[number].update(tree.outputs)
    kind = np.dtype(forest.sum_dtype)
    trees = (
        replace(tree, outputs=tuple(sorted(adds)), leaf=leaf[:, sorted(adds)].astype(kind).astype(np.float64))
        for tree, adds, leaf in zip(first, outputs, leaves, strict=True)
    )
    return replace(forest, trees=tuple(trees))


def few_can_go(share: float) -> NotApplicable:
    """Return why a variant with a share of the nodes is not worth it."""
    return NotApplicable(f"{share:.0%} of its nodes decide; leaving trees out pays up to {MAX_SHARE:.0%}")


def decide_by(predict: Callable[[Floats], Floats], threshold: float) -> Decide:
    """Return a function that returns the decisions of a model: 1 from the threshold on, or the first largest class."""

    def decide(rows: Floats) -> Ints:
        with np.errstate(over="ignore", invalid="ignore"):  # values at edges may overflow
            scores = predict(rows)
        found = scores[:, 0] >= threshold if scores.shape[1] == 1 else np.argmax(scores, axis=1)
        return np.asarray(found, dtype=np.int64)

    return decide


def reweighted_variant(
    variant: Variant, forest: Forest, context: TransformContext, step: str, **more: Scalar
) -> Variant:
    """Return the variant of a forest with new weights; the step names the threshold and the number of trees."""
    settings: dict[str, Scalar] = {"threshold": context.threshold, "trees": len(forest.trees), **more}
    artifact = context.save(compile_forest(forest), "forest")
    return variant.remade(Step(transform=step, settings=settings), artifact, engine="trees")


def _least_weights(
    conditions: Floats, cost: Floats, bounds: Sequence[tuple[float | None, float | None]], until: float
) -> Floats:
    """Return numbers of the least cost within bounds with which each condition has a margin of 1."""
    found = linprog(
        cost,
        A_ub=-conditions,
        b_ub=-np.ones(len(conditions)),
        bounds=bounds,
        method="highs",
        options={"time_limit": max(until - time.monotonic(), 0.1)},
    )
    if found.x is None:
        raise NotApplicable(f"no weights of its trees were found that decide alike: {found.message}")
    return np.asarray(found.x)
