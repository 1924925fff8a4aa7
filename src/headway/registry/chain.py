"""The chain of pointer updates: each names the digest of the one before it, over all pointers of a store.

An update cannot be edited, deleted or reordered unnoticed. Only a reader who saw the last updates knows that they were
not cut off. Therefore each machine remembers the last update of each pointer that it saw, so that an old copy of a
store cannot bring back an old release (rollback protection). They are saved in one JSON file next to the trusted keys,
outside the store: `name@pointer` -> number and digest.

A signature takes 0.1 ms to verify, so a checkpoint saves what was verified: each machine its own next to the trusted
keys, and the publisher a signed one in the store. A checkpoint that does not fit is not used, and never decides.

An operator's key is trusted for two updates only: one that points at a release to which a publisher pointed this
pointer before, and one that withdraws the canary. It carries no verdict and assigns no traffic.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec

from headway.core import record
from headway.core.contracts import SavedUpdate, Signed, State
from headway.core.errors import Refused, StoreError
from headway.core.record import Record, StoredRecord, canonical, digest_of
from headway.core.release import PointerUpdate
from headway.registry.sign import Publisher, Trusted, signer_of, verify
from headway.storage import atomic

_CHAIN_HINT = "restore the state from a backup; until then trust no pointer of this store"
_SEEN_HINT = "restore the store from a newer backup; only if you began a new store yourself, delete this file"
_SERVED_HINT = "start the server again when the state in [store] can be reached"
CANARY = "canary"
CHECKPOINT_EVERY = 256
_CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True)
class UpdateKeys:
    """The keys that may sign pointer updates: those of publishers all, those of operators only a way back."""

    publishers: Trusted
    operators: Trusted

    def is_operator(self, key: str) -> bool:
        """Return whether a key is an operator's; one in both lists is a publisher's."""
        return key in self.operators.keys and key not in self.publishers.keys

    def verify(self, signed: Signed, *, subject: str, where: str = "") -> str:
        """Return the key that signed an update, a publisher's or an operator's; raises Refused as `sign.verify`."""
        listed = self.operators if self.is_operator(signer_of(signed.signature)) else self.publishers
        return verify(signed, listed, subject=subject, where=where)


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

    @property
    def subject(self) -> str:
        """What a message calls the update."""
        return f"move {self.index} of the chain"

    @property
    def where(self) -> str:
        """Where a message says that the update is."""
        return f"{self.address}, its move {self.move.number}"

    def verify(self, keys: UpdateKeys, complete: Callable[[], Sequence[ChainEntry]]) -> ChainEntry | None:
        """Verify the update; return the earlier one that lets an operator go back to its release, if that is needed.

        `complete` returns the chain from its first update on, and is called only for an operator's. Raises Refused.
        """
        key = keys.verify(self.signed, subject=self.subject, where=self.where)
        if not keys.is_operator(key):
            return None
        earlier = None
        if self.move.release:
            before = links_before(complete(), self)
            earlier = find_earlier(before, self.address, self.move.release, keys.publishers)
        expect_way_back(self.move, earlier.move if earlier else None, self.subject, where=self.where, key=key)
        return earlier


def links_before(links: Sequence[ChainEntry], entry: ChainEntry) -> Sequence[ChainEntry]:
    """Return the updates before an entry of a chain, none if the entry is not in it."""
    return links[: next((index for index, one in enumerate(links) if one.digest == entry.digest), 0)]


def find_earlier(links: Sequence[ChainEntry], address: str, release: str, publishers: Trusted) -> ChainEntry | None:
    """Return the last update by which a trusted publisher pointed a pointer at a release, or None."""
    for earlier in reversed(links):
        if (earlier.address, earlier.move.release) == (address, release):
            with suppress(Refused):
                verify(earlier.signed, publishers, subject=earlier.subject)
                return earlier
    return None


def expect_way_back(move: PointerUpdate, earlier: PointerUpdate | None, subject: str, *, where: str, key: str) -> None:
    """Raise Refused unless an operator may sign an update; `earlier` is a publisher's update to the same release."""
    if not (move.verdict or move.answer or move.assignment):
        if move.pointer == CANARY and not move.release:
            return
        if move.pointer != CANARY and move.release and earlier is not None:
            return
    raise Refused(
        f"{subject} is signed by {key}, an operator key, which may only point back at a release to which a trusted "
        f"publisher pointed {move.name}@{move.pointer} before, and end a canary",
        where=where,
        hint="headway history; if you do not know who signed it, remove that key from every list of operator keys",
    )


