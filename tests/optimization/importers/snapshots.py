"""Small snapshots in the layout of the Hugging Face Hub, made here with weights from a fixed seed."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "where", "is", "my", "parcel", "refund", "money", "back", "late", "please"]
WIDTH, HEADS, INNER, LAYERS, LENGTH = 16, 4, 32, 2, 12
Weights = dict[str, NDArray[np.float32]]


def bert_weights(classes: int = 3) -> Weights:
    """The weights of a BERT classifier of two layers, as `save_pretrained` names them."""
    draw = np.random.default_rng(0)
    found: Weights = {}

    def dense(name: str, out: int, width: int) -> None:
        found[f"{name}.weight"] = draw.normal(0, 0.4, (out, width)).astype(np.float32)
        found[f"{name}.bias"] = draw.normal(0, 0.1, out).astype(np.float32)

    def norm(name: str) -> None:
        found[f"{name}.weight"] = draw.uniform(0.5, 1.5, WIDTH).astype(np.float32)
        found[f"{name}.bias"] = draw.normal(0, 0.1, WIDTH).astype(np.float32)

    for name, rows in (("word", len(WORDS)), ("position", LENGTH), ("token_type", 2)):
        table = draw.normal(0, 1, (rows, WIDTH)).astype(np.float32)
        found[f"bert.embeddings.{name}_embeddings.weight"] = table
    norm("bert.embeddings.LayerNorm")
    for index in range(LAYERS):
        layer = f"bert.encoder.layer.{index}"
        for part in ("query", "key", "value"):
            dense(f"{layer}.attention.self.{part}", WIDTH, WIDTH)
        dense(f"{layer}.attention.output.dense", WIDTH, WIDTH)
        norm(f"{layer}.attention.output.LayerNorm")
        dense(f"{layer}.intermediate.dense", INNER, WIDTH)
        dense(f"{layer}.output.dense", WIDTH, INNER)
        norm(f"{layer}.output.LayerNorm")
    dense("bert.pooler.dense", WIDTH, WIDTH)
    dense("classifier", classes, WIDTH)
    return found


_TO_DISTILBERT = {
    "bert.embeddings": "distilbert.embeddings",
    "bert.encoder": "distilbert.transformer",
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    ".output.dense": ".ffn.lin2",
    ".output.LayerNorm": ".output_layer_norm",
    "bert.pooler.dense": "pre_classifier",
}


def distilbert_weights() -> Weights:
    """The same weights, named as DistilBERT names them; it has no types of tokens."""
    found: Weights = {}
    for name, value in bert_weights().items():
        if "token_type" in name:
            continue
        for old, new in _TO_DISTILBERT.items():
            name = name.replace(old, new) if new not in name else name
        found[name] = value
    return found


def config(architecture: str) -> dict[str, Any]:
    """`config.json` of a snapshot."""
    if architecture.startswith("Distil"):
        sizes = {"dim": WIDTH, "n_heads": HEADS, "n_layers": LAYERS, "hidden_dim": INNER, "activation": "gelu"}
    else:
        sizes = {
            "hidden_size": WIDTH,
            "num_attention_heads": HEADS,
            "num_hidden_layers": LAYERS,
            "intermediate_size": INNER,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-12,
        }
    return {"architectures": [architecture], "max_position_embeddings": LENGTH, "pad_token_id": 0, **sizes}


def write(folder: Path, architecture: str = "BertForSequenceClassification", **changed: Any) -> Path:
    """Write a snapshot with safetensors and a tokenizer; `changed` are settings of `config.json`."""
    folder.mkdir(exist_ok=True)
    weights = distilbert_weights() if architecture.startswith("Distil") else bert_weights()
    import_module("safetensors.numpy").save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({**config(architecture), **changed}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 512}))
    write_tokenizer(folder)
    return folder


def write_tokenizer(folder: Path) -> None:
    """Write `tokenizer.json`: words in small letters between [CLS] and [SEP]."""
    library, models = import_module("tokenizers"), import_module("tokenizers.models")
    tokenizer = library.Tokenizer(
        models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = import_module("tokenizers.normalizers").Lowercase()
    tokenizer.pre_tokenizer = import_module("tokenizers.pre_tokenizers").Whitespace()
    tokenizer.post_processor = import_module("tokenizers.processors").TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))


def token_ids(text: str) -> list[int]:
    """The ids of a text, without padding."""
    words = [WORDS.index(word) if word in WORDS else 1 for word in text.lower().split()]
    return [2, *words[: LENGTH - 2], 3]


def probabilities(texts: list[str], *, distil: bool = False) -> NDArray[np.float64]:
    """What the classifier answers, written out with NumPy in float64, one text after the other, without padding."""
    return np.stack([_softmax(_logits(token_ids(text), bert_weights(), distil)) for text in texts])


def write_encoder(
    folder: Path, architecture: str = "BertModel", *, pooling: str = "mean_tokens", normalize: bool = True
) -> Path:
    """Write an encoder as sentence-transformers saves it; it reads at most 8 tokens."""
    folder.mkdir(exist_ok=True)
    distil = architecture.startswith("Distil")
    weights = distilbert_weights() if distil else bert_weights()
    prefix = "distilbert." if distil else "bert."
    kept = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    import_module("safetensors.numpy").save_file(kept, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config(architecture)))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 8}))
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), *([("2_Normalize", "Normalize")] if normalize else [])]
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{pooling}": True}))
    write_tokenizer(folder)
    return folder


def write_static(folder: Path, *, weights: bool = False, normalize: bool = False) -> Path:
    """Write static embeddings as model2vec saves them, with weights of tokens and shared rows if `weights`."""
    folder.mkdir(exist_ok=True)
    tensors: Weights = {"embeddings": np.random.default_rng(1).normal(size=(len(WORDS), 5)).astype(np.float32)}
    if weights:
        tensors["weights"] = np.linspace(0.1, 1, len(WORDS)).astype(np.float32)
        tensors["mapping"] = (np.arange(len(WORDS)) // 2).astype(np.int32)
    import_module("safetensors.numpy").save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": normalize}))
    write_tokenizer(folder)
    return folder


def vectors(texts: list[str], *, distil: bool = False, pooling: str = "mean_tokens") -> NDArray[np.float64]:
    """What the encoder answers, written out with NumPy in float64, at length 1."""
    pooled = []
    for text in texts:
        rows = _hidden([*token_ids(text)[:-1][:7], 3], bert_weights(), distil)
        vector = {"mean_tokens": rows.mean(0), "cls_token": rows[0], "max_tokens": rows.max(0)}[pooling]
        pooled.append(vector / np.linalg.norm(vector))
    return np.stack(pooled)


def _dense(w: Any, rows: Any, name: str) -> Any:
    return rows @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _logits(ids: list[int], weights: Weights, distil: bool) -> NDArray[np.float64]:
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    pooled = _dense(w, _hidden(ids, weights, distil)[0], "bert.pooler.dense")
    return _dense(w, np.maximum(pooled, 0) if distil else np.tanh(pooled), "classifier")


def _hidden(ids: list[int], weights: Weights, distil: bool) -> NDArray[np.float64]:
    """The vectors of the tokens after the last layer."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}

    def dense(rows: Any, name: str) -> Any:
        return _dense(w, rows, name)

    def norm(rows: Any, name: str) -> Any:
        centred = rows - rows.mean(-1, keepdims=True)
        return centred / np.sqrt(rows.var(-1, keepdims=True) + 1e-12) * w[f"{name}.weight"] + w[f"{name}.bias"]

    erf = np.vectorize(import_module("math").erf)
    embeddings = "bert.embeddings"
    rows = w[f"{embeddings}.word_embeddings.weight"][ids] + w[f"{embeddings}.position_embeddings.weight"][: len(ids)]
    rows = rows + (0 if distil else w[f"{embeddings}.token_type_embeddings.weight"][0])
    rows = norm(rows, f"{embeddings}.LayerNorm")
    for index in range(LAYERS):
        layer, size = f"bert.encoder.layer.{index}", WIDTH // HEADS
        query, key, value = (dense(rows, f"{layer}.attention.self.{part}") for part in ("query", "key", "value"))
        heads = []
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            scores = query[:, part] @ key[:, part].T / np.sqrt(size)
            heads.append(np.stack([_softmax(row) for row in scores]) @ value[:, part])
        attended = dense(np.concatenate(heads, -1), f"{layer}.attention.output.dense")
        rows = norm(attended + rows, f"{layer}.attention.output.LayerNorm")
        inner = dense(rows, f"{layer}.intermediate.dense")
        inner = 0.5 * inner * (1 + erf(inner / np.sqrt(2)))
        rows = norm(dense(inner, f"{layer}.output.dense") + rows, f"{layer}.output.LayerNorm")
    return rows


def _softmax(values: Any) -> Any:
    found = np.exp(values - values.max())
    return found / found.sum()
