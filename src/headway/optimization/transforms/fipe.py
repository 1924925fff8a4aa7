"""Leave out trees of a small ensemble and reweight the others, proved to decide every row as before (FIPE).

Functionally identical pruning (Emine, Forel, Malek and Vidal, "Free Lunch in the Forest", 2024): a linear program finds
few weights that decide the known rows as before, an exact search looks for a row that they decide differently, and this
row is added, until there is none. Decisions stay at the threshold of the project; scores change.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linprog

from headway.core.arrays import Bools, Floats
from headway.core.errors import EngineError, NotApplicable
from headway.core.plugins import load_engine
from headway.core.record import Scalar
from headway.core.variant import Step, Variant
from headway.engines.compiled.forest import compile_forest
from headway.engines.formats.trees import Forest, TreeEngine, accepted_rows
from headway.optimization.context import TransformContext
from headway.optimization.equal_decisions import DecisionSearch
from headway.optimization.parity import clip_to_known_ranks, parity_rows

STAGE = "restructure"
KEEPS_DECISIONS = True
COST = {"rows": 30_000, "opens": 2, "seconds": 5}

LIMIT_S = 5.0
"""Seconds in which the proof must end."""
MAX_SHARE = 0.9
"""Largest share of nodes that is worth a variant."""
_RANDOM_ROWS, _SAMPLE_ROWS = 5_000, 5_000
_ROUNDS = 4  # of weights that favor the trees with the largest weights before
_FIRST, _MORE = 200, 100  # rows in the linear program at first, and added each time
_IDLE = 1e-9
_FAVOR = 0.01

Decide = Callable[[Floats], Bools]


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the baseline with fewer trees, which have new weights; it decides every row as the baseline does.

    Raises
    ------
    NotApplicable
        If it is not a small binary tree model, equal decisions could not be proved in time, or few nodes can go.
    EngineError
        If the kernels decide a known row differently.
    """
    weights = TreeWeights.of(variant, context)
    found = weights.proved(until=time.monotonic() + LIMIT_S)
    return [weights.as_variant("fipe", found, variant, context)]


