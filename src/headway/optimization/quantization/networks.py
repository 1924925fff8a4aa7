"""Layers of an ONNX network that int8 can speed up, and the rows to calibrate them on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, version_converter

from headway.core.contracts import Engine
from headway.core.errors import EngineError, NotApplicable

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A graph (`onnx.ModelProto`) whose nodes all have a name, and its layers in order: name and operator."""

    graph: Any
    layers: Mapping[str, str]

    @property
    def work(self) -> int:
        """Multiplications of one row, counted from the weights and how often each is used, where shapes are known."""
        shapes = {each.name: _shape(each) for each in self.graph.graph.value_info}
        sizes = {each.name: _product(each.dims) for each in self.graph.graph.initializer}
        layers = [node for node in self.graph.graph.node if node.name in self.layers]
        return sum(sizes.get(node.input[1], 1) * _uses(node, shapes.get(node.output[0], ())) for node in layers)


def is_quantized(content: bytes) -> bool:
    """Whether layers of an ONNX graph are in int8 already; raises NotApplicable for a graph that is of no network.

    Scales that are made from each row (`by row`) are refused too: what they need, only ONNX Runtime does fast.
    """
    kinds = _operators(onnx.load_from_string(content))
    if "MatMulInteger" in kinds:
        raise NotApplicable("scales that are made from each row are fast in ONNX Runtime alone")
    return bool(kinds & _INT8_OPERATORS)


def load_network(content: bytes) -> Network:
    """The network of an ONNX file; raises NotApplicable, with the word for it, for a graph without such layers.

    Raises EngineError for an old graph that no converter raises to opset 17.
    """
    graph = onnx.load_from_string(content)
    if _operators(graph) & _INT8_OPERATORS:
        raise NotApplicable("the graph is in int8 already")
    return name_nodes(_raise_opset(graph))


def float_layers(content: bytes, layers: Collection[str]) -> set[str]:
    """Which layers, by their names before, are still float32 in a graph some of whose layers are int8.

    The library may have made a product and a sum of a Gemm, and named the product after it.
    """
    graph = onnx.load_from_string(content).graph
    weights = {each.name for each in graph.initializer if each.data_type == TensorProto.FLOAT}
    whole = {node.name for node in graph.node if node.op_type in LAYERS and node.input[1] in weights}
    return {name for name in layers if {name, f"{name}_MatMul"} & whole}


def name_nodes(graph: Any) -> Network:
    """The network of a graph, its nodes named where they had no name, or one that another has too."""
    seen: set[str] = set()
    for number, node in enumerate(graph.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{number}"
        seen.add(node.name)
    weights = {each.name: each.data_type for each in graph.graph.initializer}
    fixed = {node.output[0] for node in graph.graph.node if node.op_type == "Constant"}
    layers = [node for node in graph.graph.node if node.op_type in LAYERS and node.input[1] in weights.keys() | fixed]
    floats = [node for node in layers if weights.get(node.input[1], TensorProto.FLOAT) == TensorProto.FLOAT]
    if not layers:
        raise NotApplicable("no product in the graph is one with weights: both sides are made from the row")
    if not floats:
        raise NotApplicable("its weights are not float32, as those of networks are")
    return Network(graph=graph, layers={node.name: node.op_type for node in floats})


def _operators(graph: Any) -> set[str]:
    """The operators of a graph that has layers."""
    kinds = {node.op_type for node in graph.graph.node}
    if any(kind.startswith(_TREES) for kind in kinds):
        raise NotApplicable("the graph is one of trees, and those have no layers")
    if not kinds & (LAYERS.keys() | _INT8_OPERATORS):
        raise NotApplicable("the graph has no layer that int8 speeds up (Conv, Gemm, MatMul)")
    return kinds


def _raise_opset(graph: Any) -> Any:
    opset = next((each.version for each in graph.opset_import if each.domain in ("", "ai.onnx")), 1)
    if opset >= _PER_CHANNEL:
        return graph
    try:
        return version_converter.convert_version(graph, _RAISED)
    except _CONVERSION_FAILURES as error:
        message = str(error).strip().partition("\n")[0]
        raise EngineError(
            f"the graph is of opset {opset}, int8 by channel needs {_PER_CHANNEL}, and it cannot be raised: {message}",
            hint=f"export it anew with opset {_RAISED}",
        ) from error


def _uses(node: Any, shape: tuple[int, ...]) -> int:
    """How often a row uses each weight: at each place of a picture, or of a text; 1 where that is not known."""
    return _product(shape[2:] if node.op_type == "Conv" else shape[1:-1])


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(max(each.dim_value, 1) for each in value.type.tensor_type.shape.dim)


def _product(sizes: Any) -> int:
    result = 1
    for size in sizes:
        result *= int(size)
    return result


Floats = NDArray[np.float64]

_MAX_ROWS, _MIN_ROWS = 5_000, 32
_WORK = 5_000_000_000  # multiplications: half a second of one core
_MAX_COLUMNS = 256


def calibration_rows(sample: Floats, work: int) -> Floats:
    """At most 5,000 rows, in order, and fewer the more multiplications a row costs (`work`).

    Of a table of up to 256 columns the rows with the least and the greatest value of each are among them.
    """
    most = min(max(_WORK // max(work, 1), _MIN_ROWS), _MAX_ROWS)
    if len(sample) <= most:
        return sample
    places = np.linspace(0, len(sample) - 1, most).astype(np.int64)
    if sample.shape[1] <= min(_MAX_COLUMNS, most // 4):
        places = np.union1d(places, _extremes(sample))
    return sample[places]


def rows_with_answers(engine: Engine, rows: Floats) -> tuple[Floats, Floats]:
    """The rows that a model answers with numbers, and these answers: float64 [m, d] and [m, k].

    Others would make a range of no numbers. Raises NotApplicable where there is no such row.
    """
    answers = engine.predict(rows) if len(rows) else np.zeros((0, 1))
    known = np.isfinite(answers).all(axis=1)
    if not known.any():
        raise NotApplicable("int8 is calibrated on rows that have an answer, and the sample has none")
    return rows[known], answers[known]


def _extremes(sample: Floats) -> NDArray[np.int64]:
    finite = np.isfinite(sample)
    least = np.where(finite, sample, np.inf).argmin(axis=0)
    greatest = np.where(finite, sample, -np.inf).argmax(axis=0)
    return np.concatenate([least, greatest])
