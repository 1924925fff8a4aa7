"""Products in int8 with no calibration: what a layer reads gets a scale as it comes, and each row one of its own.

The library's dynamic int8 takes one scale for a whole batch, so that a row's answer moves with the rows beside it; an
engine may not do that. Its weights and products are kept, and the scale is made from each row alone. Convolutions are
refused: without calibration they are slower in int8 than in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from headway.core.errors import NotApplicable
from headway.optimization.quantization.int8 import CalibratedNetwork, quiet_workspace

_DYNAMIC = "DynamicQuantizeLinear"
_CONSTANTS = {
    "headway_last": np.array([-1], np.int64),
    "headway_least": np.array(1e-30, np.float32),
    "headway_one": np.array(1, np.float32),
    "headway_zero_signed": np.array(128, np.uint8),
    "headway_step_signed": np.array(1 / 127, np.float32),
    "headway_zero_positive": np.array(0, np.uint8),
    "headway_step_positive": np.array(1 / 255, np.float32),
}


def quantize_by_row(found: CalibratedNetwork, layers: Sequence[str]) -> bytes:
    """The ONNX graph with these products, by name, in int8; raises NotApplicable if a convolution is among them."""
    folded = [name for name in layers if found.net.layers[name] == "Conv"]
    if folded:
        raise NotApplicable(f"dynamic int8 makes a convolution slower, and {folded[0]!r} is one")
    with quiet_workspace() as place:
        source, made = place / "source.onnx", place / "made.onnx"
        onnx.save(found.net.graph, source)
        quantize_dynamic(
            source,
            made,
            op_types_to_quantize=["MatMul", "Gemm"],
            nodes_to_quantize=_split_gemms(found, layers),
            per_channel=True,
            weight_type=QuantType.QInt8,
        )
        graph = _scale_by_row(onnx.load(made))
    content: bytes = graph.SerializeToString(deterministic=True)
    return content


def _split_gemms(found: CalibratedNetwork, layers: Sequence[str]) -> list[str]:
    """The names that the library gives these layers once it made products and sums of Gemm."""
    return [f"{name}_MatMul" if found.net.layers[name] == "Gemm" else name for name in layers]


def _scale_by_row(graph: Any) -> Any:
    """The graph with a scale for each row where there was one for all; of what is never negative with no sign."""
    made_by = {name: node.op_type for node in graph.graph.node for name in node.output}
    nodes = []
    for node in graph.graph.node:
        positive = made_by.get(node.input[0] if node.input else "") == "Relu"
        nodes += _dynamic_nodes(node, "positive" if positive else "signed") if node.op_type == _DYNAMIC else [node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    graph.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in _CONSTANTS.items())
    return graph


def _dynamic_nodes(node: Any, kind: str) -> list[Any]:
    """What one node of the library becomes: the largest value of a row, its share as the scale, the rounded row."""
    read, (rounded, scale, zero) = node.input[0], node.output
    make, at = helper.make_node, f"{rounded}_by_row"
    largest = [
        make("Abs", [read], [f"{at}_size"]),
        make("ReduceMax", [f"{at}_size", "headway_last"], [f"{at}_largest"], keepdims=1),
        make("Max", [f"{at}_largest", "headway_least"], [f"{at}_known"]),
    ]
    return [
        *largest,
        make("Mul", [f"{at}_known", f"headway_step_{kind}"], [scale]),
        make("Div", [read, scale], [f"{at}_scaled"]),
        make("QuantizeLinear", [f"{at}_scaled", "headway_one", f"headway_zero_{kind}"], [rounded]),
        make("Identity", [f"headway_zero_{kind}"], [zero]),
    ]
