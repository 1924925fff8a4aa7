"""Compile a small network for headway's own kernels: lower its ONNX graph to one program in float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headway.core.arrays import Floats
from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Step, Variant
from headway.optimization.context import TransformContext
from headway.optimization.lowering.lower import exact_answers, lower_graph
from headway.optimization.parity import TOLERANCE, add_edge_cases, check_parity, predict_or_nan
from headway.optimization.quantization.networks import calibration_rows, load_network

STAGE = "lower"
KEEPS_ANSWERS = True
COST = {"rows": 2_000, "seconds": 1}
MAX_EXACT = 20
"""Rows that are computed in float64 at most."""
MAX_ROUNDING = 4 * TOLERANCE
"""Largest change of an answer that the rounding of both forms explains."""


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the variant for engine `dense`, if no answer moves by more than 1e-6 on the sample and on edge cases.

    Where one moves by up to 4e-6, in a network whose sums are large, it must be within 1e-6 of the answer in float64:
    then it is the graph's own rounding that moves it. Both forms refuse a row with a rank that an embedding table
    lacks.

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
    check_parity(rows, _or_exact(content, rows, *answers), answers[1], variant, form="a lowered program")
    return [variant.remade(Step(transform="dense"), context.save(program, "dense"), engine="dense")]


def _or_exact(content: bytes, rows: Floats, expected: Floats, found: Floats) -> Floats:
    """Return the expected answers, those in float64 for a few rows that moved."""
    change = np.abs(found - expected).max(axis=1, initial=0.0)
    moved = np.flatnonzero((change > TOLERANCE) & (change <= MAX_ROUNDING))
    exact = exact_answers(content, rows[moved]) if 0 < len(moved) <= MAX_EXACT else None
    if exact is None or exact.shape != expected[moved].shape:
        return expected
    expected = expected.copy()
    expected[moved] = exact
    return expected
