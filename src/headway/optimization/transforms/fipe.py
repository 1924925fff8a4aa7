"""Leave out trees of a small ensemble and reweight the others, proved to decide every row as before (FIPE).

Functionally identical pruning (Emine, Forel, Malek and Vidal, "Free Lunch in the Forest", 2024): a linear program finds
few weights that decide the known rows as before, an exact search looks for a row that they decide differently, and this
row is added, until there is none. Decisions stay at the threshold of the project; scores change.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from headway.core.arrays import Floats
from headway.core.errors import EngineError, NotApplicable
from headway.core.variant import Variant
from headway.engines.formats.trees import Forest
from headway.optimization.context import TransformContext
from headway.optimization.equal_decisions import DecisionSearch
from headway.optimization.parity import clip_to_known_ranks, parity_rows
from headway.optimization.transforms._weights import (
    MAX_SHARE,
    DecidingTrees,
    TreeWeights,
    count_nodes,
    few_can_go,
    margins,
    merged,
    reweighted_variant,
)

STAGE = "restructure"
KEEPS_DECISIONS = True
PROVES_DECISIONS = True
COST = {"rows": 30_000, "opens": 2, "seconds": 5}

LIMIT_S = 5.0
"""Seconds in which the proof must end."""
_DRAWN_ROWS, _RANDOM_ROWS, _NEAREST_ROWS = 20_000, 1_500, 3_000  # of each kind that are known from the beginning
_ROUNDS = 4  # of weights that favor the trees with the largest weights before


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the baseline with fewer trees, which have new weights; it decides every row as the baseline does.

    Raises
    ------
    NotApplicable
        If it is not a small tree model of classes, equal decisions could not be proved in time, or few nodes can go.
    EngineError
        If the kernels decide a known row differently.
    """
    model = DecidingTrees.of(variant, context, tasks=("binary", "multiclass"))
    search = DecisionSearch(model.forest, model.threshold, lambda rows: clip_to_known_ranks(rows, variant.signature))
    found = proved_forest(model, search, model.accepted(context.sample), until=time.monotonic() + LIMIT_S)
    rows = clip_to_known_ranks(parity_rows(model.forest, context.sample), variant.signature)
    if differ := int(model.differs_from(found)(rows).sum()):
        raise EngineError(
            f"with fewer trees, {differ:,} of {len(rows):,} rows are decided differently",
            hint="[optimize] transforms, without this one",
        )
    return [reweighted_variant(variant, found, context, "fipe")]


def proved_forest(model: DecidingTrees, search: DecisionSearch, sample: Floats, *, until: float) -> Forest:
    """Return the forest with the fewest nodes that was proved to decide every row as a model does.

    Parameters
    ----------
    model : DecidingTrees
        The model.
    search : DecisionSearch
        Search over its forest.
    sample : ndarray of shape (n, d)
        Representative rows, which the model accepts.
    until : float
        Time of `time.monotonic` at which to end.

    Raises
    ------
    NotApplicable
        If none was proved in time, or few nodes can go.
    """
    random = np.random.default_rng(0)
    drawn = search.random_rows(_DRAWN_ROWS, random)
    known = sample[random.integers(len(sample), size=len(drawn))]
    kinds = [np.where(random.random(drawn.shape) < share, known, drawn) for share in (0.0, 0.4, 0.8)]
    nearest = [rows[np.argsort(margins(model, rows), kind="stable")[:_NEAREST_ROWS]] for rows in kinds]
    weights = TreeWeights(model, sample, np.concatenate([*(rows[:_RANDOM_ROWS] for rows in kinds), *nearest]))
    best: Forest | None = None
    cost = weights.nodes
    for _ in range(_ROUNDS):
        try:
            found = _proved_once(model, search, weights, cost, best, until)
        except NotApplicable:  # such as an end of the time within the linear program
            if best is None:
                raise
            break
        if found is None:
            break
        best = found[1]
        if not found[0].any():
            break
        cost = weights.favored(found[0])
    if best is None:
        raise NotApplicable("equal decisions could not be certified in time", hint="a smaller ensemble")
    return best


def _proved_once(
    model: DecidingTrees, search: DecisionSearch, weights: TreeWeights, cost: Floats, best: Forest | None, until: float
) -> tuple[Floats, Forest] | None:
    """Return weights of this cost with a proof; None without one in time, or with no fewer nodes than the best."""
    total = count_nodes(model.forest)
    while time.monotonic() < until:
        found, forest = weights.fit(cost, until)
        smaller = merged(forest)
        if best is not None and count_nodes(smaller) >= count_nodes(best):
            return None
        if (share := count_nodes(smaller) / total) > MAX_SHARE:
            raise few_can_go(share)
        result = search.differences(forest, model.differs_from(smaller), until=until)
        if not len(result.rows):
            return (found, smaller) if result.is_complete else None
        weights.add(result.rows)
    return None
