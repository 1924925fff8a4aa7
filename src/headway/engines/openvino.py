"""OpenVINO on the CPU, for converted networks in float32, in bfloat16 or with int8 layers.

Settings: `precision` ("f32"; "bf16"; "int8" and "int8-bf16" for a graph with int8 layers and the precision of the rest)
and `threads` (default 1; 0 uses every core). A CPU without bfloat16 computes in float32.
"""

from __future__ import annotations

import io
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from headway.core.arrays import Floats

# Without this the library sends telemetry on import, and stores an id in the home folder.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402

from headway.core.contracts import ImportedModel  # noqa: E402
from headway.core.errors import EngineError, NotApplicable  # noqa: E402
from headway.core.record import Settings  # noqa: E402
from headway.core.threads import threads_of  # noqa: E402
from headway.engines.formats.external_data import require_embedded  # noqa: E402
from headway.engines.formats.onnx_ports import (  # noqa: E402
    GraphInputs,
    PortInfo,
    are_two_classes,
    graph_inputs,
    score_outputs,
    side_by_side,
)

IMPORTS_MODELS = False  # transforms write its artifacts

HINTS = {"f32": "f32", "bf16": "bf16", "int8": "f32", "int8-bf16": "bf16"}
"""Inference precision hint of OpenVINO for each value of the setting `precision`."""
_FILES = ("model.xml", "model.bin")
_TYPES = {"f32": "tensor(float)", "f64": "tensor(double)", "i64": "tensor(int64)", "i32": "tensor(int32)"}
_REBUILD_HINT = "headway optimize"
_CORE = openvino.Core()