class PointerEnd(Record, frozen=True, kw_only=True):
    """Last update of a pointer: its index in the chain from 1, its number, and its digest."""

    index: int
    number: int
    digest: str


class Checkpoint(StoredRecord, frozen=True, kw_only=True):
    """The first `count` updates of a chain, which were verified with their signatures.

    `digest` is that of all their bytes and signatures, `end` that of the bytes of the last one. `keys` of publishers
    and `operators` signed them, and `pointers` holds the last update of each pointer among them.
    """

    count: int = 0
    digest: str = ""
    end: str = ""
    keys: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    pointers: dict[str, PointerEnd] = {}

    def covers(self, updates: Sequence[Signed]) -> bool:
        """Return whether a chain begins with exactly the bytes and signatures that were verified."""
        digest = ""
        for signed in updates[: self.count]:
            digest = _fold(digest, signed)
        return len(updates) >= self.count and digest == self.digest

    def extended(self, entries: Sequence[ChainEntry], keys: UpdateKeys) -> Checkpoint:
        """Return the checkpoint with the entries that follow it, each of which was verified."""
        signers = dict.fromkeys(signer_of(entry.signed.signature) for entry in entries)
        digest, pointers = self.digest, dict(self.pointers)
        for entry in entries:
            digest = _fold(digest, entry.signed)
            pointers[entry.address] = PointerEnd(index=entry.index, number=entry.move.number, digest=entry.digest)
        return Checkpoint(
            count=self.count + len(entries),
            digest=digest,
            end=entries[-1].digest if entries else self.end,
            keys=_union(self.keys, [key for key in signers if not keys.is_operator(key)]),
            operators=_union(self.operators, [key for key in signers if keys.is_operator(key)]),
            pointers=pointers,
        )


START = Checkpoint()
"""Nothing was verified."""


def _union(some: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*some, *others)))


def _fold(digest: str, signed: Signed) -> str:
    parts = (hashlib.sha256(part).hexdigest() for part in (signed.content, signed.signature))
    return digest_of("".join((digest, *parts)).encode())


def link(updates: Sequence[Signed], after: Checkpoint = START) -> tuple[ChainEntry, ...]:
    """Return the updates that follow a checkpoint, in order, and check that each follows the one before.

    Signatures are not verified here: a caller that acts on an update verifies it (`ChainEntry.verify`). Raises Refused,
    which names the first update that does not follow.
    """
    digests = [digest_of(signed.content) for signed in updates]
    links = tuple(
        ChainEntry(index, _move(index, signed), signed, digest)
        for index, (signed, digest) in enumerate(zip(updates, digests, strict=True), after.count + 1)
    )
    numbers = {address: end.number for address, end in after.pointers.items()}
    for entry, previous in zip(links, [after.end, *digests], strict=False):
        _expect_follows(entry, previous, known=digests)
        _expect_numbered(entry, numbers.get(entry.address, 0) + 1)
        numbers[entry.address] = entry.move.number
    return links


def audit(
    updates: Sequence[Signed], keys: UpdateKeys, checkpoints: Sequence[Checkpoint] = ()
) -> tuple[tuple[ChainEntry, ...], Checkpoint]:
    """Return all updates as `link` does, with every signature verified, and the checkpoint of all of them.

    A signature that a checkpoint covers is not verified again, if all bytes are the same. Raises Refused, which names
    the first that fails.
    """
    done = next((checkpoint for checkpoint in checkpoints if checkpoint.covers(updates)), START)
    signers = [
        keys.verify(signed, subject=f"move {index} of the chain")
        for index, signed in enumerate(updates[done.count :], done.count + 1)
    ]
    links = link(updates)
    had = {(entry.address, entry.move.release): entry.move for entry in links[: done.count]}
    for entry, key in zip(links[done.count :], signers, strict=True):
        if keys.is_operator(key):
            earlier = had.get((entry.address, entry.move.release))
            expect_way_back(entry.move, earlier, entry.subject, where=entry.where, key=key)
        else:
            had[entry.address, entry.move.release] = entry.move
    return links, done.extended(links[done.count :], keys)


