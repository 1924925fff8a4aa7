"""Sentence encoders are read from folders of sentence-transformers, Optimum and model2vec; nothing is fetched."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.optimization.importers import snapshots
from tests.optimization.text_variants import text_rows

import headway as hw
from headway.core.errors import EngineError, Refused
from headway.core.plugins import load_engine
from headway.engines.formats.encoder import split_encoder
from headway.optimization.importers.huggingface import read_encoder
from headway.optimization.importers.models import open_encoder

TEXTS = ["where is my parcel", "money back please", "late " * 20, "", "Unknown WORDS back"]
needs_libraries = [pytest.mark.slow, pytest.mark.services]


def vectors(folder: Path, texts: list[str] = TEXTS) -> np.ndarray:
    return load_engine("encoder")(read_encoder(folder)[0], {}).predict(text_rows(texts))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no encoder"),
        ({"config.json": "{}"}, "holds no encoder"),
        ({"config.json": '{"auto_map": {"AutoModel": "own.Model"}}', "tokenizer.json": "{}"}, "needs Python code"),
        ({"config.json": "{}", "tokenizer.json": "["}, "not JSON"),
    ],
)
def test_a_folder_without_an_encoder_is_refused_with_a_hint(files, message, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(EngineError, match=message) as refusal:
        hw.load_encoder(tmp_path)
    assert refusal.value.hint


class TestWithTheLibraries:
    """Tokenizers and safetensors are installed by the extra `encoders`."""

    pytestmark = needs_libraries

    @pytest.mark.parametrize("architecture", ["BertModel", "DistilBertModel"])
    @pytest.mark.parametrize("pooling", ["mean_tokens", "cls_token", "max_tokens"])
    def test_weights_answer_as_the_written_out_network(self, architecture, pooling, tmp_path):
        found = vectors(snapshots.write_encoder(tmp_path / "encoder", architecture, pooling=pooling))
        expected = snapshots.vectors(TEXTS, distil=architecture.startswith("Distil"), pooling=pooling)
        assert np.abs(found - expected).max() < 1e-5

    def test_a_vector_is_not_normalized_unless_the_folder_says_so(self, tmp_path):
        found = vectors(snapshots.write_encoder(tmp_path / "encoder", normalize=False))
        lengths = np.linalg.norm(found, axis=1)
        assert np.abs(lengths - 1).min() > 0.1
        assert np.abs(found / lengths[:, None] - snapshots.vectors(TEXTS)).max() < 1e-5

    @pytest.mark.parametrize("normalize", [False, True])
    @pytest.mark.parametrize("weights", [False, True])
    def test_static_embeddings_are_the_mean_of_the_known_tokens(self, weights, normalize, tmp_path):
        folder = snapshots.write_static(tmp_path / "static", weights=weights, normalize=normalize)
        tensors = import_module("safetensors.numpy").load_file(folder / "model.safetensors")
        index = tensors.get("mapping", np.arange(len(snapshots.WORDS)))
        table = tensors["embeddings"][index] * tensors.get("weights", np.ones(len(index)))[:, None]
        expected = table[[snapshots.WORDS.index(word) for word in ("my", "parcel")]].mean(0)
        expected = expected / np.linalg.norm(expected) if normalize else expected
        assert np.abs(vectors(folder, ["my unknown parcel"])[0] - expected).max() < 1e-6

    @pytest.mark.parametrize("opset", [17, 18])
    def test_an_exported_graph_is_pooled_without_padding(self, opset, tmp_path):
        folder = snapshots.write_encoder(tmp_path / "encoder", normalize=True)
        expected = vectors(folder)
        _export(folder, opset)
        assert np.abs(vectors(folder) - expected).max() < 1e-5

    def test_a_graph_with_a_loop_without_an_end_is_unsafe(self, tmp_path):
        folder = snapshots.write_encoder(tmp_path / "encoder")
        _export(folder, 17, endless=True)
        with pytest.raises(Refused, match="a loop without an end"):
            open_encoder(folder)

    @pytest.mark.parametrize(
        ("file", "content", "message"),
        [
            ("modules.json", [{"path": "", "type": "own.Module"}], "a module that is not known"),
            ("modules.json", [{"path": "../up", "type": "models.Pooling"}], "a module that is not known"),
            ("1_Pooling/config.json", {"pooling_mode_lasttoken": True}, "pooling 'pooling_mode_lasttoken'"),
            ("config.json", {**snapshots.config("BertModel"), "hidden_act": "swish"}, "activation 'swish'"),
            ("config.json", {**snapshots.config("BertModel"), "architectures": ["Own"]}, "architecture: Own"),
        ],
    )
    def test_what_is_not_known_is_named(self, file, content, message, tmp_path):
        folder = snapshots.write_encoder(tmp_path / "encoder")
        (folder / file).write_text(json.dumps(content))
        with pytest.raises(EngineError, match=message) as refusal:
            read_encoder(folder)
        assert refusal.value.hint


def _export(folder: Path, opset: int, *, endless: bool = False) -> None:
    """Replace the weights of an encoder by a graph as Optimum exports it, with an attention mask."""
    content = split_encoder(read_encoder(folder)[0])[2]
    model = onnx.load_from_string(content)
    graph = model.graph
    at = next(number for number, node in enumerate(graph.node) if node.op_type == "ReduceMean")
    hidden = graph.node[at].input[0]
    del graph.node[at:]
    graph.node.append(onnx.helper.make_node("Cast", ["attention_mask"], ["mask"], to=onnx.TensorProto.FLOAT))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1], np.int64), "last"))
    graph.node.append(onnx.helper.make_node("Unsqueeze", ["mask", "last"], ["column"]))
    if endless:
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "yes"))
        graph.node.append(onnx.helper.make_node("Loop", ["", "yes", "column"], ["looped"], body=_goes_on()))
    graph.node.append(onnx.helper.make_node("Mul", [hidden, "looped" if endless else "column"], ["last_hidden_state"]))
    graph.input.append(
        onnx.helper.make_tensor_value_info("attention_mask", onnx.TensorProto.INT64, ["n", "t"]),
    )
    del graph.output[:]
    shape = ["n", "t", snapshots.WIDTH]
    graph.output.append(onnx.helper.make_tensor_value_info("last_hidden_state", onnx.TensorProto.FLOAT, shape))
    model.opset_import[0].version = opset
    (folder / "model.safetensors").unlink()
    onnx.save(model, folder / "model.onnx")


def _goes_on() -> onnx.GraphProto:
    """The body of a loop that never ends."""
    make, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    kinds = onnx.TensorProto
    return onnx.helper.make_graph(
        [make("Identity", ["go"], ["going"]), make("Identity", ["v"], ["next"])],
        "body",
        [info("i", kinds.INT64, []), info("go", kinds.BOOL, []), info("v", kinds.FLOAT, None)],
        [info("going", kinds.BOOL, []), info("next", kinds.FLOAT, None)],
    )
