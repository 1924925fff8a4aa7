"""Write a tree model as an ONNX graph for ONNX Runtime, in exactly the numbers that its library compares and adds.

The graph is written here, not by a converter: converters store thresholds as float32, which moves answers (by 0.04 on
epoch seconds), and guess where missing values go.
"""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Step, Variant
from headway.engines.formats.trees import TreeEngine
from headway.optimization.context import TransformContext
from headway.optimization.forest_onnx import columns_to_truncate, forest_to_onnx
from headway.optimization.parity import check_parity, clip_to_known_ranks, parity_rows, predict_both

STAGE = "export"
KEEPS_ANSWERS = True
COST = {"rows": 40_000, "opens": 2, "seconds": 1}


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the variant as a graph for `onnxruntime`, if no answer moves by more than 1e-6 on rows at its edges.

    Raises
    ------
    NotApplicable
        If the operator cannot express the model.
    EngineError
        If the graph does not open or an answer moves.
    """
    engine = load_engine(variant.engine)
    if not isinstance(engine, TreeEngine):
        raise NotApplicable(f"writes trees as ONNX, and engine {variant.engine!r} does not expose trees")
    if variant.signature.texts:
        raise NotApplicable("it reads texts, which transform `text` compiles")
    content = context.read(variant)
    forest = engine.forest(content)
    truncated = columns_to_truncate(forest, variant.signature)
    graph = forest_to_onnx(forest, truncated=truncated)
    uncut = [column for column in forest.categorical if column not in truncated]
    rows = clip_to_known_ranks(parity_rows(forest, context.sample, integers=uncut), variant.signature)
    answers = predict_both(context.open(variant), load_engine("onnxruntime")(graph, {}), rows)
    check_parity(rows, *answers, variant, form="an ONNX graph")
    return [variant.remade(Step(transform="onnx"), context.save(graph, "onnx"), engine="onnxruntime")]