def advance(
    checkpoint: Checkpoint,
    entries: Sequence[ChainEntry],
    keys: UpdateKeys,
    verify_entry: Callable[[ChainEntry], object],
) -> Checkpoint:
    """Return the checkpoint with the entries that follow it, up to the first that does not verify."""
    n_verified = 0
    with suppress(Refused):
        for entry in entries:
            verify_entry(entry)
            n_verified += 1  # those before a failure count
    return checkpoint.extended(entries[:n_verified], keys)


def checkpoint_file(trusted_keys: Path) -> Path:
    """Return the file next to a trusted list: `trusted_keys.txt` -> `trusted_keys.verified.json`."""
    return trusted_keys.with_suffix(".verified.json")


def own_checkpoint(file: Path, keys: UpdateKeys) -> Checkpoint:
    """Return what this machine has verified; `START` if that cannot be read, or a key is not trusted any more.

    The file needs no signature: a person who can write next to the trusted keys can add a key as well.
    """
    try:
        return _usable(file.read_bytes(), keys)
    except OSError:
        return START


def signed_checkpoint(state: State, keys: UpdateKeys) -> Checkpoint:
    """Return what a publisher has verified, by its signature in the store; `START` if a key is not trusted."""
    try:
        signed = msgspec.json.decode(state.latest(_CHECKPOINT, name="") or b"", type=Signed)
        verify(signed, keys.publishers, subject="the checkpoint")
    except (Refused, UnicodeDecodeError, msgspec.MsgspecError):
        return START
    return _usable(signed.content, keys)


def _usable(content: bytes, keys: UpdateKeys) -> Checkpoint:
    with suppress(StoreError):
        checkpoint = record.read(Checkpoint, content)
        signers = zip((keys.publishers, keys.operators), (checkpoint.keys, checkpoint.operators), strict=True)
        if all(listed.keys.keys() >= set(signed) for listed, signed in signers):
            return checkpoint
    return START


def save_checkpoint(file: Path, checkpoint: Checkpoint) -> None:
    """Save what this machine has verified; where it cannot write, it verifies again the next time."""
    with suppress(StoreError):
        atomic.write(file, record.write(checkpoint))


def sign_checkpoint(state: State, own: Checkpoint, keys: UpdateKeys, publisher: Publisher) -> None:
    """Sign what this machine has verified of a store, for others; once in `CHECKPOINT_EVERY` updates."""
    if own.count < signed_checkpoint(state, keys).count + CHECKPOINT_EVERY:
        return
    with suppress(Refused):
        _updates_after(state, own)
        state.save(_CHECKPOINT, msgspec.json.encode(publisher.sign(record.write(own))), name="")


def links_after(state: State, checkpoint: Checkpoint, address: str) -> tuple[ChainEntry, ...]:
    """Return the updates that follow a checkpoint, after the last one of a pointer if that is not among them.

    Raises Refused if the store does not go on where the checkpoint ends.
    """
    links = link(_updates_after(state, checkpoint), checkpoint)
    end = checkpoint.pointers.get(address)
    if end is None or last(links, address) is not None:
        return links
    signed = state.last(*address.split("@"))
    if signed is None or digest_of(signed.content) != end.digest:
        raise _other_chain()
    return ChainEntry(end.index, _move(end.index, signed), signed, end.digest), *links


def _updates_after(state: State, checkpoint: Checkpoint) -> list[Signed]:
    if not checkpoint.count:
        return state.updates()
    updates = state.updates(since=checkpoint.count)
    if not updates or digest_of(updates[0].content) != checkpoint.end:
        raise _other_chain()
    return updates[1:]


def _other_chain() -> Refused:
    return Refused("the checkpoint is that of another chain")


def recent(
    state: State,
    verify_entry: Callable[[ChainEntry], object],
    name: str = "",
    pointer: str = "",
    *,
    limit: int,
    before: int = 0,
) -> tuple[ChainEntry, ...]:
    """Return the last updates of all pointers, of a name, or of one pointer, newest first, without reading the others.

    At most `limit`, and with `before` those before that index in the chain. Each is verified with its signature, and
    among them no update of a pointer is missing, exchanged or out of order. That they belong to the chain before and
    after them is not verified here: `audit` does that. Raises Refused, which names the first that fails.
    """
    found = state.recent_updates(name, pointer, limit=limit, before=before)
    entries = tuple(map(_entry, found))
    newer: dict[str, ChainEntry] = {}
    for entry in entries:
        verify_entry(entry)
        after = newer.get(entry.address)
        if after:
            _expect_numbered(after, entry.move.number + 1)
        newer[entry.address] = entry
    for after, entry in pairwise(entries):
        if after.index == entry.index + 1:
            _expect_follows(after, entry.digest, known=())
    return entries


