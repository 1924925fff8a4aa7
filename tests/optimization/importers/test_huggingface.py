"""Snapshots in the layout of the Hugging Face Hub are opened from their folder, without a network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from tests.engines.graphs import DOUBLE, graph
from tests.house.source_tree import ROOT
from tests.optimization.importers import snapshots
from tests.serving.client_environments import environment

import headway as hw
from headway.core.errors import DataError, EngineError, Refused
from headway.engines.onnxruntime import OnnxRuntime
from headway.optimization.importers import huggingface
from headway.optimization.importers.huggingface import open_text_model
from headway.optimization.importers.models import import_fitted_model, open_model_file
from headway.scanning.files import refuse_unsafe

TEXTS = ["where is my parcel", "money back please", "late " * 20, "", "Unknown WORDS back"]
BOTH = ["BertForSequenceClassification", "DistilBertForSequenceClassification"]
TRANSFORMERS = ("torch>=2.9", "transformers==5.23.0")
needs_libraries = [pytest.mark.slow, pytest.mark.services]


def answers(folder: Path, texts: list[str] = TEXTS) -> np.ndarray:
    opened = open_text_model(folder)
    return OnnxRuntime(opened.model.content, {}).predict(opened.rows(texts))


def sklearn_snapshot(folder: Path, *, file: str = "model.skops") -> Path:
    rows = np.random.default_rng(0).normal(size=(50, 2))
    estimator = LogisticRegression().fit(rows, (rows[:, 0] > 0).astype(int))
    (folder / "model.skops").write_bytes(skops.io.dumps(estimator))
    section = {"columns": ["wind", "rain"], "model": {"file": file}, "model_format": "skops"}
    (folder / "config.json").write_text(json.dumps({"sklearn": section}))
    return folder


def test_a_model_of_scikit_learn_is_opened_with_the_columns_of_its_snapshot(tmp_path):
    found = import_fitted_model(open_model_file(sklearn_snapshot(tmp_path)))
    assert (found.engine, found.names) == ("sklearn", ("wind", "rain"))
    with pytest.raises(DataError, match="columns that the table lacks: rain"):
        hw.evaluate(tmp_path, pl.DataFrame({"wind": [0.1, 0.2]}), [0, 1])


def test_a_file_outside_the_snapshot_or_a_pickle_is_not_opened(tmp_path):
    with pytest.raises(EngineError, match="names no model file"):
        open_model_file(sklearn_snapshot(tmp_path, file="../model.skops"))
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04N.")
    with pytest.raises(Refused, match="can run code"):
        open_model_file(sklearn_snapshot(tmp_path, file="model.pkl"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.onnx", "onnx/model.onnx"])
def test_a_graph_that_reads_a_table_is_opened(name, tmp_path):
    nodes = [onnx.helper.make_node("ReduceSum", ["rows", "axis"], ["scores"], keepdims=1)]
    content = graph(nodes, [("rows", DOUBLE, [None, 3])], [("scores", DOUBLE, [None, 1])], {"axis": np.array([1])})
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    (tmp_path / "config.json").write_text("{}")
    assert import_fitted_model(open_model_file(tmp_path)).width == 3


@pytest.mark.parametrize("tokenizer", [False, True])
def test_a_pickle_of_weights_is_refused_with_a_hint_and_not_read(tokenizer, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["BertForSequenceClassification"]}))
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04harm")
    if tokenizer:
        (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(EngineError, match=r"the weights are a pickle \(pytorch_model.bin\)") as refusal:
        open_text_model(tmp_path) if tokenizer else open_model_file(tmp_path)
    assert "safe_serialization=True" in refusal.value.hint and "optimum-cli" in refusal.value.hint


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, r"no engine opens this snapshot \(architecture: LlamaForCausalLM\)"),
        ({"auto_map": {"AutoModel": "modeling.Own"}}, "needs Python code that came with it"),
        ("{", "config.json cannot be read"),
    ],
)
def test_what_cannot_be_opened_is_named(config, message, tmp_path):
    (tmp_path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(EngineError, match=message):
        open_text_model(tmp_path)


def test_texts_need_the_python_call(tmp_path):
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(EngineError, match="reads texts") as refusal:
        open_model_file(tmp_path)
    assert "hw.optimize(folder, texts, labels)" in refusal.value.hint


class TestWithTheLibraries:
    """Tokenizers and safetensors are installed by the extra `huggingface`."""

    pytestmark = needs_libraries

    @pytest.mark.parametrize("architecture", BOTH)
    def test_weights_in_safetensors_answer_as_the_written_out_network(self, architecture, tmp_path):
        found = answers(snapshots.write(tmp_path / "snapshot", architecture))
        expected = snapshots.probabilities(TEXTS, distil=architecture.startswith("Distil"))
        assert np.abs(found - expected).max() < 1e-5

    @pytest.mark.long
    def test_snapshots_of_transformers_answer_as_transformers(self, tmp_path):
        """The library, which brings torch, makes snapshots and answers texts in an environment of its own."""
        with environment(*TRANSFORMERS) as around:
            around.run("python", str(ROOT / "tests/optimization/importers/transformers_snapshots.py"), str(tmp_path))
        names = sorted(path.name for path in tmp_path.iterdir())
        assert len(names) == 6
        for name in names:
            reply = json.loads((tmp_path / name / "answers.json").read_text())
            found, expected = answers(tmp_path / name, reply["texts"]), np.array(reply["answers"])
            of_columns = expected[:, -found.shape[1] :]  # an engine answers the second of two classes alone
            assert np.abs(found - of_columns).max() < 1e-5 < np.ptp(of_columns, axis=0).min(), name

    def test_labels_that_do_not_exclude_each_other_are_probabilities_of_their_own(self, tmp_path):
        folder = snapshots.write(tmp_path / "snapshot", problem_type="multi_label_classification")
        of_classes = snapshots.probabilities(TEXTS)
        odds = answers(folder) / (1 - answers(folder))
        np.testing.assert_allclose(odds / odds.sum(1, keepdims=True), of_classes, atol=1e-5)
        assert np.abs(answers(folder).sum(1) - 1).min() > 1e-3

    def test_an_exported_graph_is_cut_to_the_length_of_its_tokenizer(self, tmp_path):
        folder = snapshots.write(tmp_path / "snapshot")
        model = onnx.load_from_string(open_text_model(folder).model.content)
        for port in model.graph.input:  # as Optimum exports it: any length, and logits
            port.type.tensor_type.shape.dim[1].dim_param = "tokens"
        softmax = next(node for node in model.graph.node if node.op_type == "Softmax" and node is model.graph.node[-2])
        logits, output = softmax.input[0], onnx.helper.make_tensor_value_info("logits", 1, ["n", 3])
        del model.graph.node[-2:], model.graph.output[:]
        model.graph.node.append(onnx.helper.make_node("Identity", [logits], ["logits"]))
        model.graph.output.append(output)
        (folder / "onnx").mkdir()
        onnx.save(model, folder / "onnx" / "model.onnx")
        (folder / "model.safetensors").unlink()
        assert np.abs(answers(folder) - snapshots.probabilities(TEXTS)).max() < 1e-5

    def test_texts_go_in_and_the_tokenizer_stays_in_python(self, tmp_path):
        draw = np.random.default_rng(1)
        texts = [" ".join(draw.choice(snapshots.WORDS[4:], draw.integers(1, 9))) for _ in range(300)]
        labels = snapshots.probabilities(texts).argmax(1)
        table = pl.DataFrame({"text": texts, "day": np.arange(300) // 10})
        folder = snapshots.write(tmp_path / "snapshot")
        best = hw.optimize(str(folder), table, labels, groups="day", budget="10s", transforms=["threads"])
        assert best.native == (str(folder / "tokenizer.json"),)
        found = best.predict_proba(texts[:9])
        assert np.abs(found - snapshots.probabilities(texts[:9])).max() < 1e-5
        with pytest.raises(Refused, match="data only"):
            best.release(folder=tmp_path / "project")
        with pytest.raises(DataError, match="one column of texts, and the table has 2: text, day"):
            hw.evaluate(folder, table, labels)
        with pytest.raises(DataError, match="None is not a text"):
            hw.evaluate(folder, [None, *texts[1:]], labels)

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"hidden_act": "swish"}, "the activation 'swish'"),
            ({"position_embedding_type": "relative_key"}, "positions of this model"),
            ({"num_hidden_layers": 3}, "the weights lack 'bert.encoder.layer.2"),
            ({"num_hidden_layers": 1}, "the weights hold 'bert.encoder.layer.1"),
            ({"max_position_embeddings": None}, None),
        ],
    )
    def test_another_network_than_the_weights_is_an_error(self, changed, message, tmp_path):
        folder = snapshots.write(tmp_path / "snapshot", **changed)
        if message is None:
            (folder / "tokenizer_config.json").unlink()
            message = "does not say how many tokens"
        with pytest.raises(EngineError, match=message):
            open_text_model(folder)

    @pytest.mark.parametrize("file", ["tokenizer.json", "model.safetensors"])
    def test_a_damaged_file_is_an_error(self, file, tmp_path):
        folder = snapshots.write(tmp_path / "snapshot")
        (folder / file).write_bytes(b"{damaged")
        with pytest.raises(EngineError, match="cannot be read"):
            open_text_model(folder)

    def test_a_file_that_changes_once_it_is_judged_is_not_read_again(self, tmp_path, monkeypatch):
        folder = snapshots.write(tmp_path / "snapshot")
        expected = answers(folder)

        def judge_and_change(content: bytes, *, name: str, shown: str) -> object:
            verdict = refuse_unsafe(content, name=name, shown=shown)
            Path(shown).write_bytes(b"{changed")
            return verdict

        monkeypatch.setattr(huggingface, "refuse_unsafe", judge_and_change)
        assert (answers(folder) == expected).all()
        assert (folder / "tokenizer.json").read_bytes() == (folder / "model.safetensors").read_bytes() == b"{changed"

    def test_a_graph_that_is_not_a_classifier_is_refused(self, tmp_path):
        folder = snapshots.write(tmp_path / "snapshot")
        nodes = [onnx.helper.make_node("Identity", ["rows"], ["scores"])]
        content = graph(nodes, [("rows", DOUBLE, [None, 3])], [("scores", DOUBLE, [None, 3])])
        (folder / "model.onnx").write_bytes(content)
        with pytest.raises(EngineError, match="not a classifier of texts: it reads rows"):
            open_text_model(folder)
        (folder / "model.onnx").write_bytes(b"no graph")
        with pytest.raises(EngineError, match="the graph cannot be read"):
            open_text_model(folder)
