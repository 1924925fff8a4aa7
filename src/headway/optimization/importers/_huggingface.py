"""Read tokenizers and safetensors with their own libraries, and write sequence classifiers as ONNX graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors import SafetensorError
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from headway.core.errors import EngineError

OPSET = 17
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_MASKED = np.float32(-1e9)
_ACTIVATIONS = ("gelu", "relu")
_LAYOUTS: dict[str, dict[str, str]] = {
    "BertForSequenceClassification": {
        "embeddings": "bert.embeddings",
        "layer": "bert.encoder.layer.{}",
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "attended": "attention.output.dense",
        "attended_norm": "attention.output.LayerNorm",
        "inner": "intermediate.dense",
        "outer": "output.dense",
        "outer_norm": "output.LayerNorm",
        "head": "bert.pooler.dense",
        "head_activation": "Tanh",
        "n_layers": "num_hidden_layers",
        "n_heads": "num_attention_heads",
        "activation": "hidden_act",
    },
    "DistilBertForSequenceClassification": {
        "embeddings": "distilbert.embeddings",
        "layer": "distilbert.transformer.layer.{}",
        "query": "attention.q_lin",
        "key": "attention.k_lin",
        "value": "attention.v_lin",
        "attended": "attention.out_lin",
        "attended_norm": "sa_layer_norm",
        "inner": "ffn.lin1",
        "outer": "ffn.lin2",
        "outer_norm": "output_layer_norm",
        "head": "pre_classifier",
        "head_activation": "Relu",
        "n_layers": "n_layers",
        "n_heads": "n_heads",
        "activation": "activation",
    },
}
"""The names of the parts of each architecture, in its weights and in config.json."""


def open_tokenizer(path: Path, length: int) -> Tokenizer:
    """Return the tokenizer of a file, which pads and cuts every text to one length."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exceptions
        raise EngineError(
            f"the tokenizer cannot be read: {str(error).partition(chr(10))[0]}",
            where=str(path),
            hint="tokenizer.save_pretrained(FOLDER), with a fast tokenizer",
        ) from error
    tokenizer.enable_truncation(max_length=length)
    tokenizer.enable_padding(length=length)
    return tokenizer


def fixed_graph(path: Path, length: int, *, multilabel: bool) -> tuple[bytes, tuple[str, ...]]:
    """Return an exported graph for texts of one length, ending in probabilities, and the names of its inputs."""
    try:
        model = onnx.load(str(path))
    except Exception as error:  # the library has no common class for a damaged graph or missing weights
        raise EngineError(
            f"the graph cannot be read: {str(error).partition(chr(10))[0]}", where=str(path), hint="export it again"
        ) from error
    graph = model.graph
    inputs = tuple(port.name for port in graph.input)
    unknown = sorted(set(inputs) - set(_INPUTS))
    logits = next((port for port in graph.output if len(port.type.tensor_type.shape.dim) == 2), None)
    if unknown or logits is None or "input_ids" not in inputs:
        shown = ", ".join(f"{port.name} of {len(port.type.tensor_type.shape.dim)} dimensions" for port in graph.output)
        raise EngineError(
            f"the graph is not a classifier of texts: it reads {', '.join(inputs)} and answers {shown}",
            where=str(path),
            hint="optimum-cli export onnx --model FOLDER --task text-classification OUTPUT",
        )
    for port in graph.input:
        n_rows, tokens = port.type.tensor_type.shape.dim
        n_rows.dim_param = "n"
        tokens.dim_value = length
    logits.type.tensor_type.shape.dim[0].dim_param = "n"
    width = logits.type.tensor_type.shape.dim[1].dim_value
    del graph.value_info[:]
    name = logits.name
    if width != 1:
        node = helper.make_node("Sigmoid" if multilabel else "Softmax", [name], ["probabilities"])
        graph.node.append(node)
        name = "probabilities"
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width or "k"]))
    return model.SerializeToString(), inputs


