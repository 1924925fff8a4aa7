"""Prune trees: replace the subtrees that matter least on the sample by leaves."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Step, Variant
from headway.engines.compiled.forest import compile_forest
from headway.engines.formats.trees import Forest, Tree, TreeEngine, accepted_rows, leaves_of, read_cells
from headway.optimization.context import TransformContext

STAGE = "restructure"
COST = {"rows": 20_000, "opens": 2, "seconds": 1}

SHARES = (0.5, 0.25)
_ROWS = 5_000


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the baseline with about a half, and a quarter, of its nodes, for engine `trees`.

    Raises
    ------
    NotApplicable
        If it is not a tree model, the sample is empty, or there are fewer nodes than trees.
    """
    engine = load_engine(variant.engine)
    if not isinstance(engine, TreeEngine):
        raise NotApplicable(f"prunes trees, and engine {variant.engine!r} does not expose trees")
    if variant.steps:
        raise NotApplicable("applies to the baseline only")
    load_engine("trees")
    forest = engine.forest(context.read(variant))
    rows = context.sample[:: len(context.sample) // _ROWS + 1]
    rows = rows[accepted_rows(forest, rows)]
    if not len(rows) or _nodes(forest) < len(forest.trees):
        raise NotApplicable(f"pruning requires rows and split nodes: {len(rows)} rows, {_nodes(forest)} nodes")
    return [
        _as_variant(variant, share, smaller, context)
        for share, smaller in zip(SHARES, prune_forest(forest, rows, SHARES), strict=True)
    ]


def _nodes(forest: Forest) -> int:
    return sum(len(tree.feature) for tree in forest.trees)


def _as_variant(variant: Variant, share: float, forest: Forest, context: TransformContext) -> Variant:
    step = Step(transform="prune", settings={"nodes": share})
    artifact = context.save(compile_forest(forest), "forest")
    return variant.remade(step, artifact, engine="trees")


_ROUNDING = 1e-12
_UNSEEN = 1e-3  # weight of a leaf that no row of the sample reaches


def prune_forest(forest: Forest, rows: Floats, shares: tuple[float, ...]) -> list[Forest]:
    """Prune a forest to about these shares of its nodes.

    A subtree becomes one leaf, the mean of its leaves weighted by the rows in them, where that changes the squared
    answers of these rows least. One limit holds for all trees, as in cost-complexity pruning (Breiman et al. 1984).

    Parameters
    ----------
    forest
        Forest to prune.
    rows : ndarray of shape (n, d)
        Representative rows.
    shares
        Shares of nodes to keep, in (0, 1).
    """
    cells = read_cells(forest, rows)
    costs = [_costs(tree, _reached(forest, tree, cells)) for tree in forest.trees]
    all_costs = np.concatenate([np.zeros(0), *costs])
    return [_cut(forest, cells, costs, float(np.quantile(all_costs, 1 - share))) for share in shares]


def _cut(forest: Forest, cells: Floats, costs: list[Floats], limit: float) -> Forest:
    trees = (
        _replace_subtrees(tree, _reached(forest, tree, cells), cost <= limit)
        for tree, cost in zip(forest.trees, costs, strict=True)
    )
    return dataclasses.replace(forest, trees=tuple(trees))


def _reached(forest: Forest, tree: Tree, cells: Floats) -> Floats:
    """Count the rows that end in each leaf."""
    leaves = leaves_of(forest, tree, cells)
    return np.maximum(np.bincount(leaves, minlength=len(tree.leaf)), _UNSEEN)


def _sums(tree: Tree, of_leaves: Floats) -> Floats:
    """Sum over the leaves below each node, (m, ...), from the deepest nodes up: a node comes after its parent."""
    found = np.zeros((len(tree.feature), *of_leaves.shape[1:]))
    for level in reversed(_levels(tree)):
        for ends in (tree.left[level], tree.right[level]):
            leaf = ends < 0
            found[level[leaf]] += of_leaves[~ends[leaf]]
            found[level[~leaf]] += found[ends[~leaf]]
    return found


def _levels(tree: Tree) -> list[Ints]:
    """Group the nodes of a tree by their distance from the root."""
    levels = [np.zeros(1, np.int64)] if len(tree.feature) else []
    while levels and levels[-1].size:
        ends = np.concatenate([tree.left[levels[-1]], tree.right[levels[-1]]])
        levels.append(ends[ends >= 0])
    return levels[:-1]


def _costs(tree: Tree, counts: Floats) -> Floats:
    """Return how much the squared answers change if a node becomes a leaf; never less than for a node below it."""
    of_leaves = np.column_stack([counts[:, None] * tree.leaf, counts[:, None] * tree.leaf**2, counts])
    sums, outputs = _sums(tree, of_leaves), tree.leaf.shape[1]
    mean = sums[:, :outputs] / sums[:, -1:]
    cost = (sums[:, outputs:-1] - sums[:, -1:] * mean**2).sum(axis=1)
    cost = np.where(cost > _ROUNDING * sums[:, outputs:-1].sum(axis=1), cost, 0.0)
    for level in reversed(_levels(tree)):
        for ends in (tree.left[level], tree.right[level]):
            inner = ends >= 0
            cost[level[inner]] = np.maximum(cost[level[inner]], cost[ends[inner]])
    return cost


def _replace_subtrees(tree: Tree, counts: Floats, leaf_now: Bools) -> Tree:
    """Return the tree with these nodes as leaves, and the nodes below them removed."""
    if not len(tree.feature):
        return tree
    sums = _sums(tree, np.column_stack([counts[:, None] * tree.leaf, counts]))
    mean = sums[:, :-1] / sums[:, -1:]
    if leaf_now[0]:
        none = np.zeros(0, np.int64)
        return dataclasses.replace(
            tree,
            feature=none,
            threshold=np.zeros(0),
            categorical=np.zeros(0, bool),
            missing_left=np.zeros(0, bool),
            left=none,
            right=none,
            leaf=mean[:1],
            sets=(),
        )
    inner = np.flatnonzero(~leaf_now)  # the parent of a remaining node remains, as costs rise towards the root
    children = np.stack([tree.left[inner], tree.right[inner]], axis=1)
    ends = np.where(children >= 0, leaf_now[np.maximum(children, 0)], True)
    value = np.where((children >= 0)[..., None], mean[np.maximum(children, 0)], tree.leaf[~np.minimum(children, -1)])
    new_index = np.cumsum(~leaf_now) - 1
    number = np.where(ends, ~(np.cumsum(ends.ravel()).reshape(ends.shape) - 1), new_index[np.maximum(children, 0)])
    categorical = tree.categorical[inner]
    sets = tuple(tree.sets[int(at)] for at in tree.threshold[inner][categorical])
    return dataclasses.replace(
        tree,
        feature=tree.feature[inner],
        threshold=np.where(categorical, np.cumsum(categorical) - 1, tree.threshold[inner]),
        categorical=categorical,
        missing_left=tree.missing_left[inner],
        left=number[:, 0],
        right=number[:, 1],
        leaf=value[ends],
        sets=sets,
    )
