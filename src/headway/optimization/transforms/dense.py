"""Compile a small network for headway's own kernels: lower its ONNX graph to one program in float32."""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Step, Variant
from headway.optimization.context import TransformContext
from headway.optimization.lowering.lower import lower_graph
from headway.optimization.parity import add_edge_cases, check_parity, predict_or_nan
from headway.optimization.quantization.networks import calibration_rows, load_network

STAGE = "lower"
KEEPS_ANSWERS = True
COST = {"rows": 2_000, "seconds": 1}


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the variant for engine `dense`, if no answer moves by more than 1e-6 on the sample and on edge cases.

    Both forms refuse a row with a rank that an embedding table lacks.

    Raises
    ------
    NotApplicable
        If it is not the ONNX graph of a network, or has a node that cannot be lowered.
    EngineError
        If an answer moves.
    PluginError
        If the kernels were not built.
    """
    if variant.artifact.format != "onnx":
        raise NotApplicable(f"compiles ONNX graphs, and this is of format {variant.artifact.format!r}")
    content = context.read(variant)
    net = load_network(content)
    program = lower_graph(net.graph.SerializeToString())
    rows = add_edge_cases(calibration_rows(context.sample, net.work))
    found = load_engine("dense")(program, {})
    outputs = found.predict(rows[:0]).shape[1]
    expected = load_engine("onnxruntime")(content, {})
    answers = predict_or_nan(expected, rows, outputs), predict_or_nan(found, rows, outputs)
    check_parity(rows, *answers, variant, form="a lowered program")
    return [variant.remade(Step(transform="dense"), context.save(program, "dense"), engine="dense")]
