"""Engine `encoder`: vectors of texts do not depend on their batch, and damaged artifacts are refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from msgspec.structs import replace
from tests.engines import encoders
from tests.optimization.importers import snapshots
from tests.optimization.text_variants import text_rows

from headway.core.contracts import ModelFile
from headway.core.errors import EngineError, NotApplicable, PluginError
from headway.core.plugins import load_engine
from headway.engines.formats.encoder import pack_encoder, split_encoder
from headway.engines.formats.nested import NestedHeader, NestedModel, pack_models

pytestmark = [pytest.mark.slow, pytest.mark.services]

TEXTS = ["where is my parcel", "money back please", "late " * 20, "", "Unknown WORDS back", "where is my parcel"]


def opened(content, **settings):
    return load_engine("encoder")(content, settings)


def test_vectors_do_not_depend_on_the_other_texts_of_a_batch():
    engine = opened(encoders.bert())
    together = engine.predict(text_rows(TEXTS))
    alone = np.concatenate([engine.predict(text_rows([text])) for text in TEXTS])
    assert np.abs(together - alone).max() < 1e-6
    assert np.array_equal(together[0], together[-1])
    assert np.abs(together - snapshots.vectors(TEXTS)).max() < 1e-5


def test_an_unknown_token_is_left_out_of_static_embeddings_and_no_token_is_zeros():
    engine = opened(encoders.static_encoder())
    found = engine.predict(text_rows(["late please", "unknown late please", "", "unknown"]))
    assert np.array_equal(found[0], found[1]) and not found[2:].any()


def test_many_texts_are_encoded_in_several_runs():
    engine, texts = opened(encoders.bert()), [f"late {word}" for word in snapshots.WORDS[4:]]
    many = text_rows([f"{text} x{number}" for number in range(300) for text in texts])
    assert np.abs(engine.predict(many).reshape(300, len(texts), -1) - engine.predict(many[: len(texts)])).max() < 1e-6


def test_a_row_without_a_text_and_rows_of_another_width_are_rejected():
    engine = opened(encoders.static_encoder())
    with pytest.raises(EngineError, match="without a text"):
        engine.predict(np.array([[np.nan]]))
    with pytest.raises(EngineError, match="rows of shape"):
        engine.predict(np.zeros((2, 2)))


def test_texts_of_a_caller_are_answered_as_rows_of_numbers_are():
    engine = opened(encoders.bert())
    expected = engine.predict(text_rows(TEXTS))
    for rows in (TEXTS, np.array(TEXTS), np.array(TEXTS, dtype=object)):
        assert np.abs(engine.predict_cells(rows, (None,)) - expected).max() < 1e-6
    for rows in ([*TEXTS, None], [1.5], [TEXTS]):
        with pytest.raises(TypeError, match="not a string"):
            engine.predict_cells(rows, (None,))


def test_a_file_of_an_encoder_is_imported_and_another_is_not():
    engine, content = load_engine("encoder"), encoders.static_encoder()
    file = ModelFile(content=content, suffix=".encoder")
    assert engine.program(file) is file and engine.program(ModelFile(content=b"", suffix=".onnx")) is None
    found = engine.import_model(file)
    assert (found.width, found.outputs, found.task) == (1, 5, "embedding")
    with pytest.raises(NotApplicable):
        engine.import_model(ModelFile(content=b"other", suffix=".encoder"))


def test_artifacts_that_do_not_fit_are_refused():
    content = encoders.static_encoder()
    header, tokenizer, graph = split_encoder(content)
    for wrong, message in (
        (pack_encoder(replace(header, width=4), tokenizer, graph), "the graph answers"),
        (pack_encoder(replace(header, tokenizer_bytes=2), b"{}", graph), "tokenizer cannot be read"),
        (_before("encoder", content, content), "followed by a model"),
        (_before("sklearn", content, content), "skops"),
    ):
        with pytest.raises(EngineError, match=message):
            opened(wrong)


def test_a_text_that_has_no_utf8_is_refused():
    with pytest.raises(EngineError, match="tokenizer cannot read"):
        opened(encoders.static_encoder()).predict(text_rows(["\ud800"]))


def _before(engine: str, first: bytes, second: bytes) -> bytes:
    models = (NestedModel(engine="encoder", size_bytes=len(first)), NestedModel(engine=engine, size_bytes=len(second)))
    return pack_models(NestedHeader(models=models), first, second)


def test_a_runtime_or_precision_that_is_absent_is_refused_by_name(monkeypatch):
    with pytest.raises(EngineError, match="does not run in 'onnxruntime' with precision 'bf16'"):
        opened(encoders.bert(), precision="bf16")
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "headway.engines.openvino", raising=False)
    with pytest.raises(PluginError, match="engine 'openvino' needs 'openvino'"):
        opened(encoders.bert(), runtime="openvino")
