"""Open a snapshot in the layout of the Hugging Face Hub: a folder with `config.json`; nothing is fetched.

- A model of scikit-learn as skops writes it (`config.json` names the file and the columns).
- An ONNX graph (`model.onnx` or `onnx/model.onnx`, as Optimum exports it), with a tokenizer if it reads texts.
- Weights in safetensors of a BERT or DistilBERT sequence classifier with its tokenizer: written as an ONNX graph.

Weights as pickles (`pytorch_model.bin`) are refused, and so is code that came with a model (`auto_map`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from headway.core.arrays import Floats
from headway.core.contracts import DeclaredColumn, ModelFile, ModelSource
from headway.core.errors import DataError, EngineError, PluginError
from headway.core.plugins import load_sibling
from headway.engines.formats.encoder import EncoderHeader, check_tokenizer, pack_encoder
from headway.optimization.importers.custom_python import CustomModel, PrefixedModel
from headway.scanning.files import refuse_unsafe

CONFIG, TOKENIZER, WEIGHTS = "config.json", "tokenizer.json", "model.safetensors"
GRAPHS = ("model.onnx", "onnx/model.onnx")
PICKLES = ("pytorch_model.bin", "model.bin", "pytorch_model.bin.index.json")
INSTALL = "pip install 'headway[huggingface]'"
_SHARDS = "model.safetensors.index.json"
_EXPORT = "optimum-cli export onnx --model FOLDER --task text-classification OUTPUT, and pass OUTPUT"
_CONVERT = "safetensors: model.save_pretrained(FOLDER, safe_serialization=True), where the author is trusted"


class JudgedFile(NamedTuple):
    """The bytes of a file of a snapshot as they were judged: the file itself may change, and is not read again."""

    path: Path
    content: bytes


def is_snapshot(path: Path) -> bool:
    """Return whether a folder has the layout of the Hub."""
    return (path / CONFIG).is_file()


def reads_texts(path: Path) -> bool:
    """Return whether a snapshot has a tokenizer, so that its model reads texts."""
    return is_snapshot(path) and (path / TOKENIZER).is_file()


def find_model(folder: Path) -> ModelSource:
    """Return the model file of a snapshot whose model reads a table.

    Raises EngineError, with a hint, if there is none that can be opened.
    """
    config = read_config(folder)
    if isinstance(config.get("sklearn"), dict):
        return _sklearn_file(folder, config["sklearn"])
    graph = find_graph(folder)
    if graph is not None:
        return ModelSource(path=graph, suffix=".onnx")
    raise _no_model(folder, config)


def read_config(folder: Path) -> dict[str, Any]:
    """Return `config.json`; raise EngineError if it is damaged, or wants code that came with the model."""
    try:
        config = msgspec.json.decode((folder / CONFIG).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EngineError(
            "config.json cannot be read", where=str(folder), hint="download the snapshot again"
        ) from error
    if config.get("auto_map"):
        raise EngineError(
            "the model needs Python code that came with it (auto_map), which is not run",
            where=str(folder),
            hint=_EXPORT,
        )
    return config


def find_graph(folder: Path) -> Path | None:
    """Return the ONNX graph of a snapshot, or None."""
    return next((folder / name for name in GRAPHS if (folder / name).is_file()), None)


def _sklearn_file(folder: Path, section: Mapping[str, Any]) -> ModelSource:
    """Return the file that skops names in `config.json`, with the columns that it lists."""
    model = section.get("model")
    name = str(model.get("file", "")) if isinstance(model, dict) else ""
    path = folder / name
    if not name or Path(name).name != name or not path.is_file():
        raise EngineError(
            f"config.json names no model file that is there: {name!r}", where=str(folder), hint="download it again"
        )
    columns = section.get("columns")
    names = [str(column) for column in columns] if isinstance(columns, list) else []
    return ModelSource(
        path=path, suffix=path.suffix.lower(), columns=tuple(DeclaredColumn(name=column) for column in names)
    )


def _no_model(folder: Path, config: Mapping[str, Any]) -> EngineError:
    if any((folder / name).exists() for name in PICKLES) and not (folder / WEIGHTS).exists():
        return EngineError(
            "the weights are a pickle (pytorch_model.bin), which can run code and is not opened",
            where=str(folder),
            hint=f"convert them to {_CONVERT}; or {_EXPORT}",
        )
    architectures = ", ".join(map(str, config.get("architectures") or ())) or "none named"
    return EngineError(
        f"no engine opens this snapshot (architecture: {architectures})",
        where=f"{folder}; opened: {', '.join(GRAPHS)}, skops files, and {WEIGHTS} of: {', '.join(ARCHITECTURES)}",
        hint=_EXPORT,
    )


ARCHITECTURES = ("BertForSequenceClassification", "DistilBertForSequenceClassification")


class TokenizerStep:
    """Turns texts into the columns that the graph reads: token ids, then the attention mask, padded to one length."""

    def __init__(self, tokenizer: Any, length: int, inputs: Sequence[str]) -> None:
        self._tokenizer, self._length, self._inputs = tokenizer, length, tuple(inputs)

    def transform(self, rows: Any) -> Floats:
        """Return float64 [n, inputs * length] for texts: a sequence, or the only column of a table."""
        texts = self._texts(rows)
        encoded = self._tokenizer.encode_batch(texts)
        parts = {
            "input_ids": [one.ids for one in encoded],
            "attention_mask": [one.attention_mask for one in encoded],
            "token_type_ids": [one.type_ids for one in encoded],
        }
        shape = (len(texts), self._length)
        return np.concatenate([np.array(parts[name], np.float64).reshape(shape) for name in self._inputs], axis=1)

    def _texts(self, rows: Any) -> list[str]:
        values = rows
        if hasattr(rows, "columns"):
            names = [str(name) for name in rows.columns]
            if len(names) != 1:
                raise DataError(
                    f"the model reads one column of texts, and the table has {len(names)}: {', '.join(names)}",
                    hint="X = table.select('text'), or a list of texts",
                )
            values = rows[names[0]]
        found = list(values.tolist() if hasattr(values, "tolist") else values)
        wrong = [value for value in found if not isinstance(value, str)]
        if wrong:
            raise DataError(f"{wrong[0]!r} is not a text", hint="fill missing texts with an empty string")
        return found


def open_text_model(folder: Path) -> CustomModel:
    """Open a snapshot whose model reads texts: the tokenizer stays in Python, the graph behind it is optimized.

    Raises
    ------
    PluginError
        If tokenizers, safetensors or onnx is not installed.
    EngineError
        If the architecture is not known, or a file is damaged.
    Refused
        If opening a file of the snapshot would do harm.
    """
    config = read_config(folder)
    graph = find_graph(folder)
    architecture = next(iter(config.get("architectures") or ()), "")
    if graph is None and not ((folder / WEIGHTS).is_file() and architecture in ARCHITECTURES):
        raise _no_model(folder, config)
    try:
        library = load_sibling(__name__, "huggingface", reads="a snapshot with a tokenizer")
    except PluginError as error:
        raise PluginError(error.what, where=str(folder), hint=INSTALL) from error
    length = max_length(folder, config)
    tokenizer = library.open_tokenizer(judged_file(folder / TOKENIZER), length)
    multilabel = is_multilabel(config)
    if graph is None:
        weights = judged_file(folder / WEIGHTS)
        content, inputs = library.graph_of_weights(weights, config, architecture, length, multilabel=multilabel)
    else:
        content, inputs = library.fixed_graph(judged_file(graph), length, multilabel=multilabel)
    step = TokenizerStep(tokenizer, length, inputs)
    return CustomModel(
        parts=(str(folder / TOKENIZER),),
        model=ModelFile(content=content, suffix=".onnx"),
        rows=step.transform,
        around=lambda other: PrefixedModel([step], other),
    )


def judged_file(path: Path) -> JudgedFile:
    """Read a file of a snapshot once; raise Refused if its scan finds a danger, EngineError if it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EngineError(
            f"{path.name} cannot be read: {error.strerror}", where=str(path), hint="download the snapshot again"
        ) from error
    refuse_unsafe(content, name=path.name, shown=str(path))
    return JudgedFile(path, content)


