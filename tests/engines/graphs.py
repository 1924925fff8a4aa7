"""Small ONNX graphs for tests, as bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

FLOAT, DOUBLE, INT32, INT64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT32, TensorProto.INT64
BOOL, STRING = TensorProto.BOOL, TensorProto.STRING
Port = tuple[str, int, Sequence[int | str | None]]


def graph(
    nodes: list[NodeProto], inputs: list[Port], outputs: list[Port], constants: dict[str, np.ndarray] | None = None
) -> bytes:
    """A graph of these nodes; a port is a name, a type and a shape."""
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*port) for port in inputs],
        [helper.make_tensor_value_info(*port) for port in outputs],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return bytes(helper.make_model(made, opset_imports=opsets, ir_version=10).SerializeToString())


def softmax(classes: int, kind: int = FLOAT) -> bytes:
    """A classifier as converters write it: `label` and `probabilities`, softmax(x @ w), three columns."""
    weights = np.arange(3 * classes).reshape(3, classes).astype(np.float32 if kind == FLOAT else np.float64) / 10
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["raw"]),
        helper.make_node("Softmax", ["raw"], ["probabilities"]),
        helper.make_node("ArgMax", ["raw"], ["label"], axis=1, keepdims=0),
    ]
    outputs = [("label", INT64, [None]), ("probabilities", kind, [None, classes])]
    return graph(nodes, [("x", kind, [None, 3])], outputs, {"w": weights})


def total(kind: int = DOUBLE, shape: Sequence[int | str | None] = (None, 3)) -> bytes:
    """The sum of a row, without a second axis."""
    axis = {"axis": np.array([1])}
    node = helper.make_node("ReduceSum", ["x", "axis"], ["y"], keepdims=0)
    return graph([node], [("x", kind, shape)], [("y", kind, [None])], axis)
