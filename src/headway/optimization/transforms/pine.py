"""Collapse subtrees of an ensemble and refit its leaves; few rows like those known are decided differently (PINE).

After Yajima and Matsui, "PINE: Pruning Boosted Tree Ensembles with Conformal In-Distribution Prediction Equivalence",
2026: decisions stay where the data are, not everywhere as with `fipe`. Forests with ever fewer nodes are found on the
earlier groups of `validation`. On the later ones an exact test certifies, by whole groups, that at most
`[optimize] max_changed` of the decisions change.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import NotApplicable
from headway.core.selective import SelectiveCertificate
from headway.core.variant import Variant
from headway.engines.formats.trees import Forest, Tree, goes_left, leaves_of, limit_of_sum, read_cells
from headway.optimization.context import TransformContext
from headway.optimization.transforms._weights import (
    MAX_SHARE,
    DecidingTrees,
    count_nodes,
    largest_scale,
    reweighted_variant,
)

STAGE = "restructure"
COST = {"rows": 30_000, "opens": 2, "seconds": 5}
REQUIRES = ("certify",)

LIMIT_S = 10.0
"""Seconds in which forests must be found."""
MAX_NODES = 4_000
MAX_REFITTED = 800
"""Nodes with which the leaves are refitted; of more, those that contribute least are collapsed before."""
_MIXED_ROWS, _SWAPPED = 8_000, 0.2  # rows that resemble the known ones; so many columns of them come from another row
_STEP = 0.95  # share of the nodes of a forest that the next one to be tested has, at most
_RIDGE = 1e-6
_MAX_OF_RARER = 0.5  # of the rows with the rarer decision may change it


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the baseline with subtrees collapsed and leaves refitted, certified to change few decisions.

    Forests of ever fewer nodes are tested one after the other, until one is not certified. The last that is becomes the
    variant.

    Raises
    ------
    NotApplicable
        If it is not a binary tree model, nothing is certified, or few nodes can go.
    """
    model = DecidingTrees.of(variant, context)
    if (nodes := count_nodes(model.forest)) > MAX_NODES:
        raise NotApplicable(f"it has {nodes:,} nodes; subtrees are collapsed in up to {MAX_NODES:,}")
    data = context.validation
    if data is None or context.certify is None or data.groups.max(initial=0) < 1:
        raise NotApplicable("it requires groups of validation rows, to certify changed decisions on")
    is_late = data.groups >= (data.groups.max() + 1) // 2
    rows, groups = data.rows[is_late], data.groups[is_late]
    n_groups = len(np.unique(data.groups))
    best_case = _certificate(np.zeros(len(rows)), groups, context)
    if not best_case.is_certified:
        raise _not_certified(best_case, n_groups, "would not be certified even if none changed")
    found: tuple[Forest, SelectiveCertificate] | None = None
    before, until = model.decide(rows), time.monotonic() + LIMIT_S
    for forest in _forests(model, model.accepted(data.rows[~is_late]), until=until):
        changed = (model.decided_by(forest)(rows) != before).astype(np.float64)
        certificate = _certificate(changed, groups, context)
        if not certificate.is_certified:
            if found is None:
                raise _not_certified(certificate, n_groups, f"is not certified: {changed.mean():.2%} of them change")
            break
        found = forest, certificate
    if found is None:
        raise NotApplicable(
            "no forest with fewer nodes was found in time that decides known rows alike", hint="a smaller ensemble"
        )
    forest, certificate = found
    changed_at_most = round(certificate.risk.high, 5)
    return [
        reweighted_variant(variant, forest, context, "pine", alpha=context.max_changed, changed_at_most=changed_at_most)
    ]


def _certificate(changed: Floats, groups: Ints, context: TransformContext) -> SelectiveCertificate:
    """Test on the later groups whether few decisions change."""
    assert context.certify is not None
    all_rows = np.ones(len(changed))
    return context.certify(all_rows, changed, all_rows[:1], context.max_changed, groups)


def _not_certified(found: SelectiveCertificate, n_groups: int, why: str) -> NotApplicable:
    """Return why nothing is certified, and how many groups would certify it: half of them certify."""
    needed = "more would not help"
    if found.groups_needed:
        needed = f"about {max(2 * found.groups_needed, n_groups + 1):,} groups like these {n_groups:,} would do"
    return NotApplicable(
        f"on the later half of the groups, that at most {found.limit:.1%} of the decisions change {why}: {needed}",
        hint="[optimize] max_changed allows more changes",
    )


