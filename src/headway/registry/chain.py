"""The chain of pointer updates: each names the digest of the one before it, over all pointers of a store.

An update cannot be edited, deleted or reordered unnoticed. That the last ones were not cut off is known only to a
reader who saw them (`rollback_protection`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from headway.core import record
from headway.core.contracts import Signed
from headway.core.errors import Refused, StoreError
from headway.core.record import digest_of
from headway.core.release import PointerUpdate
from headway.registry.sign import Trusted, verify

_MEND = "restore the state from a backup; until then trust no pointer of this store"


@dataclass(frozen=True, slots=True)
class ChainEntry:
    """A pointer update at its index in the chain, from 1, with the signed bytes and their digest."""

    index: int
    move: PointerUpdate
    signed: Signed
    digest: str

    @property
    def address(self) -> str:
        """`name@pointer` of the update."""
        return f"{self.move.name}@{self.move.pointer}"

    def verify(self, trusted: Trusted) -> str:
        """Return the trusted key that signed the update; raises Refused."""
        subject = f"move {self.index} of the chain"
        return verify(self.signed, trusted, subject=subject, where=f"{self.address}, its move {self.move.number}")


def link(updates: Sequence[Signed]) -> tuple[ChainEntry, ...]:
    """Return the updates in order, and check that each follows the one before.

    Signatures are not verified here: a caller that acts on an update verifies it (`ChainEntry.verify`). Raises Refused,
    which names the first update that does not follow.
    """
    digests = [digest_of(signed.content) for signed in updates]
    links = tuple(
        ChainEntry(index, _move(index, signed), signed, digest)
        for index, (signed, digest) in enumerate(zip(updates, digests, strict=True), 1)
    )
    numbers: dict[str, int] = {}
    for entry, previous in zip(links, ["", *digests], strict=False):
        _expect_follows(entry, previous, known=digests)
        _expect_numbered(entry, numbers.get(entry.address, 0) + 1)
        numbers[entry.address] = entry.move.number
    return links


def audit(updates: Sequence[Signed], trusted: Trusted) -> tuple[ChainEntry, ...]:
    """Return the updates as `link` does, with every signature verified; raises Refused, which names the first that fails."""
    for index, signed in enumerate(updates, 1):
        verify(signed, trusted, subject=f"move {index} of the chain")
    return link(updates)


def last(links: Sequence[ChainEntry], address: str) -> ChainEntry | None:
    """Return the last update of a `name@pointer`, or None."""
    return next((entry for entry in reversed(links) if entry.address == address), None)


def _move(index: int, signed: Signed) -> PointerUpdate:
    try:
        return record.read(PointerUpdate, signed.content)
    except StoreError as error:
        raise Refused(f"move {index} of the chain cannot be read: {error.what}", hint=_MEND) from error


def _expect_follows(entry: ChainEntry, previous: str, *, known: Collection[str]) -> None:
    if entry.move.previous == previous:
        return
    if entry.move.previous in {"", *known}:
        reason = "is out of order: the move that it follows is elsewhere"
    else:
        reason = "follows a move that is not there: that one was deleted or changed"
    where = f"{entry.address}, its move {entry.move.number}"
    raise Refused(f"move {entry.index} of the chain {reason}", where=where, hint=_MEND)


def _expect_numbered(entry: ChainEntry, number: int) -> None:
    if entry.move.number != number:
        raise Refused(
            f"move {entry.index} of the chain is numbered {entry.move.number} where {number} was due",
            where=entry.address,
            hint=_MEND,
        )
