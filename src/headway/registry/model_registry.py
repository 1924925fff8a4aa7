"""The registry: release folders that never change, and pointers (`flights@live`) whose every update is recorded."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from dataclasses import replace as replace_fields
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Literal, cast

from msgspec.structs import replace

from headway.core import record
from headway.core.config import Config
from headway.core.contracts import Feed, SharedReleases, State
from headway.core.errors import ConfigError, PointerMoved, Refused, StoreError, StoreUnavailable
from headway.core.record import Record, digest_of
from headway.core.release import PointerUpdate, Release, TrafficAssignment
from headway.core.settings.store import StoreSection
from headway.core.verdict import Verdict
from headway.registry import chain
from headway.registry.bundle import (
    Bundle,
    SignedRelease,
    open_bundle,
    received_release,
    save_bundle,
    sign_release,
)
from headway.registry.chain import ChainEntry, Checkpoint, LastSeen, UpdateKeys
from headway.registry.settings.trust import TrustSection
from headway.registry.sign import (
    COPY_HINT,
    Operator,
    Publisher,
    Trusted,
    load_operator,
    load_publisher,
    load_trusted,
    signer_of,
)
from headway.storage.addresses import LateState, open_feed, open_releases, open_state, outside_store

_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
_POINTER = r"[a-z][a-z0-9_-]{0,31}"
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{8,64})")
_DIGEST_DIGITS = 64
_MAX_ADVANCE = 4 * chain.CHECKPOINT_EVERY
_NOTHING: Mapping[str, int] = MappingProxyType({})
KeyRole = Literal["publisher", "operator"]
"""Whose private key signs an update."""


class UpdateReason(Record, frozen=True, kw_only=True):
    """Who updates a pointer and why, and the verdict behind it.

    No verdict is needed to return to an earlier release.
    """

    who: str
    why: str
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class ReleaseLine:
    """The releases that a pointer can go back to and forward to, each in the order in which they were released.

    It is the history of a browser: a way back keeps what it left, to go forward again, and a new release drops that.
    """

    back: Sequence[str]
    forward: Sequence[str]

    @classmethod
    def of(cls, updates: Iterable[PointerUpdate]) -> ReleaseLine:
        """Return the line of a pointer by its updates, the oldest first.

        A return to a release that is not in the line, because the updates begin later or a new release dropped it, is
        a way back.
        """
        releases: list[str] = []
        index, is_withdrawn = -1, False
        for update in updates:
            is_withdrawn = not update.release
            if is_withdrawn:
                continue
            if update.verdict:
                releases = [release for release in releases[: index + 1] if release != update.release]
                releases.append(update.release)
                index = len(releases) - 1
            else:
                if update.release not in releases:
                    releases.insert(max(index, 0), update.release)
                index = releases.index(update.release)
        return cls(releases[: index + is_withdrawn], releases[index + 1 :])


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRegistry:
    """Releases in a folder and pointer updates in a state, trusted as far as trusted keys signed them.

    Releases that machines share are fetched into the folder when they are first needed, and verified there. Only
    `publish`, `point`, `withdraw` and `roll_back` read the publisher's private key, or the operator's, where the caller
    says so. A new update is announced in the feed, if there is one. A server saves the last verified update of each
    pointer in the folder `served`, for a start while the state is away. The last updates that this machine has seen are
    in the file `last_seen`, by default next to the trusted keys.
    """

    folder: Path
    state: State
    trusted_keys: Path
    publisher_key: Path
    operator_keys: Path | None = None
    operator_key: Path | None = None
    shared: SharedReleases | None = None
    feed: Feed | None = None
    served: Path | None = None
    last_seen: Path | None = None
    clock: Callable[[], datetime] = now
    _allowed: dict[str, ChainEntry] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def from_config(cls, config: Config, *, state: State | None = None) -> ModelRegistry:
        """Return the registry of a project; raises ConfigError if its keys lie inside the store that they protect."""
        keys = {
            "trusted_keys": config.path(config[TrustSection].trusted_keys),
            "publisher_key": config.path(config[TrustSection].publisher_key),
            "operator_keys": config.path(config[TrustSection].operator_keys),
            "operator_key": config.path(config[TrustSection].operator_key),
        }
        outside = dict(keys)
        last_seen = config.path(config[TrustSection].last_seen) if config[TrustSection].last_seen else None
        if last_seen and not (config[StoreSection].state and last_seen.is_relative_to(config.state)):
            outside["last_seen"] = last_seen  # with a state elsewhere, the folder of this machine holds no pointers
        for setting, path in outside.items():
            outside_store(path, config, f"[trust] {setting} lies in the store, so that one person could change both")
        return cls(
            folder=config.state / "releases",
            state=state or open_state(config),
            trusted_keys=keys["trusted_keys"],
            publisher_key=keys["publisher_key"],
            operator_keys=keys["operator_keys"],
            operator_key=keys["operator_key"],
            shared=open_releases(config),
            feed=open_feed(config),
            last_seen=last_seen,
        )

    @classmethod
    def of_server(cls, config: Config) -> ModelRegistry:
        """Return the registry of a server, which opens a state on another machine with the first use."""
        if not config[StoreSection].state:
            return cls.from_config(config)
        state = cast("State", LateState(config))
        return replace_fields(cls.from_config(config, state=state), served=config.state / "served")

    def publish(self, release: Release, files: Mapping[str, bytes]) -> str:
        """Sign a release with its files and save it; return its digest.

        Publishing the same release again repairs what differs, such as a signature by a former key.
        """
        sealed = sign_release(release, files, load_publisher(self.publisher_key))
        save_bundle(self._folder(release.name, sealed.digest), sealed)
        if self.shared:
            self.shared.save_release(release.name, sealed.digest, sealed.contents)
        return sealed.digest

    def add(self, folder: Path) -> Bundle:
        """Copy the release in a folder, such as one of an image, to this machine, every byte verified."""
        bundle = open_bundle(folder, self._trusted())
        save_bundle(self._folder(bundle.release.name, bundle.digest), SignedRelease(bundle.contents, bundle.digest))
        return bundle

    def point(
        self,
        address: str,
        release: str,
        reason: UpdateReason,
        *,
        after: int | None = None,
        unmoved: Mapping[str, int] = _NOTHING,
        assignment: TrafficAssignment | None = None,
    ) -> PointerUpdate:
        """Point `name@pointer` at a release (its digest), signed and numbered; return the update.

        Parameters
        ----------
        after : int, optional
            Number of the last update that the caller saw, 0 for none; by default the last one.
        unmoved : mapping of str to int
            The same for other pointers that the decision rests on, by their address.
        assignment : TrafficAssignment, optional
            Share of keys, for a canary.

        Raises
        ------
        PointerMoved
            If another update came first, of this pointer or of one that had to be unmoved; the message names the
            current release of that pointer.
        Refused
            If the release does not verify, if its verdict is not pass, or if the verdict is missing and the pointer
            never had this release.
        """
        self._open(_parse(address)[0], release)
        last = chain.last(self._links(address), address)
        _expect_reason(reason, release, () if reason.verdict else self.releases(address))
        if after is None:
            after = last.move.number if last else 0
        return self._move(address, release, reason, number=after + 1, unmoved=unmoved, assignment=assignment)

    def withdraw(
        self,
        address: str,
        *,
        who: str,
        why: str,
        after: int | None = None,
        unmoved: Mapping[str, int] = _NOTHING,
        key: KeyRole = "publisher",
    ) -> PointerUpdate | None:
        """Withdraw a pointer, so that it points at no release, by a signed and numbered update.

        None if it already does. No verdict is needed: taking a release out of traffic is always allowed. `after` and
        `unmoved` are as in `point`, which says when PointerMoved is raised. With the operator's key only `canary` can
        be withdrawn; Refused otherwise.
        """
        last = chain.last(self._links(address), address)
        if last is None or not last.move.release:
            return None
        after = last.move.number if after is None else after
        return self._move(address, "", UpdateReason(who=who, why=why), number=after + 1, unmoved=unmoved, key=key)

    def roll_back(
        self,
        address: str,
        *,
        who: str,
        why: str,
        to: str = "",
        after: int | None = None,
        key: KeyRole = "publisher",
    ) -> PointerUpdate:
        """Point at the release before the current one; calling it twice goes back twice, and never forward.

        Parameters
        ----------
        to : str
            Digest of another release that the pointer had, to go back further.
        after : int, optional
            Number of the last update that the caller saw; by default the last one.
        key : {"publisher", "operator"}
            Whose key signs the update.

        Raises
        ------
        StoreError
            If the pointer had no release before this one.
        PointerMoved
            If it was updated in between.
        Refused
            If the pointer never had the release, had it after the current one, or the release does not verify.
        """
        updates = self._updates_since(address, after)
        line = ReleaseLine.of(updates)
        if not (to or line.back):
            raise StoreError(f"{address} had no other release to go back to", hint="headway history")
        if to in line.forward:
            raise Refused(f"{address} had {to} after its current release", hint="headway rollout forward")
        return self._return(address, to or line.back[-1], updates, UpdateReason(who=who, why=why), after=after, key=key)

    def roll_forward(
        self,
        address: str,
        *,
        who: str,
        why: str,
        to: str = "",
        after: int | None = None,
        key: KeyRole = "publisher",
    ) -> PointerUpdate:
        """Point at the release after the current one, which a rollback left; otherwise as `roll_back`.

        `to` is the digest of a later one that was left as well. Raises StoreError if no rollback left one.
        """
        updates = self._updates_since(address, after)
        forward = ReleaseLine.of(updates).forward
        if to not in ("", *forward):
            raise Refused(f"{address} did not leave {to} by a rollback", hint="headway history")
        if not forward:
            raise StoreError(
                f"{address} left no release by a rollback, so there is none to go forward to", hint="headway history"
            )
        return self._return(address, to or forward[0], updates, UpdateReason(who=who, why=why), after=after, key=key)

    def _return(
        self,
        address: str,
        release: str,
        updates: Sequence[PointerUpdate],
        reason: UpdateReason,
        *,
        after: int | None,
        key: KeyRole,
    ) -> PointerUpdate:
        """Point again at a release that the pointer had, after the update that the caller saw."""
        self._open(_parse(address)[0], release)
        _expect_reason(reason, release, [update.release for update in updates])
        number = (len(updates) if after is None else after) + 1
        return self._move(address, release, reason, number=number, unmoved=_NOTHING, key=key)

    def returns(self, address: str, *, limit: int = 50) -> tuple[list[PointerUpdate], list[PointerUpdate]]:
        """Return the last update to each release to go back to, and to each to go forward to, the latest first.

        Only the last `limit` updates of the pointer are read.
        """
        updates = [entry.move for entry in self.recent(*_parse(address), limit=limit)]
        forward = ReleaseLine.of(updates[::-1]).forward
        last: dict[str, PointerUpdate] = {}
        for update in updates:
            if update.release not in ("", updates[0].release):
                last.setdefault(update.release, update)
        back = [update for release, update in last.items() if release not in forward]
        return back, [update for release, update in last.items() if release in forward]

    def releases(self, address: str) -> list[str]:
        """Return every release that a pointer had, the oldest first, by the complete chain; none is verified."""
        return [release for release in dict.fromkeys(update.release for update in self._updates(address)) if release]

    def last_update(self, address: str) -> PointerUpdate | None:
        """Return the last update of a pointer, or None; nothing is verified: it is for `after` and `unmoved` only."""
        last = self.state.last(*_parse(address))
        return record.read(PointerUpdate, last.content) if last else None

    def _move(
        self,
        address: str,
        release: str,
        reason: UpdateReason,
        *,
        number: int,
        unmoved: Mapping[str, int],
        assignment: TrafficAssignment | None = None,
        key: KeyRole = "publisher",
    ) -> PointerUpdate:
        name, pointer = _parse(address)
        move = PointerUpdate(
            name=name,
            pointer=pointer,
            number=number,
            release=release,
            previous="",
            at=self.clock().astimezone(UTC).isoformat(timespec="milliseconds"),
            who=reason.who,
            why=reason.why,
            verdict=digest_of(record.write(reason.verdict)) if reason.verdict else "",
            answer=_answer(reason.verdict) if reason.verdict else "",
            assignment=assignment,
        )
        if key == "publisher":
            return self._append(move, load_publisher(self.publisher_key), unmoved)
        operator = self.load_operator()
        self._expect_way_back(move, operator)
        return self._append(move, operator, unmoved)

    def load_operator(self) -> Operator:
        """Return the operator's key of this machine.

        Raises ConfigError if there is none, or if it is not in the list of operators here, with the line to add.
        """
        operator = load_operator(self.operator_key or Path())
        listed = self.operators()
        if operator.key not in listed.keys:
            raise ConfigError(
                f"the operator key of this machine, {operator.key}, is not trusted here",
                where=str(listed.file),
                hint=f"add the line: {operator.key} <whose it is>",
            )
        return operator

    def operators(self) -> Trusted:
        """Return the operators' keys that may move a pointer back and sign approvals."""
        return load_trusted(self.operator_keys) if self.operator_keys else Trusted(Path(), {})

    def _expect_way_back(self, move: PointerUpdate, operator: Operator) -> None:
        """Raise Refused for an update that loaders would refuse from an operator."""
        address = f"{move.name}@{move.pointer}"
        earlier = chain.find_earlier(self._complete(), address, move.release, self._trusted())
        subject = f"the update of {address}"
        chain.expect_way_back(move, earlier.move if earlier else None, subject, where=address, key=operator.key)

    def _complete(self) -> Sequence[ChainEntry]:
        return chain.link(self.state.updates())

    def has_seen(self, address: str) -> bool:
        """Return whether this machine has seen an update of a pointer, in this store or in another."""
        return address in chain.load_last_seen(self._seen_file)

    def head(self, address: str) -> PointerUpdate | None:
        """Return the last update of a pointer, or None.

        Raises Refused if it, or the chain before it, does not verify.
        """
        last = chain.last(self._links(address), address)
        if last is None:
            return None
        earlier = self._verify(last, self._update_keys(), self._complete)
        seen = chain.LastSeen(number=last.move.number, digest=last.digest)
        chain.save_last_seen(self._seen_file, address, seen)
        if self.served:
            chain.save_served(self.served, last, earlier)
        return last.move

    def _verify(
        self, entry: ChainEntry, keys: UpdateKeys, complete: Callable[[], Sequence[ChainEntry]]
    ) -> ChainEntry | None:
        """Verify an update; return the publisher's that allows it if it is an operator's way back.

        The complete chain is read once for each such update: its digest fixes what came before it.
        """
        known = self._allowed.get(entry.digest)
        if known is not None and signer_of(known.signed.signature) in keys.publishers.keys:
            return entry.verify(keys, lambda: (known, entry))
        earlier = entry.verify(keys, complete)
        if earlier is not None:
            self._allowed[entry.digest] = earlier
        return earlier

    def _verifier(self, keys: UpdateKeys) -> Callable[[ChainEntry], object]:
        """Return the function that verifies several updates, and reads the complete chain at most once."""
        return functools.partial(self._verify, keys=keys, complete=functools.cache(self._complete))

    def resolve_served(self, address: str) -> Bundle:
        """Return the release at a pointer as this server knew it last, without the state, every byte verified.

        Raises StoreError if this server never knew it, and Refused if it does not verify or is older than what this
        machine has seen.
        """
        name, _ = _parse(address)
        seen = chain.load_last_seen(self._seen_file).get(address)
        move = chain.load_served(self.served or Path(), address, self._update_keys(), seen)
        return self._open(name, move.release)

    def history(self, name: str = "", pointer: str = "") -> tuple[PointerUpdate, ...]:
        """Return the updates of all pointers, or of a name, or of one pointer, oldest first, after verifying the chain.

        Raises Refused, which names the first update that was edited, deleted, reordered or cut off, or whose key is
        unknown.
        """
        seen, keys = chain.load_last_seen(self._seen_file), self._update_keys()
        checkpoints = self._checkpoints(keys)
        links, verified = chain.audit(self.state.updates(), keys, checkpoints)
        chain.require_last_seen(seen, links, file=self._seen_file)
        if verified.count >= chain.CHECKPOINT_EVERY and verified not in checkpoints:
            chain.save_checkpoint(self._checkpoint_file, verified)
        moves = (entry.move for entry in links)
        return tuple(move for move in moves if name in {"", move.name} and pointer in {"", move.pointer})

    def recent(self, name: str = "", pointer: str = "", *, limit: int = 50, before: int = 0) -> tuple[ChainEntry, ...]:
        """Return a page of `history`, newest first: at most `limit` updates before the index `before` of the chain.

        The next page begins before the index of the last entry of this one; `before=0` is the first page, which holds
        the last updates that this machine has seen, unless later ones fill it. Each update is verified, and that none
        is missing among them. `history` verifies the complete chain.

        Raises Refused, which names the first update that was edited, deleted, reordered or cut off, or whose key is
        unknown.
        """
        seen, verify = chain.load_last_seen(self._seen_file), self._verifier(self._update_keys())
        entries = chain.recent(self.state, verify, name, pointer, limit=limit, before=before)
        if not before:
            own = {address: one for address, one in seen.items() if _matches(address, name, pointer)}
            chain.require_recently_seen(self.state, own, entries, file=self._seen_file)
        return entries

    def live_at(self, address: str, time: datetime) -> PointerUpdate | None:
        """Return the update of a pointer in force at a time (local if it has no zone), or None before the first."""
        moves = (
            move for move in self.history(*_parse(address)) if datetime.fromisoformat(move.at) <= time.astimezone()
        )
        return max(moves, key=lambda move: move.number, default=None)

    def resolve(self, address: str) -> Bundle:
        """Return the release at `name@pointer` or `name@<first 8 or more digits of its digest>`, every byte verified.

        Raises Refused if anything between the trusted keys and the bytes differs from what was signed; StoreError,
        which lists the known pointers or digests, if the release does not exist.
        """
        name, at, selector = address.partition("@")
        if at and re.fullmatch(_NAME, name) and _DIGEST.fullmatch(selector):
            return self._open(name, self._find(name, selector.removeprefix("sha256:")))
        name, _ = _parse(address)
        move = self.head(address)
        if move is None:
            known = ", ".join(sorted({entry.address for entry in chain.link(self.state.updates())}))
            raise StoreError(f"no pointer {address}", where=f"known: {known or 'none'}", hint="headway release")
        if not move.release:
            raise StoreError(
                f"{address} points at no release", where=f"withdrawn at {move.at} by {move.who}: {move.why}"
            )
        return self._open(name, move.release)

    @property
    def _seen_file(self) -> Path:
        return self.last_seen or chain.last_seen_file(self.trusted_keys)

    def _trusted(self) -> Trusted:
        return load_trusted(self.trusted_keys)

    def _update_keys(self) -> UpdateKeys:
        return UpdateKeys(self._trusted(), self.operators())

    @property
    def _checkpoint_file(self) -> Path:
        return chain.checkpoint_file(self.trusted_keys)

    def _checkpoints(self, keys: UpdateKeys) -> list[Checkpoint]:
        """Return the checkpoints of this machine and of the store that were made, the later one first."""
        found = (chain.own_checkpoint(self._checkpoint_file, keys), chain.signed_checkpoint(self.state, keys))
        return sorted((made for made in found if made.count), key=lambda made: -made.count)

    def _links(self, address: str) -> tuple[ChainEntry, ...]:
        """Return the chain from a checkpoint on, and before it the last update of this pointer.

        The last update of this pointer that was seen on this machine must be there. A checkpoint that does not lead
        there decides nothing: the complete chain does.
        """
        seen, keys = chain.load_last_seen(self._seen_file), self._update_keys()
        checkpoints = self._checkpoints(keys)
        for checkpoint in checkpoints or [chain.START]:
            with suppress(Refused):
                links = self._links_after(checkpoint, address, seen)
                self._advance(checkpoint, links, keys)
                return links
        return self._links_after(chain.START, address, seen)

    def _links_after(
        self, checkpoint: Checkpoint, address: str, seen: Mapping[str, LastSeen]
    ) -> tuple[ChainEntry, ...]:
        links = chain.links_after(self.state, checkpoint, address)
        own = {known: last for known, last in seen.items() if known == address}
        chain.require_last_seen(own, links, file=self._seen_file)
        return links

    def _advance(self, checkpoint: Checkpoint, links: Sequence[ChainEntry], keys: UpdateKeys) -> None:
        """Move the checkpoint of this machine on if many updates follow it, at most `_MAX_ADVANCE` at a time."""
        following = [entry for entry in links if entry.index > checkpoint.count]
        if len(following) >= chain.CHECKPOINT_EVERY:
            verified = chain.advance(checkpoint, following[:_MAX_ADVANCE], keys, self._verifier(keys))
            if verified.count > checkpoint.count:
                chain.save_checkpoint(self._checkpoint_file, verified)

    def _updates(self, address: str) -> list[PointerUpdate]:
        """Return every update of a pointer, the oldest first, by the complete chain; no signature is verified."""
        links = self._links_after(chain.START, address, chain.load_last_seen(self._seen_file))
        return [entry.move for entry in links if entry.address == address]

    def _updates_since(self, address: str, after: int | None) -> list[PointerUpdate]:
        """Return every update of a pointer; raises PointerMoved if the last is not the one that the caller saw."""
        if after is not None:
            self._expect_unmoved(address, after)
        return self._updates(address)

    def _append(self, move: PointerUpdate, key: Publisher | Operator, unmoved: Mapping[str, int]) -> PointerUpdate:
        """Append an update to the chain, again if another pointer was updated in between; then save it as seen.

        The end of the chain is read before the pointers that must be unmoved, so nothing comes between them and it.
        """
        appended = False
        while not appended:
            end = self.state.last()
            for address, number in unmoved.items():
                self._expect_unmoved(address, number)
            move = replace(move, previous=digest_of(end.content) if end else "")
            signed = key.sign(record.write(move))
            appended = self.state.append(signed)
        seen = chain.LastSeen(number=move.number, digest=digest_of(signed.content))
        chain.save_last_seen(self._seen_file, f"{move.name}@{move.pointer}", seen)
        if isinstance(key, Publisher):
            keys = self._update_keys()
            chain.sign_checkpoint(self.state, chain.own_checkpoint(self._checkpoint_file, keys), keys, key)
        if self.feed:
            with suppress(StoreUnavailable):  # a hint only: servers poll as well
                self.feed.announce()
        return move

    def _expect_unmoved(self, address: str, number: int) -> None:
        last = self.last_update(address)
        if last and last.number != number:
            current = f"is at {last.release or 'no release'} by update {last.number} ({last.who}: {last.why})"
            raise PointerMoved(
                f"{address} {current}, which came in between",
                hint="check headway history, then repeat the command if it is still right",
            )

    def _open(self, name: str, digest: str) -> Bundle:
        """Open the release of that name and digest, verified; raises Refused if its folder holds another."""
        folder = self._folder(name, digest)
        if not folder.is_dir():
            self._fetch(name, digest)
        try:
            bundle = open_bundle(folder, self._trusted())
        except Refused:
            fetched = False
            with suppress(StoreUnavailable):
                fetched = self._fetch(name, digest)  # another machine may have signed it again, with another key
            if not fetched:
                raise
            bundle = open_bundle(folder, self._trusted())
        if (bundle.release.name, bundle.digest) != (name, digest):
            met = f"{bundle.release.name} {bundle.digest}"
            raise Refused(f"the folder of {name} {digest} holds {met}", where=str(folder), hint=COPY_HINT)
        return bundle

    def _fetch(self, name: str, digest: str) -> bool:
        """Write a shared release to its folder; return False if there is none."""
        contents = self.shared.load_release(name, digest) if self.shared else None
        if contents is not None:
            save_bundle(self._folder(name, digest), received_release(contents, digest))
        return contents is not None

    def _find(self, name: str, prefix: str) -> str:
        """Return the digest of the one release of a name that begins with `prefix`."""
        if len(prefix) == _DIGEST_DIGITS and (self.folder / name / prefix).is_dir():
            return f"sha256:{prefix}"
        shared = [digest.removeprefix("sha256:") for digest in self.shared.releases(name)] if self.shared else []
        there = sorted({*shared, *(path.name for path in (self.folder / name).glob("[0-9a-f]*"))})
        found = [entry for entry in there if entry.startswith(prefix)]
        if len(found) != 1:
            raise StoreError(
                f"{len(found)} releases of {name} begin with {prefix}",
                where=f"known: {', '.join(entry[:16] for entry in there) or 'none'}",
            )
        return f"sha256:{found[0]}"

    def _folder(self, name: str, digest: str) -> Path:
        match = _DIGEST.fullmatch(digest)
        if not re.fullmatch(_NAME, name) or match is None:
            raise StoreError(f"{name!r} {digest!r} are not the name and digest of a release")
        return self.folder / name / match[1]


def _answer(verdict: Verdict) -> str:
    """Return what an update records of its verdict; a person's pass is an `override`, never the judge's."""
    return "override" if verdict.overridden else verdict.answer


def _matches(address: str, name: str, pointer: str) -> bool:
    of, _, at = address.partition("@")
    return name in {"", of} and pointer in {"", at}


def _parse(address: str) -> tuple[str, str]:
    match = re.fullmatch(f"({_NAME})@({_POINTER})", address)
    if match is None or _DIGEST.fullmatch(match[2]):
        raise StoreError(f"{address!r} is not a pointer", hint="name@pointer in small letters, such as flights@live")
    return match[1], match[2]


def _expect_reason(reason: UpdateReason, release: str, before: Sequence[str]) -> None:
    """Raise Refused unless the verdict passes, or there is none and the pointer had this release before."""
    if reason.verdict is None and release not in before:
        raise Refused(
            f"the pointer never had release {release}, and no verdict is given",
            hint="headway gate, or an override: a verdict by a person, with the reason",
        )
    if reason.verdict is not None and reason.verdict.answer != "pass":
        raise Refused(f"the verdict is {reason.verdict.answer}: only pass moves a pointer", where=release)
