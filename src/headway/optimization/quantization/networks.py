"""Layers of an ONNX network that int8 can speed up, and the rows to calibrate them on."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from msgspec.structs import replace
from onnx import TensorProto, version_converter

from headway.core.arrays import Floats, Ints
from headway.core.contracts import Engine
from headway.core.errors import EngineError, NotApplicable
from headway.core.variant import Step, Variant

LAYERS = {"Conv": 1, "Gemm": 1, "MatMul": 1}
"""Operators with weights, and which of their inputs these are."""
_TREES = "TreeEnsemble"
_INT8_OPERATORS = {
    "QuantizeLinear",
    "DynamicQuantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "QGemm",
    "ConvInteger",
    "MatMulInteger",
}
_PER_CHANNEL, _RAISED = 13, 17
_CONVERSION_FAILURES = (RuntimeError, onnx.shape_inference.InferenceError, version_converter.ConvertError)


def at_precision(variant: Variant, transform: str, precision: str) -> Variant:
    """Return a variant for engine `openvino` in one precision of the CPU, made by this transform."""
    settings: dict[str, Any] = {"precision": precision}
    step = Step(transform=transform, settings=settings)
    return replace(variant, engine="openvino", steps=(*variant.steps, step), settings=variant.settings | settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """ONNX graph (`onnx.ModelProto`) whose nodes all have a name, and its layers in order: name and operator."""

    graph: Any
    layers: Mapping[str, str]

    @property
    def work(self) -> int:
        """Count the multiplications of one row, from the weights and how often each is used, where shapes are known."""
        shapes = {info.name: _shape(info) for info in self.graph.graph.value_info}
        sizes = {tensor.name: math.prod(tensor.dims) for tensor in self.graph.graph.initializer}
        layers = [node for node in self.graph.graph.node if node.name in self.layers]
        return sum(sizes.get(node.input[1], 1) * _uses(node, shapes.get(node.output[0], ())) for node in layers)


def is_quantized(content: bytes) -> bool:
    """Return whether layers of an ONNX graph are in int8 already.

    Raises
    ------
    NotApplicable
        If the graph is not a network, or has per-row scales, which only ONNX Runtime runs fast.
    """
    kinds = _operators(onnx.load_from_string(content))
    if "MatMulInteger" in kinds:
        raise NotApplicable("per-row scales are fast in ONNX Runtime only")
    return bool(kinds & _INT8_OPERATORS)


def load_network(content: bytes) -> Network:
    """Load the network of an ONNX file.

    Raises
    ------
    NotApplicable
        If the graph has no float32 layer.
    EngineError
        If the graph is of an old opset that cannot be converted to opset 17.
    """
    graph = onnx.load_from_string(content)
    if _operators(graph) & _INT8_OPERATORS:
        raise NotApplicable("the graph is in int8 already")
    return name_nodes(_raise_opset(graph))


def float_layers(content: bytes, layers: Collection[str]) -> set[str]:
    """Return the layers, by their original names, that are still float32 in a partly quantized graph.

    The library may have split a Gemm into product and sum, and named the product after it.
    """
    graph = onnx.load_from_string(content).graph
    weights = {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    float_nodes = {node.name for node in graph.node if node.op_type in LAYERS and node.input[1] in weights}
    return {name for name in layers if {name, f"{name}_MatMul"} & float_nodes}


def name_nodes(graph: Any) -> Network:
    """Name the unnamed nodes and those with duplicate names, and return the network."""
    seen: set[str] = set()
    for number, node in enumerate(graph.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{number}"
        seen.add(node.name)
    weights = {tensor.name: tensor.data_type for tensor in graph.graph.initializer}
    fixed = {node.output[0] for node in graph.graph.node if node.op_type == "Constant"}
    layers = [node for node in graph.graph.node if node.op_type in LAYERS and node.input[1] in weights.keys() | fixed]
    floats = [node for node in layers if weights.get(node.input[1], TensorProto.FLOAT) == TensorProto.FLOAT]
    if not layers:
        raise NotApplicable("the graph has no product with constant weights")
    if not floats:
        raise NotApplicable("its weights are not float32")
    return Network(graph=graph, layers={node.name: node.op_type for node in floats})


def _operators(graph: Any) -> set[str]:
    """Return the operators of a graph that has layers."""
    kinds = {node.op_type for node in graph.graph.node}
    if any(kind.startswith(_TREES) for kind in kinds):
        raise NotApplicable("the graph is a tree ensemble, which has no layers")
    if not kinds & (LAYERS.keys() | _INT8_OPERATORS):
        raise NotApplicable("the graph has no layer that int8 accelerates (Conv, Gemm, MatMul)")
    return kinds


def _raise_opset(graph: Any) -> Any:
    opset = next((opset.version for opset in graph.opset_import if opset.domain in ("", "ai.onnx")), 1)
    if opset >= _PER_CHANNEL:
        return graph
    try:
        return version_converter.convert_version(graph, _RAISED)
    except _CONVERSION_FAILURES as error:
        message = str(error).strip().partition("\n")[0]
        raise EngineError(
            f"the graph is of opset {opset}, int8 by channel needs {_PER_CHANNEL}, and it cannot be raised: {message}",
            hint=f"export it with opset {_RAISED}",
        ) from error


def _uses(node: Any, shape: tuple[int, ...]) -> int:
    """Return how often a row uses each weight: once per pixel or token, 1 if unknown."""
    return math.prod(shape[2:] if node.op_type == "Conv" else shape[1:-1])


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(max(dim.dim_value, 1) for dim in value.type.tensor_type.shape.dim)


_MAX_ROWS, _MIN_ROWS = 5_000, 32
_WORK = 5_000_000_000  # multiplications: half a second of one core
_MAX_COLUMNS = 256


def calibration_rows(sample: Floats, work: int) -> Floats:
    """Return at most 5,000 rows, in order; fewer the more multiplications a row costs (`work`).

    For a table of up to 256 columns they include the rows with the lowest and highest value of each column.
    """
    n_rows = min(max(_WORK // max(work, 1), _MIN_ROWS), _MAX_ROWS)
    if len(sample) <= n_rows:
        return sample
    indices = np.linspace(0, len(sample) - 1, n_rows).astype(np.int64)
    if sample.shape[1] <= min(_MAX_COLUMNS, n_rows // 4):
        indices = np.union1d(indices, _extremes(sample))
    return sample[indices]


def rows_with_answers(engine: Engine, rows: Floats) -> tuple[Floats, Floats]:
    """Return the rows that a model answers with finite numbers, (m, d), and these answers, (m, k).

    Raises
    ------
    NotApplicable
        If no answer is finite, so that no range can be calibrated.
    """
    answers = engine.predict(rows) if len(rows) else np.zeros((0, 1))
    known = np.isfinite(answers).all(axis=1)
    if not known.any():
        raise NotApplicable("calibration requires a row with a finite answer")
    return rows[known], answers[known]


def _extremes(sample: Floats) -> Ints:
    finite = np.isfinite(sample)
    lowest = np.where(finite, sample, np.inf).argmin(axis=0)
    highest = np.where(finite, sample, -np.inf).argmax(axis=0)
    return np.concatenate([lowest, highest])
