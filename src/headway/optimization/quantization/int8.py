"""Quantize layers of an ONNX graph to int8 with ONNX Runtime, and select the layers that move answers least."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as state
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from headway.core.arrays import Floats
from headway.core.errors import EngineError, NotApplicable
from headway.engines.formats.onnx_ports import Array, graph_inputs
from headway.optimization.quantization.networks import LAYERS, Network, name_nodes

_BATCH = 100
_FATAL_ONLY, _WARNINGS = 4, 2
_KINDS = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
# The libraries' exceptions have no common base class.
_FAILURES: tuple[type[Exception], ...] = (
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    *_KINDS,
)
_OPTIONS = {"OpTypesToExcludeOutputQuantization": list(LAYERS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedNetwork:
    """Network prepared for int8, with the value ranges of its layer inputs in the library's format."""

    net: Network
    ranges: bytes


def calibrate_network(net: Network, rows: Floats) -> CalibratedNetwork:
    """Fold normalizations into a network, and record its value ranges on rows (n, d); raises EngineError."""
    with quiet_workspace() as folder:
        original, ready, ranges = folder / "original.onnx", folder / "ready.onnx", folder / "ranges.json"
        onnx.save(net.graph, original)
        quant_pre_process(original, ready, skip_symbolic_shape=True)
        found = name_nodes(onnx.load(ready))
        reader = _RowReader(found.graph.SerializeToString(), rows)
        _run_quantizer(found, list(found.layers), folder, reader)
        return CalibratedNetwork(net=found, ranges=ranges.read_bytes())


def quantize_layers(network: CalibratedNetwork, layers: Sequence[str]) -> bytes:
    """Return the ONNX graph with these layers in int8 by static scales; raises EngineError."""
    with quiet_workspace() as folder:
        (folder / "ranges.json").write_bytes(network.ranges)
        return _run_quantizer(network.net, layers, folder, None)


def _run_quantizer(net: Network, layers: Sequence[str], folder: Path, reader: CalibrationDataReader | None) -> bytes:
    source, made = folder / "source.onnx", folder / "made.onnx"
    onnx.save(net.graph, source)
    quantize_static(
        source,
        made,
        reader,
        op_types_to_quantize=list(LAYERS),
        nodes_to_quantize=list(layers),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        extra_options=_OPTIONS,
        calibration_cache_path=folder / "ranges.json",
    )
    content: bytes = onnx.load(made).SerializeToString(deterministic=True)
    return content


