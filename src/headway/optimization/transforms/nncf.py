"""Quantize a network to int8 with NNCF, for the engine `openvino`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Variant
from headway.optimization.context import TransformContext, load_transform
from headway.optimization.quantization.networks import at_precision, is_quantized, load_network

STAGE = "runtime"
COST = {"seconds": 20}


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the variant with every layer in int8, calibrated on the sample; the rest in each precision of this CPU.

    Raises
    ------
    NotApplicable
        If it is not the ONNX graph of a float32 network, or the sample is empty.
    EngineError
        If NNCF cannot quantize the graph.
    PluginError
        If the libraries are absent.
    """
    if variant.artifact.format != "onnx":
        raise NotApplicable(f"quantizes ONNX graphs, and this is of format {variant.artifact.format!r}")
    content = context.read(variant)
    if is_quantized(content):
        raise NotApplicable("its layers are in int8 already")
    load_network(content)  # raises if it has no float32 layer
    if not len(context.sample):
        raise NotApplicable("calibration requires rows, and the sample is empty")
    engine: Any = load_engine("openvino")
    [small] = load_transform("_nncf")(variant, context)
    return [at_precision(small, "nncf", engine.INT8[hint]) for hint in engine.precisions()]
