"""ONNX Runtime on the CPU, for graphs that read a numeric table and return scores.

Settings: `threads` (threads inside an operator, default 1; 0 uses every core). Waiting threads do not spin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

from headway.core.arrays import Floats
from headway.core.contracts import ImportedModel, ModelFile
from headway.core.errors import EngineError, NotApplicable
from headway.core.record import Settings
from headway.core.threads import threads_of
from headway.engines.formats.external_data import require_embedded
from headway.engines.formats.onnx_ports import (
    CONVERT_HINT,
    Answer,
    Array,
    are_two_classes,
    graph_inputs,
    output_classes,
    score_array,
    score_outputs,
    side_by_side,
)

_FATAL_ONLY = 4
_KINDS: list[type[Exception]] = [
    kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)
]
# The library's exceptions have no common base class.
FAILURES: tuple[type[Exception], ...] = (RuntimeError, ValueError, *_KINDS)

onnxruntime.disable_telemetry_events()


class OnnxRuntime:
    """Engine for ONNX graphs; a classifier answers probabilities, of two classes that of the second.

    Several outputs of scores are answered side by side; `outputs` names them.
    """

    formats: ClassVar[tuple[str, ...]] = ("onnx",)
    files: ClassVar[tuple[str, ...]] = (".onnx",)
    defaults: ClassVar[Settings] = {"threads": 1}

    def __init__(self, content: bytes, settings: Settings) -> None:
        session = create_session(content, threads_of(settings, engine="onnxruntime", default=1))
        self._feeds, self.outputs = graph_inputs(session.get_inputs()), score_outputs(session.get_outputs())
        self.width, self.names = self._feeds.width, self._feeds.names
        # The inner session: `InferenceSession.run` validates its arguments in Python first, which costs 1.5 to 2 of the
        # 24 us of one row (300 trees, randomized order); here they were checked when the graph was opened.
        self._session = getattr(session, "_sess", session)
        self._table = self._feeds.table
        self.classes, self._columns = self._probe()
        two_classes = self._columns == 2 and are_two_classes(self._predict_all, self._feeds)
        self.first_column = 1 if two_classes else 0

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        """Import an ONNX file or an `onnx.ModelProto`, recognized by class name since onnx need not be installed."""
        file = cls.program(model)
        if file is None:
            what = f"{model.suffix} file" if isinstance(model, ModelFile) else type(model).__name__
            raise NotApplicable(f"a {what} is not an ONNX model")
        engine = cls(file.content, {})
        return ImportedModel(
            content=file.content,
            width=engine.width,
            names=engine.names,
            classes=engine.classes,
            outputs=engine.predict(np.zeros((1, engine.width))).shape[1],
        )

    @classmethod
    def program(cls, model: object) -> ModelFile | None:
        """Return the file of an ONNX model, None for another: its graph can loop, and runs when it is imported."""
        if isinstance(model, ModelFile):
            return model if model.suffix in cls.files else None
        kind = type(model)
        if kind.__name__ != "ModelProto" or not kind.__module__.startswith("onnx"):
            return None
        return ModelFile(content=model.SerializeToString(), suffix=cls.files[0])  # type: ignore[attr-defined]

    def predict(self, rows: Floats) -> Floats:
        """Compute scores float64 [n, k] for rows float64 [n, d], cast to the dtypes of the graph.

        Raises EngineError for rows of another width, for values that an integer input cannot represent, and if the
        library fails.
        """
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise EngineError(f"rows of shape {rows.shape}, the model reads [n, {self.width}]")
        return self._predict_all(rows)[:, self.first_column :].astype(np.float64, copy=False)

    def _predict_all(self, rows: Floats) -> Array:
        """Compute every column of the answers [n, k]."""
        if self._table:  # a shortcut: the general path adds a tenth to the time of one row through a small network
            with np.errstate(over="ignore"):
                answer = self._run({self._table[0]: rows.astype(self._table[1], copy=False)})
        else:
            answers = [self._run(feed)[:count] for feed, count in self._feeds.batches(rows)]
            answer = answers[0] if len(answers) == 1 else np.concatenate(answers)
        return answer.reshape(len(rows), self._columns)

    def _probe(self) -> tuple[tuple[str, ...], int]:
        """Run one row; return the classes that the graph names, and the number of columns of an answer."""
        [(feed, _)] = self._feeds.batches(np.zeros((1, self.width)))
        answers, rows = self._outputs_of(feed), self._feeds.batch_size or 1
        sizes = [score_array(answer).size for answer in answers]
        for name, size in zip(self.outputs, sizes, strict=True):
            if not size or size % rows:
                raise EngineError(
                    f"the graph answers {size} numbers for {rows} rows", where=f"output {name!r}", hint=CONVERT_HINT
                )
        return output_classes(answers[0]), sum(sizes) // rows

    def _run(self, feed: Mapping[str, Array]) -> Array:
        return side_by_side(self._outputs_of(feed))

    def _outputs_of(self, feed: Mapping[str, Array]) -> list[Answer]:
        try:
            answers: list[Answer] = self._session.run(self.outputs, feed, None)
        except FAILURES as error:
            raise EngineError(f"ONNX Runtime cannot run the graph: {error}", hint=CONVERT_HINT) from error
        return answers


def create_session(content: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = _FATAL_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")
    require_embedded(content)
    try:
        return onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"], enable_fallback=0)
    except FAILURES as error:
        raise _load_error(error) from error


def _load_error(error: Exception) -> EngineError:
    """Describe why the graph cannot be opened, with a hint for graphs older or newer than the library supports."""
    version = f"ONNX Runtime {onnxruntime.__version__}"
    if "Could not find an implementation" in str(error):
        return EngineError(
            f"{version} runs ONNX of opset 7 and later, and not this graph: {error}",
            hint="export it again with opset 17, or: "
            "onnx.save(onnx.version_converter.convert_version(onnx.load('old.onnx'), 17), 'model.onnx')",
        )
    if "IR version" in str(error) or "under development" in str(error):
        return EngineError(f"the graph is newer than {version}: {error}", hint="pip install --upgrade onnxruntime")
    return EngineError(
        f"these bytes are not a model that {version} can open: {error}",
        hint="onnx.checker.check_model(onnx.load('model.onnx'))",
    )


plugin = OnnxRuntime