class _RowReader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds rows to the library, split as the inputs of the graph read them."""

    def __init__(self, content: bytes, rows: Floats) -> None:
        inputs = graph_inputs(onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).get_inputs())
        parts = np.array_split(rows, -(-len(rows) // _BATCH))
        self._batches: Iterator[Mapping[str, Array]] = iter(
            [feed for part in parts for feed, _ in inputs.batches(part)]
        )

    def get_next(self) -> Mapping[str, Array] | None:
        return next(self._batches, None)


@contextlib.contextmanager
def quiet_workspace() -> Iterator[Path]:
    """Provide a temporary folder with the library's logs silenced; its failures become EngineError."""
    before = logging.root.manager.disable
    with tempfile.TemporaryDirectory(prefix="headway-int8-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        onnxruntime.set_default_logger_severity(_FATAL_ONLY)
        try:
            yield Path(folder)
        except _FAILURES as error:
            raise _quantization_error(error) from error
        finally:
            onnxruntime.set_default_logger_severity(_WARNINGS)
            logging.disable(before)


def _quantization_error(error: Exception) -> EngineError:
    message = str(error).strip().partition("\n")[0]
    return EngineError(
        f"ONNX Runtime {onnxruntime.__version__} cannot quantize the graph: {message or type(error).__name__}",
        hint='[optimize] transforms, without "quantise"',
    )


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


def quantize_by_row(network: CalibratedNetwork, layers: Sequence[str]) -> bytes:
    """Return the ONNX graph with these products in int8 by per-row scales; raises NotApplicable for a convolution."""
    folded = [name for name in layers if network.net.layers[name] == "Conv"]
    if folded:
        raise NotApplicable(f"dynamic int8 makes a convolution slower, and {folded[0]!r} is one")
    with quiet_workspace() as folder:
        source, made = folder / "source.onnx", folder / "made.onnx"
        onnx.save(network.net.graph, source)
        quantize_dynamic(
            source,
            made,
            op_types_to_quantize=["MatMul", "Gemm"],
            nodes_to_quantize=_split_gemms(network, layers),
            per_channel=True,
            weight_type=QuantType.QInt8,
        )
        graph = _scale_by_row(onnx.load(made))
    content: bytes = graph.SerializeToString(deterministic=True)
    return content


def quantize_encoder(graph: bytes) -> bytes:
    """Return the graph of a sentence encoder with its products in int8, by the scales of each run.

    Raises
    ------
    NotApplicable
        If it has no product, as static embeddings have none.
    EngineError
        If ONNX Runtime cannot quantize it.
    """
    with quiet_workspace() as folder:
        source, made = folder / "source.onnx", folder / "made.onnx"
        source.write_bytes(graph)
        quantize_dynamic(
            source,
            made,
            op_types_to_quantize=["Attention", "Gemm", "MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        model = onnx.load(made)
    if not any(node.op_type == _DYNAMIC for node in model.graph.node):
        raise NotApplicable("the encoder has no product that int8 accelerates")
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _split_gemms(network: CalibratedNetwork, layers: Sequence[str]) -> list[str]:
    """Return the names that the library gives these layers after it splits Gemm into product and sum."""
    return [f"{name}_MatMul" if network.net.layers[name] == "Gemm" else name for name in layers]


def _scale_by_row(graph: Any) -> Any:
    """Replace the scale of a tensor by a scale for each row; non-negative values become unsigned."""
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
    """Return the nodes that replace one node of the library: row maximum, scale, rounded row."""
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


Layers = tuple[str, ...]

_GROUPS = 24
_TAIL = 0.999


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class AnswerShift:
    """Changes of the answers on the sample: the maximum, and the bound that 999 of 1,000 rows keep."""

    max: float
    tail: float


def answer_shift(expected: Floats, found: Floats, *, scale: float = 1.0) -> AnswerShift:
    """Return the changes of answers (n, k) as shares of `scale`; a number that became NaN is an infinite change.

    >>> answer_shift(np.array([[0.5], [0.5]]), np.array([[0.5], [0.75]])).max
    0.25
    """
    same = (expected == found) | (np.isnan(expected) & np.isnan(found))
    with np.errstate(invalid="ignore"):
        change = np.where(same, 0.0, np.nan_to_num(np.abs(expected - found), nan=np.inf)).max(axis=1)
    # The change of one row, without interpolation, which fails between two infinities.
    return AnswerShift(max=float(change.max()) / scale, tail=float(np.quantile(change, _TAIL, method="higher")) / scale)


def select_layers(layers: Layers, moved: Callable[[Layers], AnswerShift], limits: Sequence[float]) -> list[Layers]:
    """Return all layers, and for each limit the largest set whose maximal change stays below it.

    Layers are added from the least to the most sensitive. If there are more than 24, adjacent layers are grouped.

    Parameters
    ----------
    layers
        Names in the order of the graph.
    moved
        Measures the changes that a set of layers causes.
    limits
        Limits of the maximal change.

    Returns
    -------
    list of tuple of str
        Distinct sets; none is empty.
    """
    groups = group_neighbors(layers)
    alone = {group: moved(group) for group in groups}
    ranked = sorted(groups, key=lambda group: alone[group])
    steps = [_in_order(layers, ranked[: number + 1]) for number in range(len(ranked))]
    known = alone | {steps[0]: alone[ranked[0]]}
    sets = [steps[-1]]
    for limit in limits:
        count = bisect_left(steps, True, key=lambda subset: _measure_once(subset, moved, known).max >= limit)
        sets += steps[count - 1 : count] if count else []
    return list(dict.fromkeys(sets))


def group_neighbors(layers: Layers) -> list[Layers]:
    """Group adjacent layers into at most 24 groups."""
    return [tuple(str(name) for name in subset) for subset in np.array_split(layers, min(_GROUPS, len(layers)))]


def _measure_once(
    subset: Layers, moved: Callable[[Layers], AnswerShift], known: dict[Layers, AnswerShift]
) -> AnswerShift:
    """Return the changes that a set causes, measured once."""
    if subset not in known:
        known[subset] = moved(subset)
    return known[subset]


def _in_order(layers: Layers, groups: Sequence[Layers]) -> Layers:
    chosen = {name for group in groups for name in group}
    return tuple(name for name in layers if name in chosen)