def is_multilabel(config: Mapping[str, Any]) -> bool:
    """Return whether each answer is a probability of its own."""
    return config.get("problem_type") == "multi_label_classification"


def max_length(folder: Path, config: Mapping[str, Any]) -> int:
    """Return how many tokens a text has at most: the smaller of the model's and the tokenizer's own limit."""
    limits = [config.get("max_position_embeddings")]
    try:
        limits.append(msgspec.json.decode((folder / "tokenizer_config.json").read_bytes()).get("model_max_length"))
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError, AttributeError):
        limits.append(None)
    known = [int(limit) for limit in limits if isinstance(limit, int | float) and 1 < limit < 1e6]
    if not known:
        raise EngineError(
            "the snapshot does not say how many tokens its model reads",
            where=str(folder),
            hint="max_position_embeddings in config.json, or model_max_length in tokenizer_config.json",
        )
    return math.floor(min(known))


SENTENCE_ARCHITECTURES = ("BertModel", "DistilBertModel", "RobertaModel", "XLMRobertaModel")
_POOLING = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_max_tokens": "max"}
_STATIC_TOKENS = 512
_MODULES = ("Transformer", "Pooling", "Normalize", "Dense", "StaticEmbedding")


def read_encoder(folder: Path) -> tuple[bytes, bool]:
    """Read a folder of sentence-transformers, of an exported ONNX graph, or of model2vec; nothing is fetched.

    Returns
    -------
    bytes
        The encoder as `engines/formats/encoder.py` packs it.
    bool
        Whether its graph comes from the folder, and may then loop.

    Raises
    ------
    PluginError
        If tokenizers, safetensors or onnx is not installed.
    EngineError
        If the folder holds no encoder that can be opened.
    """
    if not is_snapshot(folder) or not (folder / TOKENIZER).is_file():
        raise EngineError(
            f"the folder holds no encoder: {CONFIG} and {TOKENIZER} are needed",
            where=str(folder),
            hint="SentenceTransformer(NAME).save(FOLDER), or StaticModel.save_pretrained(FOLDER)",
        )
    config, tokenizer = read_config(folder), judged_file(folder / TOKENIZER).content
    parsed = check_tokenizer(tokenizer)
    try:
        library = load_sibling(__name__, "huggingface", reads="a sentence encoder")
    except PluginError as error:
        raise PluginError(error.what, where=str(folder), hint=INSTALL) from error
    modules = _modules(folder)
    normalize = "Normalize" in modules
    if config.get("model_type") == "model2vec" or "StaticEmbedding" in modules:
        return _static(folder, config, parsed, tokenizer, library), False
    pooling, architecture = _pooling(folder, modules), next(iter(config.get("architectures") or ()), "")
    weights, graph, is_foreign = folder / WEIGHTS, find_graph(folder), False
    if weights.is_file() and architecture in SENTENCE_ARCHITECTURES:
        dense = [judged_file(path / WEIGHTS) for kind, path in modules.items() if kind == "Dense"]
        content, width = library.encoder_of_weights(
            judged_file(weights), config, architecture, pooling=pooling, normalize=normalize, dense=dense
        )
    elif graph is not None and "Dense" not in modules:
        content, width = library.encoder_of_graph(judged_file(graph), pooling=pooling, normalize=normalize)
        is_foreign = True
    else:
        raise EngineError(
            f"no encoder is read from this folder (architecture: {architecture or 'none named'})",
            where=f"{folder}; read: {', '.join(GRAPHS)}, and {WEIGHTS} of: {', '.join(SENTENCE_ARCHITECTURES)}",
            hint="optimum-cli export onnx --model FOLDER --task feature-extraction OUTPUT, and pass OUTPUT",
        )
    header = EncoderHeader(tokenizer_bytes=len(tokenizer), width=width, max_tokens=_max_tokens(folder, config))
    return pack_encoder(header, tokenizer, content), is_foreign


