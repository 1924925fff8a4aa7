"""Fold the small nodes that prepare a network's columns into few, with every answer unchanged."""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Step, Variant
from headway.optimization.context import TransformContext
from headway.optimization.edge_cases import add_edge_cases
from headway.optimization.graph_rewriting import fold_graph
from headway.optimization.parity import check_parity, predict_both
from headway.optimization.quantization.networks import calibration_rows, load_network

STAGE = "export"
KEEPS_ANSWERS = True


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the variant with the folded graph, if no answer moves by more than 1e-6 on the sample and on edge cases.

    Raises
    ------
    NotApplicable
        If it is not the ONNX graph of a network, or nothing in it can be folded.
    EngineError
        If an answer moves.
    """
    if variant.artifact.format != "onnx":
        raise NotApplicable(f"folds ONNX graphs, and this is of format {variant.artifact.format!r}")
    content = context.read(variant)
    net = load_network(content)
    graph, rules = fold_graph(content)
    if not rules:
        raise NotApplicable("nothing in the graph can be folded")
    engine = load_engine("onnxruntime")
    rows = add_edge_cases(calibration_rows(context.sample, net.work))
    check_parity(rows, *predict_both(engine(content, {}), engine(graph, {}), rows), variant, form="a folded graph")
    return [variant.remade(Step(transform="fold"), context.save(graph, "onnx"), engine="onnxruntime")]
