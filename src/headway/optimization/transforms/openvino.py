"""Convert a network for OpenVINO, or run a sentence encoder by it: in float32, and in bfloat16 where the CPU has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.record import Scalar
from headway.core.variant import Step, Variant
from headway.engines.formats.encoder import split_encoder
from headway.engines.formats.nested import split_models
from headway.optimization.context import TransformContext
from headway.optimization.quantization.networks import at_precision, is_quantized, load_network

STAGE = "runtime"
COST = {"seconds": 5}


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the variant for engine `openvino` in each precision of this CPU.

    Layers that `quantise` made int8 stay so; the precision is that of the others. An encoder stays with engine
    `encoder`, and its graph runs by OpenVINO.

    Raises
    ------
    NotApplicable
        If it is neither the ONNX graph of a network nor an encoder in float32.
    EngineError
        If OpenVINO cannot convert it.
    PluginError
        If the libraries are absent.
    """
    if variant.artifact.format == "encoder":
        return _encoders(variant, context)
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


def _encoders(variant: Variant, context: TransformContext) -> list[Variant]:
    """Return the variant of an encoder for each precision of this CPU; its artifact stays."""
    _, (encoder, _) = split_models(context.read(variant), models=2)
    if split_encoder(encoder)[0].runs_alone:
        raise NotApplicable("the int8 form of an encoder is for ONNX Runtime")
    engine: Any = load_engine("openvino")
    found = []
    for precision in engine.precisions():
        settings: dict[str, Scalar] = {"runtime": "openvino", "precision": precision}
        steps = (*variant.steps, Step(transform="openvino", settings=settings))
        found.append(replace(variant, steps=steps, settings={**variant.settings, **settings}))
    return found
