"""The base of every record: frozen, keyword-only, versioned on disk with migrations."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec

from headway.core.errors import StoreError
from headway.core.renamed import current_form

Scalar = bool | int | float | str
Settings = Mapping[str, Scalar]
FormerValues = Mapping[str, str] | Callable[[str], str]
"""What the old values of a field are called today: by a mapping, or by a function."""


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Immutable data that is stored, sent or passed through several layers; a step returns a new one (`replace`).

    Attributes
    ----------
    former_names : mapping of str to str
        Old name of a field -> its name today.
    former_values : mapping of str to (mapping of str to str, or callable)
        Name of a field -> what its old values are called today: for a string, each string of a list, or each key of a
        dictionary.
    """

    former_names: ClassVar[Mapping[str, str]] = {}
    former_values: ClassVar[Mapping[str, FormerValues]] = {}


class StoredRecord(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record that is written to disk on its own.

    Attributes
    ----------
    version : int
        Counts the changes of its form. Version 2 renamed fields and kinds after the field's usual terms.
    migrations : mapping of int to callable
        Version -> a function that brings the fields of that version, under today's names, to the next one.
    former_kinds : tuple of str
        Kinds under which an older headway wrote it.
    """

    version: ClassVar[int] = 2
    former_kinds: ClassVar[tuple[str, ...]] = ()
    migrations: ClassVar[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {}


StoredRecordType = TypeVar("StoredRecordType", bound=StoredRecord)


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


@functools.cache
def kind_of(kind: type[StoredRecord]) -> str:
    """Return the name under which records of a class are written and found: `SearchResult` -> `search_result`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()


def write(record: StoredRecord) -> bytes:
    """Return the bytes of a record for disk: canonical JSON with its kind and version.

    They are those of the record as it will be read, so that its digest stays: 61 in a field of floats is 61.0. Raises
    StoreError for a number that JSON cannot hold, which would be read as none.
    """
    kind = type(record)
    try:
        as_read = msgspec.json.decode(canonical(record), type=kind)
    except msgspec.ValidationError as error:
        raise StoreError(f"a record '{kind_of(kind)}' holds what cannot be kept", where=str(error)) from error
    return canonical({"kind": kind_of(kind), "version": kind.version, "record": as_read})


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    version: Annotated[int, msgspec.Meta(ge=1)]
    record: msgspec.Raw


def read(kind: type[StoredRecordType], content: bytes) -> StoredRecordType:
    """Return the record in bytes made by `write`, brought to today's names and form.

    Raises StoreError where the bytes are not such a record, or come from a newer headway.
    """
    try:
        envelope = msgspec.json.decode(content, type=_Envelope)
        _expect_readable(kind, envelope)
        if envelope.version == kind.version:
            return msgspec.json.decode(envelope.record, type=kind)
        return msgspec.convert(_migrated(kind, envelope), kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(f"these bytes are not a record '{kind_of(kind)}'", where=str(error)) from error


def _expect_readable(kind: type[StoredRecord], envelope: _Envelope) -> None:
    name = kind_of(kind)
    if envelope.kind not in (name, *kind.former_kinds):
        raise StoreError(f"expected a record '{name}', met a record '{envelope.kind}'")
    if envelope.version > kind.version:
        raise StoreError(
            f"record '{name}' has version {envelope.version}, this headway reads up to {kind.version}",
            hint="pip install --upgrade headway",
        )


def _migrated(kind: type[StoredRecord], envelope: _Envelope) -> dict[str, Any]:
    body: dict[str, Any] = current_form(msgspec.json.decode(envelope.record, type=dict[str, Any]), kind)
    for version in range(envelope.version, kind.version):
        body = kind.migrations[version](body) if version in kind.migrations else body
    return body