def _forests(model: DecidingTrees, sample: Floats, *, until: float) -> Iterator[Forest]:
    """Yield forests with ever fewer nodes, whose sums are near to those of the model on rows like the sample.

    They end before one that changes half of the known rows with the rarer decision: a forest that decides all rows
    alike may change few of them, and is of no use.
    """
    random = np.random.default_rng(0)
    own, others = (sample[random.integers(len(sample), size=_MIXED_ROWS)] for _ in range(2))
    rows = np.concatenate([sample, np.where(random.random(own.shape) < _SWAPPED, others, own)])
    sums = _sums(model, rows)
    if not np.isfinite(sums).all():
        raise NotApplicable("its sums are not finite, and no leaves can be fitted to them")
    weights = np.repeat([1 / len(sample), 1 / len(own)], [len(sample), len(own)])
    weights /= 1 + sums**2 / max(float(np.mean(sums**2)), 1e-300)  # rows near the limit count most
    nodes, parents, turns = _largest_nodes(model.forest, rows, weights)
    before = sums[: len(sample)] >= 0
    is_rarer = before == (before.mean() <= 0.5)
    max_nodes = MAX_SHARE * count_nodes(model.forest)
    for remains, coefficients in _eliminated(turns, sums, weights, parents):
        if time.monotonic() > until:
            return
        if remains.sum() > max_nodes:
            continue
        max_nodes = _STEP * remains.sum()
        after = turns[: len(sample)] @ coefficients[:-1] + coefficients[-1] >= 0
        if (after != before)[is_rarer].sum() > _MAX_OF_RARER * is_rarer.sum():
            return
        yield _collapsed(model, nodes[remains], coefficients[:-1][remains], float(coefficients[-1]))


def _sums(model: DecidingTrees, rows: Floats) -> Floats:
    """Return how far the sum of each row is above the limit."""
    forest, cells = model.forest, read_cells(model.forest, rows)
    found = np.full(len(rows), float(forest.base[0]) - limit_of_sum(forest, model.threshold))
    for tree in forest.trees:
        found += tree.leaf[leaves_of(forest, tree, cells), 0]
    return found


def _largest_nodes(forest: Forest, rows: Floats, weights: Floats) -> tuple[Ints, Ints, Floats]:
    """Return the nodes (k,) that contribute most, the index of the parent of each or -1, and who turns left (n, k).

    A node contributes the squared error of one leaf in place of all below it, and at least as much as a node below it.
    Nodes are numbered through all trees, and a parent comes before its children.
    """
    cells = read_cells(forest, rows)
    parts = [_turns(forest, tree, cells, weights) for tree in forest.trees]
    parents, turns, gains = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
    first = np.cumsum([0, *(len(tree.feature) for tree in forest.trees)])[:-1]
    parents += np.where(parents < 0, 0, np.repeat(first, [len(tree.feature) for tree in forest.trees]))
    for node in np.flatnonzero(parents >= 0)[::-1]:
        gains[parents[node]] = max(gains[parents[node]], gains[node])
    nodes = np.sort(np.argsort(-gains, kind="stable")[:MAX_REFITTED])
    above = np.where(parents[nodes] < 0, -1, np.searchsorted(nodes, parents[nodes]))
    return nodes, above, turns[:, nodes].astype(np.float64)


def _turns(forest: Forest, tree: Tree, cells: Floats, weights: Floats) -> tuple[Ints, Bools, Floats]:
    """Return the parent of each node of a tree or -1, which rows turn left there, and what the node contributes."""
    size = len(tree.feature)
    parents = np.full(size, -1)
    turns, comes = np.zeros((2, len(cells), size), dtype=np.bool_)
    comes[:, :1] = True
    for node, column in enumerate(tree.feature.tolist()):
        is_left = goes_left(forest, tree, np.full(len(cells), node), cells[:, column])
        turns[:, node] = comes[:, node] & is_left
        for child, comes_there in ((int(tree.left[node]), is_left), (int(tree.right[node]), ~is_left)):
            if child >= 0:
                comes[:, child], parents[child] = comes[:, node] & comes_there, node
    weighted = np.column_stack([weights, weights * tree.leaf[leaves_of(forest, tree, cells), 0]]).T
    (weight_left, sum_left), (weight_right, sum_right) = weighted @ turns, weighted @ (comes & ~turns)
    apart = sum_left / np.maximum(weight_left, 1e-300) - sum_right / np.maximum(weight_right, 1e-300)
    return parents, turns, apart**2 * weight_left * weight_right / np.maximum(weight_left + weight_right, 1e-300)


