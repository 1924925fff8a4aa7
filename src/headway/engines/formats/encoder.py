"""A sentence encoder as bytes: a header, the tokenizer as JSON, and an ONNX graph from token ids to vectors.

The graph reads `input_ids` (int64 (n, tokens), texts of one length, so that nothing is padded) and answers one vector a
text.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import msgspec

from headway.core.errors import EngineError
from headway.core.record import Record

ENCODER_MAGIC = b"headway encoder 1\n"
REBUILD_HINT = "headway.load_encoder(FOLDER)"
MAX_TOKENIZER_BYTES = 64 << 20
IDS = "input_ids"
_PATTERNS = ("\\s+", " {2,}", "\\n", "\\r\\n|\\r|\\n", "[0-9]", "[0-9]+", "\\d", "\\d+", " ", "[ \\t]+")


class EncoderHeader(Record, frozen=True, kw_only=True):
    """What the bytes of an encoder hold.

    Attributes
    ----------
    tokenizer_bytes
        Size of the tokenizer; the graph follows it.
    width
        Numbers of a vector.
    max_tokens
        Tokens after which a text is cut.
    max_characters
        Characters after which a text is cut before it is tokenized; 0 for no limit.
    special_tokens
        Whether the tokenizer adds those that begin and end a text.
    dropped
        Id of a token that is left out, as model2vec leaves out unknown ones; -1 for none.
    runs_alone
        Whether each text is a run of its own: scales of int8 depend on all texts of a run.
    """

    tokenizer_bytes: int
    width: int
    max_tokens: int
    max_characters: int = 0
    special_tokens: bool = True
    dropped: int = -1
    runs_alone: bool = False


@runtime_checkable
class EncoderEngine(Protocol):
    """Optional method of an engine of pipelines that begin with a sentence encoder."""

    @classmethod
    def split_encoder(cls, content: bytes) -> tuple[bytes, bytes]:
        """Return the encoder, and the artifact of the model that reads its vectors; raise NotApplicable."""
        ...


def pack_encoder(header: EncoderHeader, tokenizer: bytes, graph: bytes) -> bytes:
    """Return the bytes of an encoder."""
    return ENCODER_MAGIC + msgspec.json.encode(header) + b"\n" + tokenizer + graph


def split_encoder(content: bytes) -> tuple[EncoderHeader, bytes, bytes]:
    """Return the header, the tokenizer and the graph; raise EngineError for other bytes, or an unsafe tokenizer."""
    head, newline, rest = content.removeprefix(ENCODER_MAGIC).partition(b"\n")
    try:
        if not content.startswith(ENCODER_MAGIC) or not newline:
            raise ValueError("unknown header")
        header = msgspec.json.decode(head, type=EncoderHeader)
        if not 0 < header.tokenizer_bytes < len(rest) or min(header.width, header.max_tokens) < 1:
            raise ValueError(f"{len(rest):,} bytes follow its header")
    except (ValueError, msgspec.MsgspecError) as error:
        raise EngineError(f"these bytes are not a complete encoder: {error}", hint=REBUILD_HINT) from error
    tokenizer = rest[: header.tokenizer_bytes]
    check_tokenizer(tokenizer)
    return header, tokenizer, rest[header.tokenizer_bytes :]


def tokenizer_words(content: bytes) -> list[str]:
    """Return the tokens of an encoder in the order of their ids, which is often that of their frequency."""
    vocabulary = check_tokenizer(split_encoder(content)[1]).get("model", {}).get("vocab")
    if not isinstance(vocabulary, dict):
        return []
    return [str(word) for word, _ in sorted(vocabulary.items(), key=lambda item: str(item[1]).zfill(9))]


def check_tokenizer(tokenizer: bytes) -> dict[str, Any]:
    """Return the tokenizer as parsed JSON; raise EngineError if it is too large, or has a pattern that may not end."""
    if len(tokenizer) > MAX_TOKENIZER_BYTES:
        raise EngineError(
            f"the tokenizer has {len(tokenizer):,} bytes, at most {MAX_TOKENIZER_BYTES:,} are read",
            hint="an encoder with a smaller vocabulary",
        )
    try:
        parsed = msgspec.json.decode(tokenizer, type=dict[str, Any])
        patterns = list(_patterns({key: value for key, value in parsed.items() if key not in ("model", "vocab")}))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EngineError(
            f"the tokenizer is not JSON: {error}", hint="tokenizer.save_pretrained(FOLDER), with a fast tokenizer"
        ) from error
    own = [pattern for pattern in patterns if pattern not in _PATTERNS]
    if own:
        raise EngineError(
            f"the tokenizer splits texts by a regular expression of its own, which may not end: {own[0][:80]!r}",
            hint="an encoder with a tokenizer of BERT, MPNet, RoBERTa or XLM-R",
        )
    return parsed


def _patterns(value: object) -> list[str]:
    """Return all regular expressions in a tokenizer."""
    if isinstance(value, list):
        return [pattern for item in value for pattern in _patterns(item)]
    if not isinstance(value, dict):
        return []
    found = [str(value["Regex"])] if "Regex" in value else []
    return found + [pattern for item in value.values() for pattern in _patterns(item)]