def _modules(folder: Path) -> dict[str, Path]:
    """Return the kinds of modules that sentence-transformers applies, with their folders."""
    listed = _json(folder / "modules.json", list[dict[str, Any]]) or []
    found = {str(module.get("type", "")).rpartition(".")[2]: folder / str(module.get("path", "")) for module in listed}
    wrong = sorted(set(found) - set(_MODULES)) or [str(path) for path in found.values() if ".." in path.parts]
    if wrong or len(found) != len(listed):
        raise EngineError(
            f"the encoder has a module that is not known, or one twice: {', '.join(wrong)}",
            where=f"{folder / 'modules.json'}; known: {', '.join(_MODULES)}",
            hint="optimum-cli export onnx --model FOLDER --task feature-extraction OUTPUT, and pass OUTPUT",
        )
    return found


def _pooling(folder: Path, modules: Mapping[str, Path]) -> str:
    section = _json(modules.get("Pooling", folder) / CONFIG, dict[str, Any]) if "Pooling" in modules else {}
    section = section or {}
    on = [_POOLING.get(key, key) for key, value in section.items() if key.startswith("pooling_mode_") and value is True]
    on = on or [str(section.get("pooling_mode") or "mean")]
    if len(on) != 1 or on[0] not in _POOLING.values():
        raise EngineError(
            f"the pooling {', '.join(on)!r} of this encoder is not known",
            where=f"{folder}; known: {', '.join(_POOLING.values())}",
            hint="an encoder with mean, cls or max pooling",
        )
    return str(on[0])


