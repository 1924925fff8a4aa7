"""A model of trees as an ONNX graph for ONNX Runtime, in the very numbers its library compares and adds.

The graph is written here and not by a converter: those store thresholds as float32, which moves answers (by 0.04 on
epoch seconds), and guess where missing values go.
"""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Step, Variant
from headway.engines.formats.trees import TreeEngine
from headway.optimization.context import TransformContext
from headway.optimization.edge_cases import clip_to_known_ranks
from headway.optimization.forest_onnx import columns_to_cut, forest_to_onnx
from headway.optimization.parity import check_parity, parity_rows, predict_both

STAGE = "export"
KEEPS_ANSWERS = True


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """The variant as a graph opened by `onnxruntime`, if no answer moves by more than 1e-6 on rows at its edges.

    Raises NotApplicable for what the operator cannot say, EngineError where the graph does not open or an answer moves.
    """
    engine = load_engine(variant.engine)
    if not isinstance(engine, TreeEngine):
        raise NotApplicable(f"writes trees as ONNX, and engine {variant.engine!r} does not say what its trees are")
    content = context.read(variant)
    forest = engine.forest(content)
    whole = columns_to_cut(forest, variant.signature)
    graph = forest_to_onnx(forest, cut=whole)
    uncut = [column for column in forest.categorical if column not in whole]
    rows = clip_to_known_ranks(parity_rows(forest, context.sample, whole=uncut), variant.signature)
    answers = predict_both(engine(content, {}), load_engine("onnxruntime")(graph, {}), rows)
    check_parity(rows, *answers, variant, form="an ONNX graph")
    return [variant.remade(Step(transform="onnx"), context.save(graph, "onnx"), engine="onnxruntime")]