def graph_of_weights(
    path: Path, config: Mapping[str, Any], architecture: str, length: int, *, multilabel: bool
) -> tuple[bytes, tuple[str, ...]]:
    """Return the ONNX graph of a sequence classifier in safetensors for texts of one length, and its inputs.

    Raises EngineError for a setting that is not known, a missing tensor, or one that nothing reads.
    """
    try:
        tensors = load_file(str(path))
    except (SafetensorError, OSError, TypeError, KeyError) as error:
        raise EngineError(
            f"the weights cannot be read: {error}", where=str(path), hint="float32 weights in one safetensors file"
        ) from error
    layout = _LAYOUTS[architecture]
    activation = config.get(layout["activation"], "gelu")
    if activation not in _ACTIVATIONS or config.get("position_embedding_type", "absolute") != "absolute":
        raise EngineError(
            f"the activation {activation!r}, or the positions of this model, are not known",
            where=f"{path.parent}; known activations: {', '.join(_ACTIVATIONS)}; positions: absolute",
            hint="optimum-cli export onnx --model FOLDER --task text-classification OUTPUT",
        )
    writer = _Writer({name: np.asarray(value, np.float32) for name, value in tensors.items()}, str(path))
    score = _classifier(writer, layout, config, length, activation)
    writer.expect_all_read()
    width = int(writer.tensors["classifier.bias"].shape[0])
    if width != 1:
        score = writer.node("Sigmoid" if multilabel else "Softmax", score)
    inputs = ("input_ids", "attention_mask")
    graph = helper.make_graph(
        [*writer.nodes, helper.make_node("Identity", [score], ["probabilities" if width != 1 else "score"])],
        architecture,
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", length]) for name in inputs],
        [helper.make_tensor_value_info("probabilities" if width != 1 else "score", TensorProto.FLOAT, ["n", width])],
        writer.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    return model.SerializeToString(), inputs


class _Writer:
    """Nodes and constants of a graph, with a record of the tensors that were read."""

    def __init__(self, tensors: Mapping[str, NDArray[np.float32]], where: str) -> None:
        self.tensors, self._where = tensors, where
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._read: set[str] = set()

    def tensor(self, name: str) -> NDArray[np.float32]:
        """Return a tensor of the weights."""
        if name not in self.tensors:
            raise EngineError(f"the weights lack {name!r}", where=self._where, hint="save the whole model again")
        self._read.add(name)
        return self.tensors[name]

    def expect_all_read(self) -> None:
        """Raise EngineError if the weights hold a tensor that no part of the architecture reads."""
        extra = sorted(name for name in set(self.tensors) - self._read if not name.endswith("position_ids"))
        if extra:
            raise EngineError(
                f"the weights hold {extra[0]!r}, which this architecture does not have",
                where=self._where,
                hint="optimum-cli export onnx --model FOLDER --task text-classification OUTPUT",
            )

    def constant(self, value: Any) -> str:
        """Add a constant; return its name."""
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        name = f"value_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def linear(self, rows: str, part: str) -> str:
        """Add a dense layer of the weights."""
        product = self.node("MatMul", rows, self.constant(self.tensor(f"{part}.weight").T))
        return self.node("Add", product, self.constant(self.tensor(f"{part}.bias")))

    def norm(self, rows: str, part: str, eps: float) -> str:
        """Add a layer normalization of the weights."""
        scale, shift = (self.constant(self.tensor(f"{part}.{name}")) for name in ("weight", "bias"))
        return self.node("LayerNormalization", rows, scale, shift, axis=-1, epsilon=eps)

    def activation(self, rows: str, kind: str) -> str:
        """Add the activation between two dense layers."""
        if kind == "relu":
            return self.node("Relu", rows)
        curve = self.node("Erf", self.node("Mul", rows, self.constant(np.float32(0.5**0.5))))
        return self.node(
            "Mul",
            self.node("Mul", rows, self.constant(np.float32(0.5))),
            self.node("Add", curve, self.constant(np.float32(1))),
        )


def _classifier(
    writer: _Writer, layout: Mapping[str, str], config: Mapping[str, Any], length: int, activation: str
) -> str:
    """Write the encoder and its head; return the name of the logits."""
    eps, heads = float(config.get("layer_norm_eps", 1e-12)), int(config[layout["n_heads"]])
    embeddings = layout["embeddings"]
    words = writer.constant(writer.tensor(f"{embeddings}.word_embeddings.weight"))
    added = writer.tensor(f"{embeddings}.position_embeddings.weight")[:length]
    if f"{embeddings}.token_type_embeddings.weight" in writer.tensors:
        added = added + writer.tensor(f"{embeddings}.token_type_embeddings.weight")[0]
    rows = writer.node("Add", writer.node("Gather", words, "input_ids"), writer.constant(added))
    rows = writer.norm(rows, f"{embeddings}.LayerNorm", eps)
    known = writer.node("Cast", "attention_mask", to=TensorProto.FLOAT)
    hidden = writer.node("Mul", writer.node("Sub", writer.constant(np.float32(1)), known), writer.constant(_MASKED))
    mask = writer.node("Unsqueeze", hidden, writer.constant(np.array([1, 2])))
    for index in range(int(config[layout["n_layers"]])):
        layer = layout["layer"].format(index)
        attended = _attention(
            writer, rows, mask, [f"{layer}.{layout[name]}" for name in ("query", "key", "value")], heads
        )
        attended = writer.linear(attended, f"{layer}.{layout['attended']}")
        rows = writer.norm(writer.node("Add", attended, rows), f"{layer}.{layout['attended_norm']}", eps)
        inner = writer.activation(writer.linear(rows, f"{layer}.{layout['inner']}"), activation)
        outer = writer.linear(inner, f"{layer}.{layout['outer']}")
        rows = writer.norm(writer.node("Add", outer, rows), f"{layer}.{layout['outer_norm']}", eps)
    first = writer.node("Gather", rows, writer.constant(np.array(0)), axis=1)
    pooled = writer.node(layout["head_activation"], writer.linear(first, layout["head"]))
    return writer.linear(pooled, "classifier")


def _attention(writer: _Writer, rows: str, mask: str, parts: Sequence[str], heads: int) -> str:
    """Write the attention of all heads over all tokens but the padding."""
    width = writer.tensor(f"{parts[0]}.weight").shape[0] // heads
    split, joined = writer.constant(np.array([0, 0, heads, width])), writer.constant(np.array([0, 0, heads * width]))
    query, key, value = (
        writer.node("Transpose", writer.node("Reshape", writer.linear(rows, part), split), perm=perm)
        for part, perm in zip(parts, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True)
    )
    scores = writer.node("Mul", writer.node("MatMul", query, key), writer.constant(np.float32(width**-0.5)))
    shares = writer.node("Softmax", writer.node("Add", scores, mask), axis=-1)
    merged = writer.node("Transpose", writer.node("MatMul", shares, value), perm=[0, 2, 1, 3])
    return writer.node("Reshape", merged, joined)
