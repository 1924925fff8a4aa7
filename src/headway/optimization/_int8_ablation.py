"""Ablation of int8 networks: the same network with some of its layers in float32 again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from headway.core import plugins
from headway.core.variant import Variant
from headway.optimization.context import TransformContext
from headway.optimization.quantization.int8 import (
    CalibratedNetwork,
    calibrate_network,
    group_neighbors,
    quantize_by_row,
    quantize_layers,
)
from headway.optimization.quantization.networks import calibration_rows, float_layers, load_network, rows_with_answers

_INT8: Mapping[object, Callable[[CalibratedNetwork, Sequence[str]], bytes]] = {
    "static": quantize_layers,
    "by row": quantize_by_row,
}


def int8_components(before: Variant, after: Variant, context: TransformContext) -> Iterator[tuple[str, Variant]]:
    """Yield the network with one int8 layer in float32; adjacent layers are grouped if there are many."""
    net = load_network(context.read(before))
    rows, _ = rows_with_answers(
        plugins.load_engine("onnxruntime")(context.read(before), {}), calibration_rows(context.sample, net.work)
    )
    ready = calibrate_network(net, rows)
    float32 = float_layers(context.read(after), ready.net.layers)
    quantised = tuple(name for name in ready.net.layers if name not in float32)
    groups = group_neighbors(quantised) if len(quantised) > 1 else []
    for group in groups:
        remaining = [name for name in quantised if name not in group]
        content = _INT8[after.steps[-1].settings["scales"]](ready, remaining)
        label = group[0] if len(group) == 1 else f"{group[0]} to {group[-1]}"
        yield f"int8 of {label}", replace(after, artifact=context.save(content, "onnx"))
