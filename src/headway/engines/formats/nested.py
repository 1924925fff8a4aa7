"""Artifacts that hold other models: a header with their engines and settings, then their bytes."""

from __future__ import annotations

from itertools import accumulate

import msgspec

from headway.core.contracts import Engine
from headway.core.errors import EngineError
from headway.core.plugins import load_engine
from headway.core.record import Record, Scalar
from headway.core.selective import SelectiveCertificate

NESTED_MAGIC = b"headway models 1\n"
REBUILD_HINT = "headway optimize"


class NestedModel(Record, frozen=True, kw_only=True):
    """A model inside: the engine that opens it, its settings, and its size in bytes."""

    engine: str
    size_bytes: int
    settings: dict[str, Scalar] = {}


class NestedHeader(Record, frozen=True, kw_only=True):
    """The models inside, and the numbers of the engine that combines them.

    `columns` are those of a row that the inputs of the model are, and `constants` the values of inputs without one
    (None: missing); see `engines/formats/columns.py`. A cascade that defers look-ups has the columns that its first
    model reads, and its certificate.
    """

    models: tuple[NestedModel, ...]
    numbers: dict[str, float] = {}
    columns: tuple[int, ...] = ()
    constants: tuple[float | None, ...] = ()
    certificate: SelectiveCertificate | None = None


def pack_models(header: NestedHeader, *contents: bytes) -> bytes:
    """Return the bytes of an artifact with these models, in the order of the header."""
    return NESTED_MAGIC + msgspec.json.encode(header) + b"\n" + b"".join(contents)


def open_models(content: bytes, *, models: int) -> tuple[NestedHeader, list[Engine]]:
    """Return the header and the opened models; raise EngineError if their number differs or one cannot be opened."""
    header, contents = split_models(content, models=models)
    opened = zip(header.models, contents, strict=True)
    return header, [load_engine(model.engine)(inside, model.settings) for model, inside in opened]


def split_models(content: bytes, *, models: int | None = None) -> tuple[NestedHeader, list[bytes]]:
    """Return the header and the bytes of each model; raise EngineError if their number differs from `models`."""
    head, newline, rest = content.removeprefix(NESTED_MAGIC).partition(b"\n")
    try:
        if not content.startswith(NESTED_MAGIC) or not newline:
            raise ValueError("unknown header")
        header = msgspec.json.decode(head, type=NestedHeader)
        sizes = [model.size_bytes for model in header.models]
        if (
            len(sizes) != (len(sizes) if models is None else models)
            or min(sizes, default=0) < 0
            or sum(sizes) != len(rest)
        ):
            raise ValueError(f"{len(rest):,} bytes follow its header, and {len(header.models)} models")
    except (ValueError, msgspec.MsgspecError) as error:
        raise EngineError(f"these bytes are not a complete artifact of models: {error}", hint=REBUILD_HINT) from error
    return header, [rest[end - size : end] for size, end in zip(sizes, accumulate(sizes), strict=True)]
