"""Erasure of rows, saved as a signed proof that does not identify the person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from headway.core.record import Record, StoredRecord
from headway.core.renamed import current_form


class Erased(Record, frozen=True, kw_only=True):
    """Rows and files erased in one location (`log/flights`, `labels/flights`, `online/schedule`).

    `before` and `after` are keyed hashes over the digests of those files, so that contents cannot be guessed; the
    holder of the key can compare them with a backup.
    """

    former_names: ClassVar[Mapping[str, str]] = {"place": "location"}

    location: str
    rows: int
    files: int
    before: str
    after: str


class Residual(Record, frozen=True, kw_only=True):
    """A location in the store that still holds the bytes of the key, how often, and why."""

    former_names: ClassVar[Mapping[str, str]] = {"place": "location"}

    location: str
    times: int
    why: str
    is_other: bool = False


class SearchedStore(Record, frozen=True, kw_only=True):
    """A store that was searched for a key: how many files, tables, objects or records were read.

    Or `why` it was not reached; then nothing in it is called erased.
    """

    name: str
    n_searched: int = 0
    is_reached: bool = True
    why: str = ""


class Erasure(Record, frozen=True, kw_only=True):
    """Rows that were erased for one reason, by whom, and what remains.

    `subject` is a keyed hash of the key whose rows were erased; empty if rows older than `older_than` were. `before` is
    the digest of the previous erasure, so that none can be removed unnoticed. `searched` says which stores were
    searched for the key afterwards; proofs of 0.1 do not. `message` lists what no program can undo: what models
    learned, signed releases, the source, copies.
    """

    former_names: ClassVar[Mapping[str, str]] = {"says": "message", "stays": "residuals"}

    name: str
    number: int
    before: str
    subject: str = ""
    older_than: str = ""
    who: str
    why: str
    begun_at: str
    done_at: str
    erased: tuple[Erased, ...]
    residuals: tuple[Residual, ...] = ()
    searched: tuple[SearchedStore, ...] = ()
    message: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Number of erased rows over all locations."""
        return sum(part.rows for part in self.erased)

    @property
    def is_complete(self) -> bool:
        """True if every store was reached and the key is nowhere left; parts of other keys do not count."""
        return all(store.is_reached for store in self.searched) and all(part.is_other for part in self.residuals)


class ErasureProof(StoredRecord, frozen=True, kw_only=True):
    """The bytes of an erasure, with the publisher's signature."""

    former_kinds: ClassVar[tuple[str, ...]] = ("erasureproof",)

    content: str
    signature: str


def decode_erasure(content: bytes) -> Erasure:
    """Decode the signed content of a proof; raises msgspec.MsgspecError for one of another version."""
    return msgspec.convert(current_form(msgspec.json.decode(content), Erasure), Erasure)
