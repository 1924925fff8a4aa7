"""Sentence encoders: a tokenizer, an ONNX graph from tokens to a vector, and a model that reads the vectors.

Settings: `threads` (threads inside an operator of the graph, default 1; 0 uses every core), `runtime` of the graph
("onnxruntime" or "openvino"), and `precision` ("f32"; "bf16" with OpenVINO on a CPU that has instructions for it).

Texts of equal length are encoded together, so none is padded and no answer depends on the other texts of a batch. Equal
texts of a batch are encoded once. A text with more tokens than the encoder reads is cut there, as its library does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from headway.core.arrays import Floats
from headway.core.contracts import Engine, ImportedModel, ModelFile
from headway.core.errors import EngineError, NotApplicable
from headway.core.plugins import load_engine
from headway.core.record import Settings
from headway.core.texts import text_codes
from headway.core.threads import threads_of
from headway.engines.formats.encoder import ENCODER_MAGIC, IDS, REBUILD_HINT, split_encoder
from headway.engines.formats.nested import NESTED_MAGIC, split_models
from headway.engines.onnxruntime import FAILURES, create_session

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # no threads of its own: the server counts its cores

_TOKENS_A_RUN = 4_096
"""Tokens of one run of the graph: activations of more do not fit the caches of a core."""


class Encoder:
    """Engine for encoders, alone (its answers are the vectors) or before a model of another engine."""

    formats: ClassVar[tuple[str, ...]] = ("encoder",)
    files: ClassVar[tuple[str, ...]] = (".encoder",)
    defaults: ClassVar[Settings] = {"threads": 1, "runtime": "onnxruntime", "precision": "f32"}
    refuses_rows: ClassVar[bool] = True  # it raises for a row without a text, the only one that is refused

    def __init__(self, content: bytes, settings: Settings) -> None:
        self._head: Engine | None = None
        if content.startswith(NESTED_MAGIC):
            header, (content, head) = split_models(content, models=2)
            first, second = header.models
            if first.engine != "encoder" or second.engine == "encoder":
                raise EngineError("an encoder is followed by a model that reads its vectors", hint=REBUILD_HINT)
            self._head = load_engine(second.engine)(head, second.settings)
        self._header, tokenizer, graph = split_encoder(content)
        self._tokenizer = _open_tokenizer(tokenizer, max_tokens=self._header.max_tokens)
        self._graph = _open_graph(graph, settings)
        self.width = self._header.width
        self._run(np.zeros((1, 1), np.int64))
        if self._head is not None:
            self._head.predict(np.zeros((1, self.width)))

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        """Import the bytes of an encoder, which `headway.load_encoder` packs."""
        if not isinstance(model, ModelFile) or not model.content.startswith(ENCODER_MAGIC):
            raise NotApplicable(f"a {type(model).__name__} is not an encoder that headway packed")
        return ImportedModel(content=model.content, width=1, task="embedding", outputs=cls(model.content, {}).width)

    @classmethod
    def program(cls, model: object) -> ModelFile | None:
        """Return an encoder as a file: its graph can loop, and runs when it is opened."""
        return model if isinstance(model, ModelFile) and model.suffix in cls.files else None

    def predict(self, rows: Floats) -> Floats:
        """Compute scores, or the vectors, float64 [n, k] for rows float64 [n, 1], which have the numbers of texts.

        Raises EngineError for rows of another width, and for a row without a text.
        """
        if rows.ndim != 2 or rows.shape[1] != 1:
            raise EngineError(f"rows of shape {rows.shape}, the model reads [n, 1]")
        if len(rows) < 2:
            return self.predict_texts(text_codes.texts(rows[:, 0]))
        codes, index = np.unique(rows[:, 0], return_inverse=True)
        return self.predict_texts(text_codes.texts(codes))[index]

    def predict_cells(self, rows: Any, codes: tuple[Mapping[object, float] | None, ...]) -> Floats:
        """Compute what `predict` does for texts as a caller has them, without a table in between.

        Parameters
        ----------
        rows : list or ndarray of shape (n,)
            Strings.
        codes : tuple
            Not used: a text is no category.

        Raises
        ------
        TypeError
            For a row that is not a string.
        """
        if not all(isinstance(row, str) for row in rows):
            raise TypeError("a row is not a string")
        numbers: dict[str, int] = {}
        index = [numbers.setdefault(row, len(numbers)) for row in rows]
        return self.predict_texts(list(numbers))[index]

    def predict_texts(self, texts: Sequence[str | None]) -> Floats:
        """Compute what `predict` does, for texts."""
        vectors = self.encode(texts).astype(np.float64)
        return vectors if self._head is None else self._head.predict(vectors)

    def encode(self, texts: Sequence[str | None]) -> NDArray[Any]:
        """Compute the vectors of texts, (n, width), in the dtype of the graph; of an empty text perhaps zeros."""
        by_length: dict[int, list[int]] = {}
        tokens = self._tokens(texts)
        for index, ids in enumerate(tokens):
            by_length.setdefault(len(ids), []).append(index)
        vectors = np.zeros((len(texts), self._header.width), np.float32)
        for length, members in by_length.items():
            step = 1 if self._header.runs_alone else max(_TOKENS_A_RUN // max(length, 1), 1)
            for start in range(0, len(members) if length else 0, step):
                part = members[start : start + step]
                found = self._run(np.array([tokens[index] for index in part], np.int64))
                if found.dtype != vectors.dtype:
                    vectors = vectors.astype(found.dtype)
                vectors[part] = found
        return vectors

    def _tokens(self, texts: Sequence[str | None]) -> list[list[int]]:
        header = self._header
        limit, dropped = header.max_characters or None, header.dropped
        known = [text[:limit] for text in texts if text is not None]
        if len(known) < len(texts):
            raise EngineError("the encoder rejects a row without a text", hint="fill missing texts with ''")
        try:
            encoded = self._tokenizer.encode_batch_fast(known, add_special_tokens=header.special_tokens)
        except Exception as error:
            raise EngineError(f"the tokenizer cannot read a text: {error}", hint="texts without surrogates") from error
        if dropped < 0:
            return [text.ids for text in encoded]
        return [[token for token in text.ids if token != dropped] for text in encoded]

    def _run(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        vectors = self._graph(ids)
        if vectors.shape != (len(ids), self._header.width):
            raise EngineError(f"the graph answers {vectors.shape} for {len(ids)} texts", hint=REBUILD_HINT)
        return vectors


def _open_graph(graph: bytes, settings: Settings) -> Callable[[NDArray[np.int64]], NDArray[Any]]:
    """Return the function from token ids to vectors that a graph computes, in the runtime of the settings."""
    chosen = {name: settings.get(name, Encoder.defaults[name]) for name in ("runtime", "precision")}
    threads = threads_of(
        {name: value for name, value in settings.items() if name not in chosen}, engine="encoder", default=1
    )
    if chosen["runtime"] == "openvino":
        openvino: Any = load_engine("openvino")
        compute: Callable[[NDArray[np.int64]], NDArray[Any]] = openvino.compile_graph(
            graph, reads=IDS, threads=threads, precision=chosen["precision"]
        )
        return compute
    if chosen != {"runtime": "onnxruntime", "precision": "f32"}:
        raise EngineError(
            f"an encoder does not run in {chosen['runtime']!r} with precision {chosen['precision']!r}",
            hint="runtime = 'openvino'",
        )
    session = create_session(graph, threads)
    if [(port.name, port.type) for port in session.get_inputs()] != [(IDS, "tensor(int64)")]:
        raise EngineError("the graph of an encoder reads token ids only", hint=REBUILD_HINT)
    inner, output = getattr(session, "_sess", session), session.get_outputs()[0].name

    def run(ids: NDArray[np.int64]) -> NDArray[Any]:
        try:
            found: NDArray[Any] = inner.run([output], {IDS: ids}, None)[0]
        except FAILURES as error:
            raise EngineError(f"ONNX Runtime cannot run the encoder: {error}", hint=REBUILD_HINT) from error
        return found

    return run


def _open_tokenizer(content: bytes, *, max_tokens: int) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_str(content.decode())
        tokenizer.enable_truncation(max_length=max_tokens)
        tokenizer.no_padding()
    except Exception as error:  # the library raises plain Exceptions
        raise EngineError(
            f"the tokenizer cannot be read: {str(error).partition(chr(10))[0]}",
            hint="tokenizer.save_pretrained(FOLDER), with a fast tokenizer",
        ) from error
    return tokenizer


plugin = Encoder
