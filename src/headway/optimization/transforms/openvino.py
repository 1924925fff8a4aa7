"""Convert a network for OpenVINO: in float32, and in bfloat16 where the CPU has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Variant
from headway.optimization.context import TransformContext
from headway.optimization.quantization.networks import at_precision, is_quantized, load_network

STAGE = "runtime"
COST = {"seconds": 5}


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the variant for engine `openvino` in each precision of this CPU.

    Layers that `quantise` made int8 stay so; the precision is that of the others.

    Raises
    ------
    NotApplicable
        If it is not the ONNX graph of a network.
    EngineError
        If OpenVINO cannot convert it.
    PluginError
        If the libraries are absent.
    """
    if variant.artifact.format != "onnx":
        raise NotApplicable(f"converts ONNX graphs, and this is of format {variant.artifact.format!r}")
    content = context.read(variant)
    quantized = is_quantized(content)
    if not quantized:
        load_network(content)  # raises if it has no float32 layer
    engine: Any = load_engine("openvino")
    converted = replace(variant, artifact=context.save(engine.converted(content), "openvino"))
    names = engine.INT8 if quantized else {name: name for name in engine.precisions()}
    return [at_precision(converted, "openvino", names[hint]) for hint in engine.precisions()]
