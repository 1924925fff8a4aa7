"""ONNX Runtime on the CPU: a graph that reads one table of numbers and answers scores.

Settings: `threads` (threads inside an operator, default 1; 0 takes every core). Threads that wait do not spin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as state

from headway.core.contracts import Adopted, ModelFile
from headway.core.errors import EngineError, NotApplicable
from headway.core.record import Settings

Floats = NDArray[np.float64]
_DTYPES: dict[str, type[np.float32] | type[np.float64]] = {"tensor(float)": np.float32, "tensor(double)": np.float64}
_FATAL_ONLY = 4
_KINDS: list[type[Exception]] = [
    kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)
]
_FAILURES: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    *_KINDS,
)  # the library's exceptions have no base of their own

onnxruntime.disable_telemetry_events()


class OnnxRuntime:
    """Opens ONNX; of a classifier it answers the probabilities, of two classes that of the second."""

    formats: ClassVar[tuple[str, ...]] = ("onnx",)
    files: ClassVar[tuple[str, ...]] = (".onnx",)
    defaults: ClassVar[Settings] = {"threads": 1}

    def __init__(self, content: bytes, settings: Settings) -> None:
        session = _opened(content, _threads(settings))
        self._input, self._dtype, self.width = _input(session.get_inputs())
        self._output = _scores(session.get_outputs())
        # The session under the session: `InferenceSession.run` checks its arguments in Python first, which costs 1.5 to
        # 2 of the 24 us of one row (300 trees, order of turns drawn); here they were checked when the graph was opened.
        self._session = getattr(session, "_sess", session)
        self._columns = self._run(np.zeros((1, self.width))).size
        self._first = 1 if self._columns == 2 else 0

    @classmethod
    def adopt(cls, model: object) -> Adopted:
        """An `onnx.ModelProto`, which is known by its name, as its library need not be installed; or a file of one."""
        if isinstance(model, ModelFile):
            return _of_file(model)
        kind = type(model)
        if kind.__name__ != "ModelProto" or not kind.__module__.startswith("onnx"):
            raise NotApplicable(f"a {kind.__name__} is not an ONNX model")
        content: bytes = model.SerializeToString()  # type: ignore[attr-defined]
        return Adopted(content=content, width=cls(content, {}).width)

    def predict(self, rows: Floats) -> Floats:
        """rows: float64 [n, d], cast to what the graph reads -> float64 [n, k].

        Raises EngineError where rows have another number of columns than the graph, or the library fails on them.
        """
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise EngineError(f"rows of shape {rows.shape}, the model reads [n, {self.width}]")
        scores = self._run(rows).reshape(len(rows), self._columns)
        return scores[:, self._first :].astype(np.float64, copy=False)

    def _run(self, rows: Floats) -> NDArray[np.floating]:
        try:
            scores: NDArray[np.floating] = self._session.run([self._output], {self._input: self._cast(rows)}, None)[0]
        except _FAILURES as error:
            raise EngineError(f"ONNX Runtime cannot run the graph: {error}") from error
        return scores

    def _cast(self, rows: Floats) -> NDArray[np.floating]:
        if self._dtype is np.float64:
            return np.ascontiguousarray(rows, np.float64)
        with np.errstate(over="ignore"):  # beyond float32 is infinite to a graph of float32, as to who made it
            return np.ascontiguousarray(rows, self._dtype)


def _of_file(file: ModelFile) -> Adopted:
    if file.suffix not in OnnxRuntime.files:
        raise NotApplicable(f"a {file.suffix} file is not an ONNX model")
    return Adopted(content=file.content, width=OnnxRuntime(file.content, {}).width)


def _opened(content: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = _FATAL_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"], enable_fallback=0)
    except _FAILURES as error:
        raise EngineError(
            f"these bytes are not a model that ONNX Runtime {onnxruntime.__version__} can open: {error}",
            mend="onnx.checker.check_model(onnx.load('model.onnx'))",
        ) from error


def _input(inputs: Sequence[onnxruntime.NodeArg]) -> tuple[str, type[np.float32] | type[np.float64], int]:
    """Name, type and width of the table that the graph reads; a row count that is fixed could not take a batch."""
    named = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
    if len(inputs) == 1 and inputs[0].type in _DTYPES and len(inputs[0].shape) == 2:
        count, width = inputs[0].shape
        if not isinstance(count, int) and isinstance(width, int):
            return inputs[0].name, _DTYPES[inputs[0].type], width
    raise EngineError(
        "the graph does not read one table of float or double [any, d]",
        where=f"its inputs: {named or 'none'}",
        mend="initial_types=[('rows', FloatTensorType([None, d]))]",
    )


def _scores(outputs: Sequence[onnxruntime.NodeArg]) -> str:
    """The output that holds scores: the only one of floats, or the one that is called probabilities."""
    floats: list[str] = [each.name for each in outputs if each.type in _DTYPES]
    named = [name for name in floats if "prob" in name.lower()]
    if len(named) == 1 or len(floats) == 1:
        return (named if len(named) == 1 else floats)[0]
    raise EngineError(
        "the graph has no one output of scores",
        where=f"its outputs: {', '.join(f'{each.name} {each.type}' for each in outputs)}",
        mend="convert with zipmap=False, and call the output 'probabilities'",
    )


def _threads(settings: Settings) -> int:
    unknown = sorted(set(settings) - set(OnnxRuntime.defaults))
    if unknown:
        raise EngineError(f"engine 'onnxruntime' has no setting {unknown[0]!r}", mend="threads")
    threads = settings.get("threads", OnnxRuntime.defaults["threads"])
    if type(threads) is not int or threads < 0:
        raise EngineError(f"setting 'threads' is {threads!r}, not a whole number of threads", mend="threads = 1")
    return threads


plugin = OnnxRuntime