class TreeWeights:
    """Find few weights of the trees of a binary model that decide rows as the model does.

    Parameters
    ----------
    search : DecisionSearch
        Search over the forest of the model.
    decide : callable
        Return which rows (n, d) the model decides to be positive.
    sample : ndarray of shape (n, d)
        Representative rows, which the model accepts.
    with_random : bool
        Whether rows of random cells are known from the beginning as well.
    """

    def __init__(self, search: DecisionSearch, decide: Decide, sample: Floats, *, with_random: bool = True) -> None:
        self.search, self._decide, self._sample = search, decide, sample
        self.nodes = np.array([len(tree.feature) for tree in search.forest.trees], dtype=np.float64)
        self._spread = np.array([float(np.ptp(tree.leaf)) or 1.0 for tree in search.forest.trees])
        self._known = _Known.of(search, decide, self._with_random(sample) if with_random else sample)
        sums = self._known.values.sum(axis=1) + float(search.forest.base[0]) - search.limit
        self._margins = sums[: len(sample)]
        self._used = np.argsort(np.abs(sums), kind="stable")[:_FIRST]

    @classmethod
    def of(cls, variant: Variant, context: TransformContext, sample: Floats | None = None) -> TreeWeights:
        """Prepare the weights of a variant; with a `sample`, its rows are the only ones known.

        Raises
        ------
        NotApplicable
            If it is not the baseline, a small binary tree model, or without rows.
        """
        engine = load_engine(variant.engine)
        if not isinstance(engine, TreeEngine) or variant.task != "binary":
            raise NotApplicable("applies to tree models of two classes")
        if variant.steps:
            raise NotApplicable("applies to the baseline only")
        load_engine("trees")
        forest = engine.forest(context.read(variant))
        search = DecisionSearch(forest, context.threshold, lambda rows: clip_to_known_ranks(rows, variant.signature))
        rows = context.sample if sample is None else sample
        rows = rows[:: len(rows) // _SAMPLE_ROWS + 1]
        rows = rows[accepted_rows(forest, rows)]
        if not len(rows) or not any(len(tree.feature) for tree in forest.trees):
            raise NotApplicable(f"it needs rows and split nodes: {len(rows)} rows")
        model = context.open(variant)

        def decide(rows: Floats) -> Bools:
            with np.errstate(over="ignore", invalid="ignore"):
                return np.asarray(model.predict(rows)[:, 0] >= context.threshold)

        return cls(search, decide, rows, with_random=sample is None)

    def _with_random(self, sample: Floats) -> Floats:
        """Return the sample, random rows, and rows of both."""
        random = np.random.default_rng(0)
        drawn = self.search.random_rows(_RANDOM_ROWS, random)
        mixed = np.where(random.random(drawn.shape) < 0.8, sample[random.integers(len(sample), size=len(drawn))], drawn)
        return np.concatenate([sample, drawn, mixed])

    def proved(self, *, until: float) -> Forest:
        """Return the forest with the fewest nodes that was proved to decide every row alike.

        Raises
        ------
        NotApplicable
            If none was proved until a time of `time.monotonic`, or few nodes can go.
        """
        best: Forest | None = None
        cost = self.nodes
        for _ in range(_ROUNDS):
            found = self._proved_once(cost, best, until)
            if found is None:
                break
            best, weights = found
            if not weights.any():
                break
            cost = self.nodes / (weights * self._spread / (weights * self._spread).max() + _FAVOR)
        if best is None:
            raise NotApplicable("equal decisions could not be certified in time", hint="a smaller ensemble")
        return best

    def _proved_once(self, cost: Floats, best: Forest | None, until: float) -> tuple[Forest, Floats] | None:
        """Return weights of this cost with a proof; None without one in time, or with no fewer nodes than the best."""
        limit = MAX_SHARE * self.nodes.sum() if best is None else count_nodes(best) - 0.5
        while time.monotonic() < until:
            weights, start = self.fit(cost, until)
            other = self.reweighted(weights, start)
            remaining = float(self.nodes[weights > 0].sum())
            if remaining > limit and best is not None:
                return None
            if remaining > limit:
                raise NotApplicable(
                    f"{remaining / self.nodes.sum():.0%} of its nodes decide; pruning pays below {MAX_SHARE:.0%}"
                )
            smaller = without_idle_trees(other)
            result = self.search.differences(other, self._differs_from(smaller), until=until)
            if result.is_complete and not len(result.rows):
                return smaller, weights
            if not len(result.rows):
                return None
            first_new = len(self._known.yes)
            self._known = self._known.joined(_Known.of(self.search, self._decide, result.rows))
            self._used = np.append(self._used, np.arange(first_new, len(self._known.yes)))
        return None

    def _differs_from(self, forest: Forest) -> Decide:
        """Return a function that returns which rows the model and the kernels of a forest decide differently."""
        decide = _decide_by_kernels(forest, self.search.threshold)
        return lambda rows: self._decide(rows) != decide(rows)

    def fit(self, cost: Floats, until: float) -> tuple[Floats, float]:
        """Return weights (trees,) of the least cost that decide all known rows alike, and the start of their sum.

        Scores are as near as possible to those of the model, on the sample.

        Raises
        ------
        NotApplicable
            If there are none.
        """
        scaled, directions = self._known.values / self._spread, np.where(self._known.yes, 1.0, -1.0)
        while True:
            used = self._used
            weights, start = _least_weights(scaled[used], directions[used], cost / self._spread, until)
            margins = directions * (scaled @ weights + start)
            broken = np.flatnonzero(margins < 1 - 1e-6)
            broken = np.setdiff1d(broken[np.argsort(margins[broken], kind="stable")], used, assume_unique=True)
            if not len(broken):
                break
            worst = broken[np.argsort(margins[broken], kind="stable")][:_MORE]
            self._used = np.append(used, worst)
        weights = np.where(weights < _IDLE * weights.max(initial=0.0), 0.0, weights) / self._spread
        sums = self._known.values[: len(self._sample)] @ weights + start
        scale = max(float(sums @ self._margins), 0.0) / max(float(sums @ sums), 1e-300)
        scale = min(scale or 1.0, self._largest_scale(weights, start))
        return weights * scale, start * scale

    def _largest_scale(self, weights: Floats, start: float) -> float:
        """Return the largest scale at which scores that are sums, such as of forests, remain probabilities."""
        if self.search.forest.link != "identity":
            return float("inf")
        trees = self.search.forest.trees
        high = start + sum(weight * tree.leaf.max() for weight, tree in zip(weights, trees, strict=True))
        low = start + sum(weight * tree.leaf.min() for weight, tree in zip(weights, trees, strict=True))
        limit, inside = self.search.limit, 1 - 1e-9
        return float(min((1 - limit) / high if high > 0 else np.inf, -limit / low if low < 0 else np.inf)) * inside

    def reweighted(self, weights: Floats, start: float) -> Forest:
        """Return the forest with these weights, its leaves in the precision in which they are added."""
        forest = self.search.forest
        kind = np.dtype(forest.sum_dtype)
        base = np.array([start + self.search.limit]).astype(kind).astype(np.float64)
        trees = (
            replace(tree, leaf=(tree.leaf * weight).astype(kind).astype(np.float64))
            for tree, weight in zip(forest.trees, weights, strict=True)
        )
        return replace(forest, base=base, trees=tuple(trees))

    def as_variant(
        self, transform: str, found: Forest, variant: Variant, context: TransformContext, **more: float
    ) -> Variant:
        """Return the variant of a forest; raise EngineError if the kernels decide a known row differently."""
        rows = clip_to_known_ranks(parity_rows(self.search.forest, context.sample), variant.signature)
        differ = int(self._differs_from(found)(rows).sum()) if not more else 0
        if differ:
            raise EngineError(
                f"pruned trees decide {differ:,} of {len(rows):,} rows differently",
                hint=f"[optimize] transforms without {transform}",
            )
        settings: dict[str, Scalar] = {"threshold": context.threshold, "trees": len(found.trees), **more}
        artifact = context.save(compile_forest(found), "forest")
        return variant.remade(Step(transform=transform, settings=settings), artifact, engine="trees")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Known:
    """What each tree adds for known rows, (n, trees), and how the model decides them."""

    values: Floats
    yes: Bools

    @classmethod
    def of(cls, search: DecisionSearch, decide: Decide, rows: Floats) -> _Known:
        return cls(values=search.tree_values(rows), yes=decide(rows))

    def joined(self, other: _Known) -> _Known:
        return _Known(values=np.concatenate([self.values, other.values]), yes=np.concatenate([self.yes, other.yes]))


def count_nodes(forest: Forest) -> int:
    """Count the split nodes of a forest."""
    return sum(len(tree.feature) for tree in forest.trees)


def without_idle_trees(forest: Forest) -> Forest:
    """Return a forest without the trees whose leaves are all 0; one remains."""
    trees = tuple(tree for tree in forest.trees if tree.leaf.any())
    return replace(forest, trees=trees or forest.trees[:1])


def _decide_by_kernels(forest: Forest, threshold: float) -> Decide:
    kernels = load_engine("trees")(compile_forest(forest), {})

    def decide(rows: Floats) -> Bools:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(kernels.predict(rows)[:, 0] >= threshold)

    return decide


def _least_weights(values: Floats, directions: Floats, cost: Floats, until: float) -> tuple[Floats, float]:
    """Return weights >= 0 of the least cost, and a start, with which each sum has its sign and a margin of 1."""
    columns = np.column_stack([values, np.ones(len(values))])
    found = linprog(
        np.append(cost, 0.0),
        A_ub=-directions[:, None] * columns,
        b_ub=-np.ones(len(values)),
        bounds=[*((0, None) for _ in cost), (None, None)],
        method="highs",
        options={"time_limit": max(until - time.monotonic(), 0.1)},
    )
    if found.x is None:
        raise NotApplicable(f"no weights of its trees were found that decide alike: {found.message}")
    return np.maximum(found.x[:-1], 0.0), float(found.x[-1])
