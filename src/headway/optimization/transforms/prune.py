"""Smaller trees: subtrees that say little on the rows at hand become one leaf."""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.contracts import Workbench
from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Step, Variant
from headway.engines.compiled.forest import compile_forest
from headway.engines.formats.trees import Forest, TreeEngine, accepted_rows
from headway.optimization.trees.pruning import prune_forest

SHARES = (0.5, 0.25)
_ROWS = 5_000


def plugin(variant: Variant, bench: Workbench) -> Sequence[Variant]:
    """The model as it came with about a half, and a quarter, of its nodes, opened by engine `trees`.

    Raises NotApplicable for other models, where there is no row to prune by, and where hardly a node is left to cut.
    """
    engine = load_engine(variant.engine)
    if not isinstance(engine, TreeEngine):
        raise NotApplicable(f"prunes trees, and engine {variant.engine!r} does not say what its trees are")
    if variant.steps:
        raise NotApplicable("prunes the model as it came alone")
    load_engine("trees")
    forest = engine.forest(bench.read(variant))
    rows = bench.sample[:: len(bench.sample) // _ROWS + 1]
    rows = rows[accepted_rows(forest, rows)]
    if not len(rows) or _nodes(forest) < len(forest.trees):
        raise NotApplicable(f"{len(rows)} rows and {_nodes(forest)} nodes: nothing to prune by, or to prune")
    return [
        _as_variant(variant, share, smaller, bench)
        for share, smaller in zip(SHARES, prune_forest(forest, rows, SHARES), strict=True)
    ]


def _nodes(forest: Forest) -> int:
    return sum(len(tree.feature) for tree in forest.trees)


def _as_variant(variant: Variant, share: float, forest: Forest, bench: Workbench) -> Variant:
    step = Step(transform="prune", settings={"nodes": share})
    artifact = bench.keep(compile_forest(forest), "forest")
    return variant.remade(step, artifact, engine="trees")
