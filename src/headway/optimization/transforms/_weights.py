"""Few weights of the trees of a binary model that decide rows as the model does, for transforms `fipe` and `pine`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linprog

from headway.core.arrays import Bools, Floats
from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.record import Scalar
from headway.core.variant import Step, Variant
from headway.engines.compiled.forest import compile_forest
from headway.engines.formats.trees import Forest, TreeEngine, accepted_rows, leaves_of, limit_of_sum, read_cells
from headway.optimization.context import TransformContext

MAX_SHARE = 0.9
"""Largest share of nodes that is worth a variant."""
_SAMPLE_ROWS = 5_000
_FIRST, _MORE = 200, 100  # rows in the linear program at first, and added each time
_IDLE = 1e-9
_FAVOR = 0.01

Decide = Callable[[Floats], Bools]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BinaryTrees:
    """A binary model of trees: its forest, and a function that returns which rows (n, d) it decides to be positive."""

    forest: Forest
    threshold: float
    decide: Decide

    @classmethod
    def of(cls, variant: Variant, context: TransformContext) -> BinaryTrees:
        """Read the baseline; raise NotApplicable if it is another variant, or no tree model of two classes."""
        engine = load_engine(variant.engine)
        if not isinstance(engine, TreeEngine) or variant.task != "binary":
            raise NotApplicable("applies to tree models of two classes")
        if variant.steps:
            raise NotApplicable("applies to the baseline only")
        load_engine("trees")
        forest = engine.forest(context.read(variant))
        if len(forest.base) > 1:
            raise NotApplicable(f"it has {len(forest.base)} outputs, and weights are found for one")
        limit_of_sum(forest, context.threshold)
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

    def differs_from(self, forest: Forest) -> Decide:
        """Return a function that returns which rows the model and the kernels of a forest decide differently."""
        other = decide_by(load_engine("trees")(compile_forest(forest), {}).predict, self.threshold)
        return lambda rows: self.decide(rows) != other(rows)


class TreeWeights:
    """Find weights of trees of the least cost with which the sums of known rows remain on their side of the limit.

    Parameters
    ----------
    model : BinaryTrees
        The model.
    sample : ndarray of shape (n, d)
        Representative rows, to whose scores the scale of the weights is fitted.
    more : ndarray of shape (m, d)
        More rows that are known from the beginning.
    """

    def __init__(self, model: BinaryTrees, sample: Floats, more: Floats) -> None:
        self._model, self.forest = model, model.forest
        self.nodes = np.array([len(tree.feature) for tree in self.forest.trees], dtype=np.float64)
        self._limit = limit_of_sum(model.forest, model.threshold)
        self._spread = np.array([float(np.ptp(tree.leaf)) or 1.0 for tree in self.forest.trees])
        self._values, self._yes = np.zeros((0, len(self.nodes))), np.zeros(0, dtype=np.bool_)
        self._used = np.zeros(0, dtype=np.int64)
        self.add(np.concatenate([sample, more]), used=_FIRST)
        self._sums = self._values[: len(sample)].sum(axis=1) + float(self.forest.base[0]) - self._limit

    def add(self, rows: Floats, *, used: int | None = None) -> None:
        """Add known rows; so many of them, those nearest to the limit, enter the linear program at once."""
        values = tree_values(self.forest, rows)
        nearest = np.argsort(np.abs(values.sum(axis=1) + float(self.forest.base[0]) - self._limit), kind="stable")
        self._used = np.append(self._used, len(self._yes) + nearest[:used])
        self._values = np.concatenate([self._values, values])
        self._yes = np.append(self._yes, self._model.decide(rows))

    def favored(self, weights: Floats) -> Floats:
        """Return costs of trees that favor those with the largest weights, so that fewer remain."""
        size = weights * self._spread
        return np.asarray(self.nodes / (size / size.max() + _FAVOR))

    def fit(self, cost: Floats, until: float) -> tuple[Floats, Forest]:
        """Return weights (trees,) of the least cost that decide all known rows alike, and all trees with them.

        Of all scales of the weights, which decide alike, it is the one with the sums nearest to those of the model.

        Raises
        ------
        NotApplicable
            If there are none, or none were found until a time of `time.monotonic`.
        """
        scaled, toward = self._values / self._spread, np.where(self._yes, 1.0, -1.0)
        while True:
            used = self._used
            weights, start = _least_weights(scaled[used], toward[used], cost / self._spread, until)
            margins = toward * (scaled @ weights + start)
            broken = np.setdiff1d(np.flatnonzero(margins < 1 - 1e-6), used, assume_unique=True)
            if not len(broken):
                break
            self._used = np.append(used, broken[np.argsort(margins[broken], kind="stable")][:_MORE])
        weights = np.where(weights < _IDLE * weights.max(initial=0.0), 0.0, weights) / self._spread
        sums = self._values[: len(self._sums)] @ weights + start
        scale = max(float(sums @ self._sums), 0.0) / max(float(sums @ sums), 1e-300)
        scale = min(scale or 1.0, self._largest_scale(weights, start))
        return weights * scale, self._reweighted(weights * scale, start * scale)

    def _largest_scale(self, weights: Floats, start: float) -> float:
        """Return the largest scale at which scores that are sums, such as of forests, remain probabilities."""
        if self.forest.link != "identity":
            return float("inf")
        pairs = list(zip(weights, self.forest.trees, strict=True))
        high = start + sum(weight * tree.leaf.max() for weight, tree in pairs)
        low = start + sum(weight * tree.leaf.min() for weight, tree in pairs)
        above = (1 - self._limit) / high if high > 0 else np.inf
        below = -self._limit / low if low < 0 else np.inf
        return float(min(above, below)) * (1 - 1e-9)

    def _reweighted(self, weights: Floats, start: float) -> Forest:
        """Return the forest with these weights, its leaves in the precision in which they are added."""
        kind = np.dtype(self.forest.sum_dtype)
        base = np.array([start + self._limit]).astype(kind).astype(np.float64)
        trees = (
            replace(tree, leaf=(tree.leaf * weight).astype(kind).astype(np.float64))
            for tree, weight in zip(self.forest.trees, weights, strict=True)
        )
        return replace(self.forest, base=base, trees=tuple(trees))


def tree_values(forest: Forest, rows: Floats) -> Floats:
    """Return what each tree of a forest of one output adds for each row, (n, trees)."""
    cells = read_cells(forest, rows)
    return np.column_stack([tree.leaf[leaves_of(forest, tree, cells), 0] for tree in forest.trees])


def count_nodes(forest: Forest) -> int:
    """Count the split nodes of a forest."""
    return sum(len(tree.feature) for tree in forest.trees)


def without_idle_trees(forest: Forest) -> Forest:
    """Return a forest without the trees whose leaves are all 0; one remains."""
    trees = tuple(tree for tree in forest.trees if tree.leaf.any())
    return replace(forest, trees=trees or forest.trees[:1])


def few_can_go(share: float) -> NotApplicable:
    """Return why a variant with a share of the nodes is not worth it."""
    return NotApplicable(f"{share:.0%} of its nodes decide; leaving trees out pays up to {MAX_SHARE:.0%}")


def decide_by(predict: Callable[[Floats], Floats], threshold: float) -> Decide:
    """Return a function that returns which rows a model decides to be positive."""

    def decide(rows: Floats) -> Bools:
        with np.errstate(over="ignore", invalid="ignore"):  # values at edges may overflow
            return np.asarray(predict(rows)[:, 0] >= threshold)

    return decide


def reweighted_variant(
    variant: Variant, forest: Forest, context: TransformContext, step: str, **more: Scalar
) -> Variant:
    """Return the variant of a forest with new weights; the step names the threshold and the number of trees."""
    settings: dict[str, Scalar] = {"threshold": context.threshold, "trees": len(forest.trees), **more}
    artifact = context.save(compile_forest(forest), "forest")
    return variant.remade(Step(transform=step, settings=settings), artifact, engine="trees")


def _least_weights(values: Floats, toward: Floats, cost: Floats, until: float) -> tuple[Floats, float]:
    """Return weights >= 0 of the least cost, and a start, with which each sum has its sign and a margin of 1."""
    columns = np.column_stack([values, np.ones(len(values))])
    found = linprog(
        np.append(cost, 0.0),
        A_ub=-toward[:, None] * columns,
        b_ub=-np.ones(len(values)),
        bounds=[*((0, None) for _ in cost), (None, None)],
        method="highs",
        options={"time_limit": max(until - time.monotonic(), 0.1)},
    )
    if found.x is None:
        raise NotApplicable(f"no weights of its trees were found that decide alike: {found.message}")
    return np.maximum(found.x[:-1], 0.0), float(found.x[-1])
