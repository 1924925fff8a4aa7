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

    place: int
    move: PointerUpdate
    signed: Signed
    digest: str

    @property
    def address(self) -> str:
        """`name@pointer` of the update."""
        return f"{self.move.name}@{self.move.pointer}"

    def verify(self, trusted: Trusted) -> str:
        """Return the trusted key that signed the update; raises Refused."""
        subject = f"move {self.place} of the chain"
        return verify(self.signed, trusted, subject=subject, where=f"{self.address}, its move {self.move.number}")


def link(kept: Sequence[Signed]) -> tuple[ChainEntry, ...]:
    """Return the updates in order, and check that each follows the one before.

    Signatures are not verified here: a caller that acts on an update verifies it (`ChainEntry.verify`). Raises Refused,
    which names the first update that does not follow.
    """
    digests = [digest_of(signed.content) for signed in kept]
    links = tuple(
        ChainEntry(place, _move(place, signed), signed, digest)
        for place, (signed, digest) in enumerate(zip(kept, digests, strict=True), 1)
    )
    numbers: dict[str, int] = {}
    for each, previous in zip(links, ["", *digests], strict=False):
        _expect_follows(each, previous, known=digests)
        _expect_numbered(each, numbers.get(each.address, 0) + 1)
        numbers[each.address] = each.move.number
    return links


def audit(kept: Sequence[Signed], trusted: Trusted) -> tuple[ChainEntry, ...]:
    """Return the updates as `link` does, with every signature verified; raises Refused, which names the first that fails."""
    for place, signed in enumerate(kept, 1):
        verify(signed, trusted, subject=f"move {place} of the chain")
    return link(kept)


def last(links: Sequence[ChainEntry], address: str) -> ChainEntry | None:
    """Return the last update of a `name@pointer`, or None."""
    return next((each for each in reversed(links) if each.address == address), None)


def _move(place: int, signed: Signed) -> PointerUpdate:
    try:
        return record.read(PointerUpdate, signed.content)
    except StoreError as error:
        raise Refused(f"move {place} of the chain cannot be read: {error.what}", hint=_MEND) from error


def _expect_follows(each: ChainEntry, previous: str, *, known: Collection[str]) -> None:
    if each.move.previous == previous:
        return
    if each.move.previous in {"", *known}:
        reason = "is out of order: the move that it follows is elsewhere"
    else:
        reason = "follows a move that is not there: that one was deleted or changed"
    where = f"{each.address}, its move {each.move.number}"
    raise Refused(f"move {each.place} of the chain {reason}", where=where, hint=_MEND)


def _expect_numbered(each: ChainEntry, number: int) -> None:
    if each.move.number != number:
        raise Refused(
            f"move {each.place} of the chain is numbered {each.move.number} where {number} was due",
            where=each.address,
            hint=_MEND,
        )