def _eliminated(turns: Floats, sums: Floats, weights: Floats, parents: Ints) -> Iterator[tuple[Bools, Floats]]:
    """Yield which nodes (k,) remain, from all to one, and coefficients (k + 1,) with the sums nearest to those of rows.

    A coefficient for each node at which a row turns left, and a constant, are fitted by weighted least squares. To take
    a coefficient away that has none below it is to make one leaf of two. The next is the one without which the error
    grows least (optimal brain surgeon; Hassibi and Stork 1993).
    """
    values = np.column_stack([turns, np.ones(len(turns))])
    weighted = values.T * (weights / weights.sum())
    inverse = np.linalg.inv(weighted @ values + _RIDGE * np.eye(len(weighted)))
    coefficients = inverse @ (weighted @ sums)
    remains = np.ones(len(parents), dtype=np.bool_)
    below = np.bincount(parents[parents >= 0], minlength=len(parents))
    while True:
        yield remains.copy(), coefficients.copy()
        ends = np.flatnonzero(remains & (below == 0))
        if remains.sum() <= 1:
            return
        node = ends[np.argmin(coefficients[ends] ** 2 / inverse.diagonal()[ends])]
        column = inverse[:, node] / inverse[node, node]
        coefficients -= column * coefficients[node]
        inverse -= np.outer(column, inverse[node])
        remains[node], coefficients[node] = False, 0.0
        if parents[node] >= 0:
            below[parents[node]] -= 1


def _collapsed(model: DecidingTrees, nodes: Ints, coefficients: Floats, start: float) -> Forest:
    """Return the forest of these nodes, whose rows add a coefficient where they turn left, and a start."""
    forest, trees, first = model.forest, [], 0
    for tree in forest.trees:
        size = len(tree.feature)
        some = slice(*np.searchsorted(nodes, [first, first + size]))
        if some.start < some.stop:
            trees.append(_tree_of(tree, nodes[some] - first, coefficients[some]))
        first += size
    limit = limit_of_sum(forest, model.threshold)
    if forest.link == "identity":  # scores remain probabilities
        low, high = (start + sum(float(end(tree.leaf)) for tree in trees) for end in (np.min, np.max))
        scale = min(1.0, largest_scale(limit, low, high))
        start, trees = start * scale, [replace(tree, leaf=tree.leaf * scale) for tree in trees]
    kind = np.dtype(forest.sum_dtype)
    trees = [replace(tree, leaf=tree.leaf.astype(kind).astype(np.float64)) for tree in trees]
    return replace(forest, base=np.array([start + limit]).astype(kind).astype(np.float64), trees=tuple(trees))


def _tree_of(tree: Tree, nodes: Ints, coefficients: Floats) -> Tree:
    """Return a tree with only these of its nodes, and a leaf in place of each other child."""
    index = {int(node): at for at, node in enumerate(nodes)}
    added = dict.fromkeys(index.values(), 0.0)  # at the nodes above
    leaves: list[float] = []
    children: list[list[int]] = [[], []]
    for at, node in enumerate(nodes.tolist()):
        for found, child, more in zip(
            children, (tree.left[node], tree.right[node]), (coefficients[at], 0.0), strict=True
        ):
            if int(child) in index:
                found.append(index[int(child)])
                added[found[-1]] = added[at] + more
            else:
                found.append(~len(leaves))
                leaves.append(added[at] + more)
    return replace(
        tree,
        feature=tree.feature[nodes],
        threshold=tree.threshold[nodes],
        categorical=tree.categorical[nodes],
        missing_left=tree.missing_left[nodes],
        left=np.array(children[0]),
        right=np.array(children[1]),
        leaf=np.array(leaves)[:, None],
    )
