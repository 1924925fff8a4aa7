"""The base of every record: frozen, keyword-only, versioned on disk with migrations."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec

from headway.core.errors import StoreError

Scalar = bool | int | float | str
Settings = Mapping[str, Scalar]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A noun that travels; a step returns a new one (`replace`), it never edits the one it was given."""


class Kept(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record that is written to disk on its own; `version` counts the changes of its form."""

    version: ClassVar[int] = 1
    migrations: ClassVar[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {}


KeptType = TypeVar("KeptType", bound=Kept)


def about(help: str) -> msgspec.Meta:
    """What a field of a section is for: the line of help that `headway config` and the reference print."""
    return msgspec.Meta(description=help)


def canonical(value: object) -> bytes:
    """The one JSON form of a value that digests and signatures are taken of: sorted keys, no spaces, UTF-8."""
    return msgspec.json.encode(value, order="sorted")


def digest_of(content: bytes) -> str:
    """The SHA-256 of bytes as `sha256:<64 hex digits>`.

    >>> digest_of(b"")[:19]
    'sha256:e3b0c44298fc'
    """
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def write(record: Kept) -> bytes:
    """The bytes of a record for disk: canonical JSON with its kind and version beside it.

    They are those of the record as it will be read, so that its digest stays: 61 in a field of floats is 61.0. Raises
    StoreError for a number that JSON cannot hold, which would be read as none.
    """
    kind = type(record)
    try:
        as_read = msgspec.json.decode(canonical(record), type=kind)
    except msgspec.ValidationError as error:
        raise StoreError(f"a record '{kind.__name__.lower()}' holds what cannot be kept", where=str(error)) from error
    return canonical({"kind": kind.__name__.lower(), "version": kind.version, "record": as_read})


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    version: Annotated[int, msgspec.Meta(ge=1)]
    record: dict[str, Any]


def read(kind: type[KeptType], content: bytes) -> KeptType:
    """The record of that kind in bytes made by `write`, brought to today's form by its migrations.

    Raises StoreError where the bytes are not such a record, or come from a newer headway.
    """
    name = kind.__name__.lower()
    try:
        envelope = msgspec.json.decode(content, type=_Envelope)
        body = _migrated(kind, envelope)
        return msgspec.convert(body, kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(f"these bytes are not a record '{name}'", where=str(error)) from error


def _migrated(kind: type[Kept], envelope: _Envelope) -> dict[str, Any]:
    name = kind.__name__.lower()
    if envelope.kind != name:
        raise StoreError(f"expected a record '{name}', met a record '{envelope.kind}'")
    if envelope.version > kind.version:
        raise StoreError(
            f"record '{name}' has version {envelope.version}, this headway reads up to {kind.version}",
            hint="pip install --upgrade headway",
        )
    body = envelope.record
    for version in range(envelope.version, kind.version):
        body = kind.migrations[version](body)
    return body
