"""Read tokenizers and safetensors with their own libraries, and write sequence classifiers as ONNX graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import load_external_data_for_model
from safetensors import SafetensorError
from safetensors.numpy import load
from tokenizers import Tokenizer

from headway.core.errors import EngineError
from headway.optimization.importers.huggingface import JudgedFile

OPSET = 17
_AXES_ARE_INPUTS = 18
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


def open_tokenizer(file: JudgedFile, length: int) -> Tokenizer:
    """Return the tokenizer of a file, which pads and cuts every text to one length."""
    try:
        tokenizer = Tokenizer.from_str(file.content.decode())
    except Exception as error:  # the library raises plain Exceptions
        raise EngineError(
            f"the tokenizer cannot be read: {str(error).partition(chr(10))[0]}",
            where=str(file.path),
            hint="tokenizer.save_pretrained(FOLDER), with a fast tokenizer",
        ) from error
    tokenizer.enable_truncation(max_length=length)
    tokenizer.enable_padding(length=length)
    return tokenizer


def _open_graph(file: JudgedFile) -> onnx.ModelProto:
    """Return a graph with the values that it keeps in files next to it; raise EngineError if it cannot be read."""
    try:
        model = onnx.load_from_string(file.content)
        load_external_data_for_model(model, str(file.path.parent))
    except Exception as error:  # the library has no common class for a damaged graph or missing weights
        raise EngineError(
            f"the graph cannot be read: {str(error).partition(chr(10))[0]}",
            where=str(file.path),
            hint="export it again",
        ) from error
    return model


def fixed_graph(file: JudgedFile, length: int, *, multilabel: bool) -> tuple[bytes, tuple[str, ...]]:
    """Return an exported graph for texts of one length, ending in probabilities, and the names of its inputs."""
    model = _open_graph(file)
    graph = model.graph
    inputs = tuple(port.name for port in graph.input)
    unknown = sorted(set(inputs) - set(_INPUTS))
    logits = next((port for port in graph.output if len(port.type.tensor_type.shape.dim) == 2), None)
    if unknown or logits is None or "input_ids" not in inputs:
        shown = ", ".join(f"{port.name} of {len(port.type.tensor_type.shape.dim)} dimensions" for port in graph.output)
        raise EngineError(
            f"the graph is not a classifier of texts: it reads {', '.join(inputs)} and answers {shown}",
            where=str(file.path),
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
    file: JudgedFile, config: Mapping[str, Any], architecture: str, length: int, *, multilabel: bool
) -> tuple[bytes, tuple[str, ...]]:
    """Return the ONNX graph of a sequence classifier in safetensors for texts of one length, and its inputs.

    Raises EngineError for a setting that is not known, a missing tensor, or one that nothing reads.
    """
    tensors = load_tensors(file)
    layout = _LAYOUTS[architecture]
    activation = config.get(layout["activation"], "gelu")
    if activation not in _ACTIVATIONS or config.get("position_embedding_type", "absolute") != "absolute":
        raise EngineError(
            f"the activation {activation!r}, or the positions of this model, are not known",
            where=f"{file.path.parent}; known activations: {', '.join(_ACTIVATIONS)}; positions: absolute",
            hint="optimum-cli export onnx --model FOLDER --task text-classification OUTPUT",
        )
    writer = _Writer({name: np.asarray(value, np.float32) for name, value in tensors.items()}, str(file.path))
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

    def __init__(
        self, tensors: Mapping[str, NDArray[np.float32]], where: str, *, prefix: str = "", opset: int = OPSET
    ) -> None:
        self.tensors, self._where, self._prefix, self._opset = tensors, where, prefix, opset
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._read: set[str] = set()
        self._values = 0

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
        name = f"{self._prefix}constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        self._values += 1
        name = f"{self._prefix}value_{self._values}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def reduce(self, kind: str, rows: str, *, keepdims: int) -> str:
        """Add a reduction of the second axis."""
        if self._opset >= _AXES_ARE_INPUTS:
            return self.node(kind, rows, self.constant(np.array([1])), keepdims=keepdims)
        return self.node(kind, rows, axes=[1], keepdims=keepdims)

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


_SENTENCE_LAYOUTS = {
    "BertModel": ("BertForSequenceClassification", "bert.", 0),
    "RobertaModel": ("BertForSequenceClassification", "bert.", 1),
    "XLMRobertaModel": ("BertForSequenceClassification", "bert.", 1),
    "DistilBertModel": ("DistilBertForSequenceClassification", "distilbert.", 0),
}
"""The layout of each encoder, the prefix that its names lack, and whether positions begin after that of padding."""
_FUSED = "com.microsoft"
_EPS = 1e-12
_IDS = "input_ids"


def load_tensors(file: JudgedFile) -> dict[str, NDArray[Any]]:
    """Return the tensors of a safetensors file; raise EngineError if it cannot be read."""
    try:
        tensors: dict[str, NDArray[Any]] = load(file.content)
    except (SafetensorError, TypeError, KeyError) as error:
        raise EngineError(
            f"the weights cannot be read: {error}", where=str(file.path), hint="float32 weights in one safetensors file"
        ) from error
    return tensors


def vocabulary(tokenizer: bytes) -> dict[str, int]:
    """Return the id of each token of a tokenizer."""
    try:
        found: dict[str, int] = Tokenizer.from_str(tokenizer.decode()).get_vocab()
    except Exception as error:  # the library raises plain Exceptions
        raise EngineError(
            f"the tokenizer cannot be read: {str(error).partition(chr(10))[0]}",
            hint="tokenizer.save_pretrained(FOLDER), with a fast tokenizer",
        ) from error
    return found


def encoder_of_weights(
    file: JudgedFile,
    config: Mapping[str, Any],
    architecture: str,
    *,
    pooling: str,
    normalize: bool,
    dense: Sequence[JudgedFile],
) -> tuple[bytes, int]:
    """Return the ONNX graph from token ids to vectors of an encoder in safetensors, and the width of a vector.

    Products and normalizations are the fused operators of ONNX Runtime, which a general exporter does not write.
    """
    tensors = load_tensors(file)
    name, prefix, skips_padding = _SENTENCE_LAYOUTS[architecture]
    layout = {key: value.removeprefix(prefix) for key, value in _LAYOUTS[name].items()}
    activation = config.get(layout["activation"], "gelu")
    if activation not in _ACTIVATIONS or config.get("position_embedding_type", "absolute") != "absolute":
        raise EngineError(
            f"the activation {activation!r}, or the positions of this encoder, are not known",
            where=f"{file.path.parent}; known activations: {', '.join(_ACTIVATIONS)}; positions: absolute",
            hint="optimum-cli export onnx --model FOLDER --task feature-extraction OUTPUT",
        )
    if all(key.startswith(prefix) or "." not in key for key in tensors):
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    writer = _Writer({key: np.asarray(value, np.float32) for key, value in tensors.items()}, str(file.path))
    first = int(config.get("pad_token_id") or 0) + 1 if skips_padding else 0
    rows = _hidden(writer, layout, config, activation, first_position=first)
    width = int(writer.tensors[f"{layout['embeddings']}.word_embeddings.weight"].shape[1])
    vector = _pooled(writer, rows, pooling)
    for part in dense:
        inner = _Writer(load_tensors(part), str(part.path))
        weight, bias = inner.tensor("linear.weight"), inner.tensors.get("linear.bias")
        vector = writer.node("MatMul", vector, writer.constant(np.asarray(weight, np.float32).T))
        if bias is not None:
            vector = writer.node("Add", vector, writer.constant(np.asarray(bias, np.float32)))
        vector, width = writer.node("Tanh", vector), int(weight.shape[0])
    return _finish_encoder(writer, vector, width, normalize=normalize), width


def static_encoder(tensors: Mapping[str, NDArray[Any]], *, normalize: bool) -> tuple[bytes, int]:
    """Return the graph of static embeddings as model2vec stores them: the mean of the vectors of all tokens."""
    embeddings = np.asarray(tensors["embeddings"], np.float32)
    writer = _Writer({}, "")
    tokens = _IDS
    if "mapping" in tensors:
        tokens = writer.node("Gather", writer.constant(np.asarray(tensors["mapping"], np.int64)), _IDS)
    vectors = writer.node("Gather", writer.constant(embeddings), tokens)
    if "weights" in tensors:
        weights = writer.node("Gather", writer.constant(np.asarray(tensors["weights"], np.float32)), _IDS)
        vectors = writer.node("Mul", vectors, writer.node("Unsqueeze", weights, writer.constant(np.array([-1]))))
    pooled = _pooled(writer, vectors, "mean")
    return _finish_encoder(writer, pooled, embeddings.shape[1], normalize=normalize), embeddings.shape[1]


def encoder_of_graph(file: JudgedFile, *, pooling: str, normalize: bool) -> tuple[bytes, int]:
    """Return an exported graph as one from token ids to vectors, and the width of a vector."""
    model = _open_graph(file)
    graph = model.graph
    inputs = [port.name for port in graph.input]
    sizes = {port.name: port.type.tensor_type.shape.dim for port in graph.output}
    flat = next((name for name in ("sentence_embedding", *sizes) if len(sizes.get(name, ())) == 2), None)
    output = flat or next((name for name, shape in sizes.items() if len(shape) == 3), None)
    if set(inputs) - set(_INPUTS) or _IDS not in inputs or output is None:
        raise EngineError(
            f"the graph is not an encoder of texts: it reads {', '.join(inputs)} and answers {', '.join(sizes)}",
            where=str(file.path),
            hint="optimum-cli export onnx --model FOLDER --task feature-extraction OUTPUT",
        )
    width = sizes[output][-1].dim_value
    if not width:
        raise EngineError(
            "the graph does not say how wide its vectors are", where=str(file.path), hint="export it again"
        )
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), OPSET)
    writer = _Writer({}, str(file.path), prefix="headway_", opset=opset)
    for name in set(inputs) - {_IDS}:  # texts of one length have no padding
        value = numpy_helper.from_array(np.array([int(name == "attention_mask")], np.int64))
        shape = writer.node("Shape", _IDS)
        writer.nodes.append(helper.make_node("ConstantOfShape", [shape], [name], value=value))
    before, writer.nodes = writer.nodes, []
    vector = _normalized(writer, output if flat else _pooled(writer, output, pooling), normalize=normalize)
    nodes = [*before, *graph.node, *writer.nodes]
    ids = [port for port in graph.input if port.name == _IDS]
    ids[0].type.tensor_type.CopyFrom(
        helper.make_tensor_value_info(_IDS, TensorProto.INT64, ["n", "t"]).type.tensor_type
    )
    for field, items in (("node", nodes), ("input", ids)):
        copied = [type(item).FromString(item.SerializeToString()) for item in items]
        del getattr(graph, field)[:]
        getattr(graph, field).extend(copied)
    graph.initializer.extend(writer.initializers)
    del graph.output[:], graph.value_info[:]
    graph.output.append(helper.make_tensor_value_info(vector, TensorProto.FLOAT, ["n", width]))
    content: bytes = model.SerializeToString()
    return content, width


def _finish_encoder(writer: _Writer, vector: str, width: int, *, normalize: bool) -> bytes:
    answer = _normalized(writer, vector, normalize=normalize)
    graph = helper.make_graph(
        [*writer.nodes, helper.make_node("Identity", [answer], ["vector"])],
        "encoder",
        [helper.make_tensor_value_info(_IDS, TensorProto.INT64, ["n", "t"])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["n", width])],
        writer.initializers,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(_FUSED, 1)]
    content: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString(deterministic=True)
    return content


def _hidden(
    writer: _Writer, layout: Mapping[str, str], config: Mapping[str, Any], activation: str, *, first_position: int
) -> str:
    """Write all layers of an encoder; return the name of the vectors of the tokens (n, tokens, width)."""
    eps, heads = float(config.get("layer_norm_eps", _EPS)), int(config[layout["n_heads"]])
    embeddings = layout["embeddings"]
    positions = writer.tensor(f"{embeddings}.position_embeddings.weight")[first_position:]
    if f"{embeddings}.token_type_embeddings.weight" in writer.tensors:
        positions = positions + writer.tensor(f"{embeddings}.token_type_embeddings.weight")[0]
    words = writer.constant(writer.tensor(f"{embeddings}.word_embeddings.weight"))
    zero, one = writer.constant(np.array([0])), writer.constant(np.array([1]))
    length = writer.node("Slice", writer.node("Shape", _IDS), one, writer.constant(np.array([2])), zero)
    added = writer.node("Slice", writer.constant(positions), zero, length, zero)
    rows = writer.norm(writer.node("Add", writer.node("Gather", words, _IDS), added), f"{embeddings}.LayerNorm", eps)
    for index in range(int(config[layout["n_layers"]])):
        layer = layout["layer"].format(index)
        parts = [f"{layer}.{layout[name]}" for name in ("query", "key", "value")]
        weight = np.concatenate([writer.tensor(f"{part}.weight").T for part in parts], axis=1)
        bias = np.concatenate([writer.tensor(f"{part}.bias") for part in parts])
        attended = writer.node(
            "Attention", rows, writer.constant(weight), writer.constant(bias), domain=_FUSED, num_heads=heads
        )
        rows = _added_norm(
            writer, attended, rows, f"{layer}.{layout['attended']}", f"{layer}.{layout['attended_norm']}", eps
        )
        inner = writer.node("MatMul", rows, writer.constant(writer.tensor(f"{layer}.{layout['inner']}.weight").T))
        bias_name = writer.constant(writer.tensor(f"{layer}.{layout['inner']}.bias"))
        if activation == "relu":
            inner = writer.node("Relu", writer.node("Add", inner, bias_name))
        else:
            inner = writer.node("BiasGelu", inner, bias_name, domain=_FUSED)
        rows = _added_norm(writer, inner, rows, f"{layer}.{layout['outer']}", f"{layer}.{layout['outer_norm']}", eps)
    return rows


def _added_norm(writer: _Writer, rows: str, residual: str, dense: str, norm: str, eps: float) -> str:
    """Write a dense layer, the sum with its input's residual, and the normalization of the sum."""
    product = writer.node("MatMul", rows, writer.constant(writer.tensor(f"{dense}.weight").T))
    constants = [writer.tensor(f"{norm}.weight"), writer.tensor(f"{norm}.bias"), writer.tensor(f"{dense}.bias")]
    return writer.node(
        "SkipLayerNormalization", product, residual, *map(writer.constant, constants), domain=_FUSED, epsilon=eps
    )


def _pooled(writer: _Writer, rows: str, pooling: str) -> str:
    """Write the vector of a text from those of its tokens."""
    if pooling == "cls":
        return writer.node("Flatten", writer.node("Gather", rows, writer.constant(np.array([0])), axis=1))
    if pooling == "max":
        return writer.reduce("ReduceMax", rows, keepdims=0)
    return writer.reduce("ReduceMean", rows, keepdims=0)


def _normalized(writer: _Writer, vector: str, *, normalize: bool) -> str:
    """Write the vector at length 1, if it is to have that."""
    if not normalize:
        return vector
    length = writer.reduce("ReduceL2", vector, keepdims=1)
    return writer.node("Div", vector, writer.node("Max", length, writer.constant(np.float32(_EPS))))