class OpenVino:
    """Engine for graphs that a transform converted; of two classes it answers the probability of the second."""

    formats: ClassVar[tuple[str, ...]] = ("openvino",)
    files: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[Settings] = {"threads": 1, "precision": "f32"}
    INT8: ClassVar[dict[str, str]] = {"f32": "int8", "bf16": "int8-bf16"}

    def __init__(self, content: bytes, settings: Settings) -> None:
        hint = _precision_hint(settings)
        threads = threads_of(
            {key: value for key, value in settings.items() if key != "precision"}, engine="openvino", default=1
        )
        options = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        try:
            self._compiled = _CORE.compile_model(_read_archive(content), "CPU", options)
            self._feeds = self.feeds(self._compiled)
            outputs = [_port(port) for port in self._compiled.outputs]
        except RuntimeError as error:
            raise EngineError(f"OpenVINO cannot open the graph: {_first_line(error)}", hint=_REBUILD_HINT) from error
        names = [port.name for port in outputs]
        self._outputs = [names.index(name) for name in score_outputs(outputs)]
        self._idle: list[Any] = []  # a request serves one thread at a time; list.pop and append are atomic
        self._columns = self._infer(np.zeros((self._feeds.batch_size or 1, self._feeds.width))).shape[-1]
        self.first_column = 1 if self._columns == 2 and are_two_classes(self._infer, self._feeds) else 0

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        """Raise NotApplicable: artifacts are converted from the graphs of another engine."""
        raise NotApplicable(f"a {type(model).__name__} is imported as ONNX, and converted by a transform")

    @classmethod
    def converted(cls, graph: bytes) -> bytes:
        """Convert an ONNX graph to an artifact; raise EngineError if the library cannot read it."""
        require_embedded(graph)
        try:
            return cls.packed(_CORE.read_model(graph))
        except RuntimeError as error:
            raise EngineError(
                f"OpenVINO cannot convert the graph: {_first_line(error)}",
                hint='[optimize] transforms, without "openvino"',
            ) from error

    @classmethod
    def packed(cls, model: Any) -> bytes:
        """Return the bytes of an `openvino.Model`; nodes are renamed so that equal models give equal bytes."""
        for number, node in enumerate(model.get_ordered_ops()):
            if node.get_type_name() not in ("Parameter", "Result"):
                node.set_friendly_name(f"{node.get_type_name()} {number}")
        content = io.BytesIO()
        with tempfile.TemporaryDirectory(prefix="headway-openvino-") as folder, zipfile.ZipFile(content, "w") as pack:
            paths = [Path(folder) / name for name in _FILES]
            openvino.serialize(model, *paths)
            for path in paths:
                pack.writestr(zipfile.ZipInfo(path.name), path.read_bytes())
        return content.getvalue()

    @classmethod
    def feeds(cls, model: Any) -> GraphInputs:
        """Return the inputs of a model of the library, compiled or not."""
        return graph_inputs([_port(port) for port in model.inputs])

    @classmethod
    def precisions(cls) -> tuple[str, ...]:
        """Return the precisions of this CPU: float32, and bfloat16 if it has instructions for it."""
        able = _CORE.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return ("f32", "bf16") if "BF16" in able else ("f32",)

    @classmethod
    def compile_graph(
        cls, graph: bytes, *, reads: str, threads: int, precision: str
    ) -> Callable[[NDArray[Any]], NDArray[Any]]:
        """Compile an ONNX graph with one int64 input, and return the function from that to its first output.

        Raises
        ------
        EngineError
            If the library cannot read the graph, it has other inputs, or this CPU lacks the precision.
        """
        if precision not in cls.precisions():
            raise EngineError(
                f"this CPU does not compute with precision {precision!r}", hint=f"one of {', '.join(cls.precisions())}"
            )
        require_embedded(graph)
        options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        try:
            compiled = _CORE.compile_model(_CORE.read_model(graph), "CPU", options)
            inputs = [(port.name, port.type) for port in map(_port, compiled.inputs)]
        except RuntimeError as error:
            raise EngineError(f"OpenVINO cannot open the graph: {_first_line(error)}", hint=_REBUILD_HINT) from error
        if inputs != [(reads, "tensor(int64)")]:
            raise EngineError(f"the graph does not read {reads} only", hint=_REBUILD_HINT)
        idle: list[Any] = []  # as in `_infer`

        def compute(values: NDArray[Any]) -> NDArray[Any]:
            request = idle.pop() if idle else compiled.create_infer_request()
            try:
                found: NDArray[Any] = request.infer([values], share_inputs=True, share_outputs=True)[0].copy()
            except RuntimeError as error:
                raise EngineError(f"OpenVINO cannot run the graph: {_first_line(error)}", hint=_REBUILD_HINT) from error
            idle.append(request)
            return found

        return compute

    def predict(self, rows: Floats) -> Floats:
        """Compute scores float64 [n, k] for rows float64 [n, d], cast to the dtypes of the graph.

        Raises EngineError for rows of another width, for values that an integer input cannot represent, and if the
        library fails.
        """
        if rows.ndim != 2 or rows.shape[1] != self._feeds.width:
            raise EngineError(f"rows of shape {rows.shape}, the model reads [n, {self._feeds.width}]")
        return self._infer(rows)[:, self.first_column :]

    def _infer(self, rows: Floats) -> Floats:
        """Compute every column of the answers [n, k]."""
        if not len(rows):
            return np.zeros((0, self._columns))
        request = self._idle.pop() if self._idle else self._compiled.create_infer_request()
        answers = []
        try:
            for feed, count in self._feeds.batches(rows):
                found = request.infer([*feed.values()], share_inputs=True, share_outputs=True)
                table = side_by_side([found[index] for index in self._outputs])
                # A copy: the request reuses its buffer.
                answers.append(table[:count].astype(np.float64).reshape(count, table.size // max(len(table), 1)))
        except RuntimeError as error:
            raise EngineError(f"OpenVINO cannot run the graph: {_first_line(error)}", hint=_REBUILD_HINT) from error
        self._idle.append(request)
        return answers[0] if len(answers) == 1 else np.concatenate(answers)


def _port(port: Any) -> PortInfo:
    shape = [None if dim.is_dynamic else dim.get_length() for dim in port.get_partial_shape()]
    kind = port.get_element_type().get_type_name()
    return PortInfo(name=port.get_any_name(), type=_TYPES.get(kind, kind), shape=shape)


def _precision_hint(settings: Settings) -> str:
    precision = settings.get("precision", "f32")
    if precision not in HINTS:
        raise EngineError(
            f"setting 'precision' is {precision!r}, not one of {', '.join(HINTS)}", hint="precision = 'f32'"
        )
    return HINTS[str(precision)]


def _read_archive(content: bytes) -> Any:
    """Read the model of an archive; compressed files are rejected, since their unpacked size has no bound."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as pack:
            if any(pack.getinfo(name).compress_type != zipfile.ZIP_STORED for name in _FILES):
                raise EngineError(
                    "the files of this archive are compressed, which headway never writes", hint=_REBUILD_HINT
                )
            graph, weights = (pack.read(name) for name in _FILES)
        return _CORE.read_model(graph, weights)
    except (zipfile.BadZipFile, KeyError, RuntimeError, ValueError, NotImplementedError, OSError) as error:
        raise EngineError(
            f"these bytes are not a graph that OpenVINO can open: {_first_line(error)}", hint=_REBUILD_HINT
        ) from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


plugin = OpenVino
