"""Leave out trees of an ensemble and reweight the others; few rows like those known are decided differently (PINE).

After Yajima and Matsui, "PINE: Pruning Boosted Tree Ensembles with Conformal In-Distribution Prediction Equivalence",
2026: decisions stay where the data are, not everywhere as with `fipe`. Weights are found on the earlier groups of
`validation`. On the later ones an exact test certifies, by whole groups, that at most `[optimize] max_changed` of the
decisions change.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from headway.core.arrays import Floats
from headway.core.contracts import LabeledData
from headway.core.errors import NotApplicable
from headway.core.selective import SelectiveCertificate
from headway.core.variant import Variant
from headway.engines.formats.trees import Forest
from headway.optimization.context import TransformContext
from headway.optimization.transforms._weights import (
    MAX_SHARE,
    DecidingTrees,
    TreeWeights,
    count_nodes,
    few_can_go,
    reweighted_variant,
    without_idle_trees,
)

STAGE = "restructure"
COST = {"rows": 30_000, "opens": 2, "seconds": 5}
REQUIRES = ("certify",)

LIMIT_S = 5.0
"""Seconds in which weights must be found."""
MAX_NODES = 4_000
MIXED_ROWS = (8_000, 2_000, 500, 0)
"""Rows that resemble the known ones and must be decided alike as well, from the most cautious weights on."""
_SWAPPED = 0.2  # of the columns of such a row come from another row
_ROUNDS = 3  # of weights that favor the trees with the largest weights before


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the baseline with fewer trees, which have new weights, certified to change few decisions.

    Weights that decide ever fewer rows alike are tested one after the other, until one is not certified. The last that
    is becomes the variant.

    Raises
    ------
    NotApplicable
        If it is not a binary tree model, nothing is certified, or few nodes can go.
    """
    model = DecidingTrees.of(variant, context)
    if (nodes := count_nodes(model.forest)) > MAX_NODES:
        raise NotApplicable(f"it has {nodes:,} nodes; weights are found for up to {MAX_NODES:,}")
    data = context.validation
    if data is None or context.certify is None or data.groups.max(initial=0) < 1:
        raise NotApplicable("it requires groups of validation rows, to certify changed decisions on")
    early = data.groups < (data.groups.max() + 1) // 2
    found: tuple[Forest, SelectiveCertificate] | None = None
    for forest in _forests(model, model.accepted(data.rows[early]), until=time.monotonic() + LIMIT_S):
        if found is not None and count_nodes(forest) >= count_nodes(found[0]):
            continue
        certificate = _certificate(model, forest, data, context)
        if not certificate.is_certified:
            if found is None:
                raise _not_certified(certificate, len(np.unique(data.groups)))
            break
        found = forest, certificate
    if found is None:
        raise NotApplicable("no weights of its trees were found in time", hint="a smaller ensemble")
    forest, certificate = found
    share = count_nodes(forest) / count_nodes(model.forest)
    if share > MAX_SHARE:
        raise few_can_go(share)
    changed = round(certificate.risk.high, 5)
    return [reweighted_variant(variant, forest, context, "pine", alpha=context.max_changed, changed_at_most=changed)]


def _forests(model: DecidingTrees, sample: Floats, *, until: float) -> Iterator[Forest]:
    """Yield forests that decide the sample, and ever fewer rows that resemble it, as the model does."""
    random = np.random.default_rng(0)
    shape = MIXED_ROWS[0], sample.shape[1]
    own, others = (sample[random.integers(len(sample), size=shape[0])] for _ in range(2))
    mixed = np.where(random.random(shape) < _SWAPPED, others, own)
    for count in MIXED_ROWS:
        forest = _fewest_nodes(TreeWeights(model, sample, mixed[:count]), until)
        if forest is None:
            return
        yield forest


def _fewest_nodes(weights: TreeWeights, until: float) -> Forest | None:
    """Return the forest with the fewest nodes that decides the known rows alike; None if none is found in time."""
    cost, best = weights.nodes, None
    for _ in range(_ROUNDS):
        if time.monotonic() > until:
            break
        try:
            found, forest = weights.fit(cost, until)
        except NotApplicable:
            break
        smaller = without_idle_trees(forest)
        if best is None or count_nodes(smaller) < count_nodes(best):
            best = smaller
        if not found.any():
            break
        cost = weights.favored(found)
    return best


def _certificate(
    model: DecidingTrees, forest: Forest, data: LabeledData, context: TransformContext
) -> SelectiveCertificate:
    """Test on the later groups whether few decisions change."""
    assert context.certify is not None
    late = data.groups >= (data.groups.max() + 1) // 2
    changed = model.differs_from(forest)(data.rows[late]).astype(np.float64)
    all_rows = np.ones(len(changed))
    return context.certify(all_rows, changed, all_rows[:1], context.max_changed, data.groups[late])


def _not_certified(found: SelectiveCertificate, n_groups: int) -> NotApplicable:
    needed = f"about {found.groups_needed:,} groups would certify it" if found.groups_needed else "more would not help"
    return NotApplicable(
        f"{found.risk.value:.2%} of the decisions of the later half of {n_groups:,} groups change, and at most "
        f"{found.limit:.1%} is not certified: {needed}",
        hint="[optimize] max_changed allows more changes",
    )
