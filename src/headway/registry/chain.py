"""The chain of pointer updates: each names the digest of the one before it, over all pointers of a store.

An update cannot be edited, deleted or reordered unnoticed. Only a reader who saw the last updates knows that they were
not cut off. Therefore each machine remembers the last update of each pointer that it saw, so that an old copy of a
store cannot bring back an old release (rollback protection). They are saved in one JSON file next to the trusted keys,
outside the store: `name@pointer` -> number and digest.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from headway.core import record
from headway.core.contracts import Signed
from headway.core.errors import Refused, StoreError
from headway.core.record import Record, canonical, digest_of
from headway.core.release import PointerUpdate
from headway.registry.sign import Trusted, verify
from headway.storage import atomic

_CHAIN_HINT = "restore the state from a backup; until then trust no pointer of this store"
_SEEN_HINT = "restore the store from a newer backup; only if you began a new store yourself, delete this file"


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
    """Return the updates as `link` does, with every signature verified.

    Raises Refused, which names the first that fails.
    """
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
        raise Refused(f"move {index} of the chain cannot be read: {error.what}", hint=_CHAIN_HINT) from error


def _expect_follows(entry: ChainEntry, previous: str, *, known: Collection[str]) -> None:
    if entry.move.previous == previous:
        return
    if entry.move.previous in {"", *known}:
        reason = "is out of order: the move that it follows is elsewhere"
    else:
        reason = "follows a move that is not there: that one was deleted or changed"
    where = f"{entry.address}, its move {entry.move.number}"
    raise Refused(f"move {entry.index} of the chain {reason}", where=where, hint=_CHAIN_HINT)


def _expect_numbered(entry: ChainEntry, number: int) -> None:
    if entry.move.number != number:
        raise Refused(
            f"move {entry.index} of the chain is numbered {entry.move.number} where {number} was due",
            where=entry.address,
            hint=_CHAIN_HINT,
        )


class LastSeen(Record, frozen=True, kw_only=True):
    """Number and digest of the last update of a pointer that was seen."""

    number: int
    digest: str


def last_seen_file(trusted_keys: Path) -> Path:
    """Return the file next to a trusted list: `trusted_keys.txt` -> `trusted_keys.seen.json`."""
    return trusted_keys.with_suffix(".seen.json")


def load_last_seen(file: Path) -> dict[str, LastSeen]:
    """Return the updates seen so far, none at first; raises StoreError if the file is damaged."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, LastSeen])
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise StoreError(f"the last seen updates cannot be read: {error}", where=str(file), hint=_SEEN_HINT) from error


def require_last_seen(seen: Mapping[str, LastSeen], links: Sequence[ChainEntry], *, file: Path) -> None:
    """Raise Refused if an update that was seen is not in the chain.

    Read `seen` before the chain: a publisher appends an update to the chain first.
    """
    digests = {(entry.address, entry.move.number): entry.digest for entry in links}
    for address, one in seen.items():
        digest = digests.get((address, one.number))
        if digest != one.digest:
            ends = max((number for known, number in digests if known == address), default=0)
            stands = "there is another move" if digest else f"this store ends at move {ends}"
            raise Refused(
                f"replayed pointer {address}: move {one.number} was seen here before, and {stands}",
                where=str(file),
                hint=_SEEN_HINT,
            )


def save_last_seen(file: Path, address: str, seen: LastSeen) -> None:
    """Save a verified update as the last one seen, if it is later than the saved one; processes take turns."""
    with _lock(file.parent):
        known = load_last_seen(file)
        if address not in known or known[address].number < seen.number:
            atomic.write(file, canonical({**known, address: seen}))


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the system releases it when the process ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
