"""What was forgotten, kept as a signed proof that does not tell who was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from headway.core.record import Record, StoredRecord


class Erased(Record, frozen=True, kw_only=True):
    """What went of one place (`log/flights`, `labels/flights`, `online/schedule`): rows, and the files they were in.

    `before` and `after` are keyed hashes over the digests of those files, so that nobody can try contents until one
    fits; whoever holds the key can hold them beside a backup.
    """

    place: str
    rows: int
    files: int
    before: str
    after: str


class Residual(Record, frozen=True, kw_only=True):
    """A place in the store where the bytes of the key still are, how often, and why they stay."""

    place: str
    times: int
    why: str
    is_other: bool = False


class Erasure(Record, frozen=True, kw_only=True):
    """Rows that were erased for one reason, by whom, and what stays.

    `subject` is a keyed hash of the key whose rows went; "" where rows older than `older_than` went. `before` is the
    digest of the erasure before it, so that none can be taken out of their row unseen. `says` is what no program can
    take back: what models learned, signed releases, the source, copies.
    """

    former_names: ClassVar[Mapping[str, str]] = {"says": "message"}

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
    stays: tuple[Residual, ...] = ()
    message: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows went, of all places."""
        return sum(each.rows for each in self.erased)

    @property
    def is_whole(self) -> bool:
        """Whether the key itself is nowhere left in the store; parts of other keys do not count."""
        return all(each.is_other for each in self.stays)


class ErasureProof(StoredRecord, frozen=True, kw_only=True):
    """The bytes of an erasure, and the publisher's signature under them."""

    former_kinds: ClassVar[tuple[str, ...]] = ("erasureproof",)

    content: str
    signature: str