def last(links: Sequence[ChainEntry], address: str) -> ChainEntry | None:
    """Return the last update of a `name@pointer`, or None."""
    return next((entry for entry in reversed(links) if entry.address == address), None)


def _entry(saved: SavedUpdate) -> ChainEntry:
    index, signed = saved
    return ChainEntry(index, _move(index, signed), signed, digest_of(signed.content))


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


def require_recently_seen(
    state: State, seen: Mapping[str, LastSeen], entries: Sequence[ChainEntry], *, file: Path
) -> None:
    """Raise Refused if an update that was seen is neither among the last ones, newest first, nor followed by one."""
    absent = seen.keys() - {entry.address for entry in entries}
    ends = [state.recent_updates(*address.split("@"), limit=1) for address in absent]
    known = [*entries, *(_entry(saved) for end in ends for saved in end)]
    oldest = {entry.address: entry.move.number for entry in known}
    expected = {address: one for address, one in seen.items() if oldest.get(address, 0) <= one.number}
    require_last_seen(expected, known, file=file)


def save_last_seen(file: Path, address: str, seen: LastSeen) -> None:
    """Save a verified update as the last one seen, if it is later than the saved one; processes take turns."""
    try:
        atomic.make_folder(file.parent)
    except OSError as error:
        what = f"the last seen updates cannot be saved: {error.strerror}"
        raise StoreError(what, where=str(file), hint="[trust] last_seen names another file") from error
    with _lock(file.parent):
        known = load_last_seen(file)
        if address not in known or known[address].number < seen.number:
            atomic.write(file, canonical({**known, address: seen}))


def save_served(folder: Path, entry: ChainEntry, earlier: ChainEntry | None) -> None:
    """Save a verified update as the one that this server follows; where it cannot write, a start needs the state.

    An operator's update is saved with the `earlier` one of a publisher that allows it.
    """
    saved = (entry.signed, earlier.signed) if earlier else entry.signed
    content, path = msgspec.json.encode(saved), _served_file(folder, entry.address)
    with suppress(StoreError, OSError):
        if not path.is_file() or path.read_bytes() != content:
            atomic.write(path, content)


def load_served(folder: Path, address: str, keys: UpdateKeys, seen: LastSeen | None) -> PointerUpdate:
    """Return the update of a pointer that this server followed last.

    Raises StoreError if there is none or it cannot be read, Refused if it does not verify, belongs to another pointer,
    points to no release, or is not the last one that was seen on this machine.
    """
    path = _served_file(folder, address)
    try:
        saved = msgspec.json.decode(path.read_bytes(), type=Signed | tuple[Signed, Signed])
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise StoreError(
            f"no update of {address} was saved here before the state was away", where=str(path), hint=_SERVED_HINT
        ) from error
    signed, earlier = saved if isinstance(saved, tuple) else (saved, None)
    subject = f"the saved update of {address}"
    key = keys.verify(signed, subject=subject, where=str(path))
    move = record.read(PointerUpdate, signed.content)
    if f"{move.name}@{move.pointer}" != address or not move.release:
        raise Refused(f"the saved update does not point {address} at a release", where=str(path), hint=_SERVED_HINT)
    if keys.is_operator(key):
        before = _read_earlier(earlier, move, keys.publishers) if earlier else None
        expect_way_back(move, before, subject, where=str(path), key=key)
    if seen is None or (seen.number, seen.digest) != (move.number, digest_of(signed.content)):
        raise Refused(f"the saved update of {address} is not the last one seen", where=str(path), hint=_SERVED_HINT)
    return move


def _read_earlier(signed: Signed, move: PointerUpdate, publishers: Trusted) -> PointerUpdate | None:
    """Return a publisher's update to the same release, None if it is another one; raises Refused."""
    verify(signed, publishers, subject="the update that an operator went back to")
    found = record.read(PointerUpdate, signed.content)
    same = (found.name, found.pointer, found.release) == (move.name, move.pointer, move.release)
    return found if same and found.number < move.number else None


def _served_file(folder: Path, address: str) -> Path:
    return folder / f"{address}.json"


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the system releases it when the process ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