def _max_tokens(folder: Path, config: Mapping[str, Any]) -> int:
    own = (_json(folder / "sentence_bert_config.json", dict[str, Any]) or {}).get("max_seq_length")
    limit = max_length(folder, config)
    if config.get("model_type") in ("roberta", "xlm-roberta"):
        limit = min(limit, int(config["max_position_embeddings"]) - int(config.get("pad_token_id") or 0) - 1)
    return min(int(own), limit) if isinstance(own, int) and own > 1 else limit


def _static(
    folder: Path, config: Mapping[str, Any], parsed: Mapping[str, Any], tokenizer: bytes, library: Any
) -> bytes:
    """Return static embeddings as model2vec writes them."""
    tensors = library.load_tensors(judged_file(folder / WEIGHTS))
    if "embeddings" not in tensors or tensors["embeddings"].ndim != 2:
        raise EngineError("the static embeddings lack 'embeddings'", where=str(folder), hint="save the model again")
    content, width = library.static_encoder(tensors, normalize=bool(config.get("normalize")))
    tokens = library.vocabulary(tokenizer)
    limit, unknown = config.get("max_length", _STATIC_TOKENS), parsed.get("model", {}).get("unk_token")
    header = EncoderHeader(
        tokenizer_bytes=len(tokenizer),
        width=width,
        max_tokens=int(limit or _STATIC_TOKENS),
        max_characters=int(limit or _STATIC_TOKENS) * int(np.median([len(token) for token in tokens] or [1])),
        special_tokens=False,
        dropped=tokens.get(unknown, -1) if isinstance(unknown, str) else -1,
    )
    return pack_encoder(header, tokenizer, content)


def _json(path: Path, kind: Any) -> Any:
    """Return a file of JSON; None if it is absent or of another kind."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
