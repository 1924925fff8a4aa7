"""A network opened by OpenVINO: in float32, in bfloat16 where the CPU has it, and in int8 by NNCF."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from headway.core.contracts import Workbench
from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine, load_transform
from headway.core.variant import Step, Variant
from headway.variants.quantising.layers import is_quantised, net_of

_INT8 = {"f32": "int8", "bf16": "int8-bf16"}


def plugin(variant: Variant, bench: Workbench) -> Sequence[Variant]:
    """The variant for engine `openvino` in each precision of this CPU, and with every layer in int8, calibrated.

    Of a graph that `quantise` made, its layers stay int8 and the precision is that of the rest. Raises NotApplicable
    where it is no ONNX graph of a network, EngineError where the library cannot convert it, PluginError where the
    libraries are absent.
    """
    if variant.artifact.format != "onnx":
        raise NotApplicable(f"converts ONNX graphs, and this is of format {variant.artifact.format!r}")
    content = bench.read(variant)
    quantised = is_quantised(content)
    if not quantised:
        net_of(content)  # refuses what has no layer of float32
    engine: Any = load_engine("openvino")
    whole = replace(variant, artifact=bench.keep(engine.converted(content), "openvino"))
    names = _INT8 if quantised else {name: name for name in engine.precisions()}
    made = [_with(whole, names[hint]) for hint in engine.precisions()]
    if quantised or not len(bench.sample):
        return made
    [small] = load_transform("_nncf")(variant, bench)
    return [*made, *(_with(small, _INT8[hint]) for hint in engine.precisions())]


def _with(variant: Variant, precision: str) -> Variant:
    settings: dict[str, Any] = {"precision": precision}
    step = Step(transform="openvino", settings=settings)
    return replace(variant, engine="openvino", steps=(*variant.steps, step), settings=variant.settings | settings)
