"""Compile a tree model for headway's own kernels, exact in the numbers that its library compares and adds."""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Step, Variant
from headway.engines.compiled.forest import compile_forest
from headway.engines.formats.trees import TreeEngine
from headway.optimization.context import TransformContext
from headway.optimization.parity import check_parity, clip_to_known_ranks, parity_rows, predict_both

STAGE = "restructure"
KEEPS_ANSWERS = True
COST = {"rows": 40_000, "opens": 2}


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the variant for engine `trees`, if no answer moves by more than 1e-6 on rows at its edges.

    Raises
    ------
    NotApplicable
        If its engine does not expose trees.
    EngineError
        If an answer moves.
    PluginError
        If the kernels were not built.
    """
    engine = load_engine(variant.engine)
    if not isinstance(engine, TreeEngine):
        raise NotApplicable(f"compiles tree models, and engine {variant.engine!r} does not expose trees")
    kernels = load_engine("trees")
    content = context.read(variant)
    forest = engine.forest(content)
    form = compile_forest(forest)
    rows = clip_to_known_ranks(parity_rows(forest, context.sample), variant.signature)
    check_parity(rows, *predict_both(context.open(variant), kernels(form, {}), rows), variant, form="a compiled forest")
    return [variant.remade(Step(transform="trees"), context.save(form, "forest"), engine="trees")]
