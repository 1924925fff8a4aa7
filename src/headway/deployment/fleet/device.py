"""A device's side of a fleet: poll a signed pointer over HTTP, and load only what the publisher signed for this device.

The order of the checks is that of The Update Framework (https://theupdateframework.github.io/specification/): the
pointer and its key, the timestamp and its key, numbers, expiry, then the release by digest. Nothing is trusted because
of where it was read, so any web server or CDN can serve the folder.
"""

from __future__ import annotations

import functools
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPException, HTTPResponse, IncompleteRead
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit

from msgspec.structs import replace

from headway.core.contracts import Signed
from headway.core.errors import ConfigError, HeadwayError, Refused, StoreError
from headway.core.fleet import DeviceState, FleetPointer, FleetRelease, FleetTimestamp, PollRefusal, PollRefused
from headway.core.outbound import open_url
from headway.core.record import StoredRecordType, digest_of, read
from headway.registry import fleet
from headway.registry.bundle import RELEASE, SEAL, Bundle, open_bundle, open_release, received_release, save_bundle
from headway.registry.model_registry import ModelRegistry, now
from headway.registry.sign import Trusted, load_trusted, signer_of, verify
from headway.storage import atomic

MAX_TIMESTAMP, MAX_POINTER = 4 << 10, 64 << 10
"""Bytes of a timestamp and of a pointer; a server that sends more is not read further."""
MAX_RELEASE = 1 << 30
TIMEOUT_S, MAX_SKEW = 10.0, timedelta(minutes=10)
_CHUNK, _MIN_BYTES_PER_S = 1 << 16, 10_000


class PollResult(NamedTuple):
    """What a poll led to: the digest of the release that the device serves now (empty: none), and whether it is new.

    `reason` names why something was refused (empty: nothing was); `message` is for people.
    """

    release: str
    changed: bool
    reason: PollRefusal | str = ""
    message: str = ""


class _Reply(NamedTuple):
    """The body of a file and its entity tag; None: it did not change."""

    body: bytes | None
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePointer:
    """Follows the pointer `address` (`name@pointer`) of a fleet at a URL, for the device of a name.

    Parameters
    ----------
    url
        Folder that `headway fleet publish` wrote, as a web server serves it.
    registry
        Registry of the device: its releases, and its trusted keys. The device's state lies next to those.
    accept
        Called with a new release before the device serves it; raises HeadwayError to refuse it. By default the release
        is opened and has to pass its self-test.
    """

    url: str
    address: str
    device: str
    registry: ModelRegistry
    accept: Callable[[Bundle], object] = open_release
    timeout_s: float = TIMEOUT_S
    max_release_bytes: int = MAX_RELEASE
    clock: Callable[[], datetime] = field(default=now)

    def __post_init__(self) -> None:
        """Raise ConfigError for a URL that is none of HTTP."""
        if urlsplit(self.url).scheme not in ("http", "https"):
            raise ConfigError(f"{self.url!r} is not a URL of HTTP", hint="https://HOST/FOLDER")

    @property
    def file(self) -> Path:
        """The file of the device's state."""
        return fleet.device_file(self.registry)

    def poll(self) -> PollResult:
        """Read the pointer, and load its release if it is a new one.

        Never raises for what the server sent: the device keeps what it serves, and the result names the reason.
        """
        with fleet.lock_device(self.file):
            state = self.state()
            try:
                new = self._update(state)
                result = PollResult(new.release, changed=new.release != state.release)
            except PollRefused as error:
                result = PollResult(self.state().release, changed=False, reason=error.reason, message=str(error))
        return result

    def state(self) -> DeviceState:
        """Return what the device keeps of its fleet; raises StoreError if it is damaged."""
        return fleet.load_device(self.file, self.address)

    def _update(self, state: DeviceState) -> DeviceState:
        """Return the state after a poll, saved; raises PollRefused."""
        known = state.tag if state.url == self.url else ""
        reply = self._get(fleet.TIMESTAMP, MAX_TIMESTAMP, tag=known)
        if reply.body is not None:
            new = self._verified(state, reply)
            self._expect_fresh(new)
            fleet.save_device(self.file, new)
            state = new
        else:
            self._expect_fresh(state)
        target = fleet.release_for(self._pointer(state), self.device)
        if target.digest != state.release:
            self._fetch(target)
            state = replace(state, release=target.digest)
            fleet.save_device(self.file, state)
        return state

    def _pointer(self, state: DeviceState) -> FleetPointer:
        """Return the pointer that the device has, verified again: a key may be trusted no more."""
        signed, where = fleet.split_signed(state.content.encode(), where=str(self.file)), str(self.file)
        _expect_signed(signed, load_trusted(self.registry.trusted_keys), subject="the pointer", where=where)
        return _read(FleetPointer, signed.content, where=where)

    def _verified(self, state: DeviceState, reply: _Reply) -> DeviceState:
        """Return the state with a new timestamp, and with its pointer; raises PollRefused if either is not sound."""
        body, where = reply.body or b"", f"{self.url}/{fleet.TIMESTAMP}"
        signed = fleet.split_signed(body, where=where)
        timestamp = _read(FleetTimestamp, signed.content, where=where)
        content = self._pointer_file(state, timestamp)
        pointer_where = f"{self.url}/{fleet.pointer_path(timestamp.digest)}"
        signed_pointer = fleet.split_signed(content, where=pointer_where)
        trusted = load_trusted(self.registry.trusted_keys)
        _expect_signed(signed_pointer, trusted, subject="the pointer", where=pointer_where)
        pointer = _read(FleetPointer, signed_pointer.content, where=pointer_where)
        delegated = Trusted(self.file, {pointer.timestamp_key: "timestamps"})
        _expect_signed(signed, delegated, subject="the timestamp", where=where)
        for record, at in ((timestamp, where), (pointer, pointer_where)):
            met = f"{record.name}@{record.pointer}"
            if met != self.address:
                raise PollRefused("other pointer", f"the file is of {met}, not of {self.address}", where=at)
        self._expect_not_older(state, timestamp, signed_pointer.content, pointer, digest_of(body))
        # A thief of a timestamp's key whose time is over can give a timestamp any dates.
        expires = min(timestamp.expires, pointer.key_expires, key=functools.partial(_time, where=where))
        return replace(
            state,
            url=self.url,
            tag=reply.tag,
            content=content.decode(),
            number=pointer.number,
            timestamp=timestamp.number,
            timestamp_digest=digest_of(body),
            timestamp_key=pointer.timestamp_key,
            at=max(filter(None, (state.at, timestamp.at)), key=functools.partial(_time, where=where)),
            expires=expires,
        )

    def _pointer_file(self, state: DeviceState, timestamp: FleetTimestamp) -> bytes:
        """Return the file that a timestamp names, from the device if it has that one."""
        known = state.content.encode()
        if known and digest_of(known) == timestamp.digest:
            return known
        path = fleet.pointer_path(timestamp.digest)
        if timestamp.size_bytes > MAX_POINTER:
            raise PollRefused("oversized", f"the pointer has {timestamp.size_bytes:,} bytes", where=self.url)
        return self._get_exact(path, timestamp.size_bytes, timestamp.digest)

    def _expect_not_older(
        self, state: DeviceState, timestamp: FleetTimestamp, content: bytes, pointer: FleetPointer, digest: str
    ) -> None:
        """Raise PollRefused for an older pointer or timestamp than the last, or another one of the same number."""
        known = fleet.split_signed(state.content.encode(), where=str(self.file)).content if state.content else content
        if pointer.number < state.number or (pointer.number == state.number and content != known):
            message = f"pointer {pointer.number} was replayed: this device has seen pointer {state.number}"
            raise PollRefused("replay", message, where=self.url)
        if state.timestamp_key != pointer.timestamp_key:
            return  # another key starts to count again, and only a newer pointer names one
        if timestamp.number < state.timestamp or (
            timestamp.number == state.timestamp and digest != state.timestamp_digest
        ):
            message = f"timestamp {timestamp.number} was replayed: this device has seen {state.timestamp}"
            raise PollRefused("replay", message, where=self.url)

    def _expect_fresh(self, state: DeviceState) -> None:
        """Raise PollRefused if the last timestamp has expired: an attacker must not hold a device at an old pointer.

        A clock that is before the latest time at which a timestamp was signed is wrong: it could revive what expired.
        """
        where, time_now = str(self.file), self.clock()
        if state.at and time_now + MAX_SKEW < _time(state.at, where=where):
            message = f"a timestamp was signed at {state.at}, and this device is at {time_now.isoformat()}"
            raise PollRefused("clock", message, where=self.url, hint="set the clock of the device")
        if not state.expires or _time(state.expires, where=where) <= time_now:
            message = f"the last timestamp was valid until {state.expires}: nothing new is loaded"
            raise PollRefused("expired", message, where=self.url, hint="the publisher renews it: headway fleet renew")

    def _fetch(self, target: FleetRelease) -> None:
        """Load a release into the registry of the device, verified; raises PollRefused.

        A release that the device has already, such as that of a rollback, is verified again, and not read again.
        """
        where = f"{self.url}/{fleet.release_path(target.digest, '')}"
        name = self.address.partition("@")[0]
        folder = self.registry.folder / name / target.digest.removeprefix("sha256:")
        known = self._on_disk(folder)
        bundle = known or self._download(target, where=where)
        found = fleet.fleet_release(bundle)
        if (bundle.release.name, found) != (name, target):
            parts = [part for part in ("evidence", "policy") if getattr(found, part) != getattr(target, part)]
            message = f"the {' and the '.join(parts or ['record'])} of release {target.digest} is not the pointer's"
            raise PollRefused("mixed", message, where=where)
        try:
            self.accept(bundle)
            if known is None:
                save_bundle(folder, received_release(bundle.contents, bundle.digest))
        except HeadwayError as error:
            raise PollRefused("self-test", error.what, where=where) from error

    def _on_disk(self, folder: Path) -> Bundle | None:
        """Return the release in a folder of the device, if it verifies."""
        with suppress(Refused):
            return open_bundle(folder, load_trusted(self.registry.trusted_keys))
        return None

    def _download(self, target: FleetRelease, *, where: str) -> Bundle:
        """Return a release as it was read, if it verifies; raises PollRefused."""
        if sum(target.sizes.values()) > self.max_release_bytes:
            raise PollRefused("oversized", f"the release has {sum(target.sizes.values()):,} bytes", where=where)
        contents = {file: self._release_file(target, file) for file in sorted({RELEASE, SEAL, *target.sizes})}
        trusted = load_trusted(self.registry.trusted_keys)
        try:
            atomic.make_folder(self.registry.folder)
            with atomic.aside(self.registry.folder) as new:
                save_bundle(new / "release", received_release(contents, target.digest))
                return open_bundle(new / "release", trusted)
        except Refused as error:
            signer = signer_of(contents[SEAL])
            reason: PollRefusal = "wrong key" if signer and signer not in trusted.keys else "mixed"
            raise PollRefused(reason, error.what, where=where) from error

    def _release_file(self, target: FleetRelease, name: str) -> bytes:
        if name not in target.sizes:
            raise PollRefused("mixed", f"the pointer names no size of {name}", where=self.url)
        digest = target.digest if name == RELEASE else ""
        return self._get_exact(fleet.release_path(target.digest, name), target.sizes[name], digest)

    def _get_exact(self, path: str, size: int, digest: str) -> bytes:
        """Return a file of a size, and of a digest if one is given; raises PollRefused."""
        body, where = self._get(path, size).body or b"", f"{self.url}/{path}"
        if len(body) < size:
            raise PollRefused("truncated", f"the file has {len(body):,} bytes of {size:,}", where=where)
        if digest and digest_of(body) != digest:
            raise PollRefused("mixed", f"the file is not {digest}", where=where)
        return body

    def _get(self, path: str, max_bytes: int, *, tag: str = "") -> _Reply:
        """Return a file of at most so many bytes, or nothing if it still has the tag; raises PollRefused."""
        where = f"{self.url.rstrip('/')}/{path}"
        request = urllib.request.Request(where, headers={"If-None-Match": tag} if tag else {})
        deadline = time.monotonic() + self.timeout_s + max_bytes / _MIN_BYTES_PER_S
        try:
            with open_url(request, timeout_s=self.timeout_s) as response:
                body = _body(response, max_bytes, deadline=deadline, where=where)
                return _Reply(body, response.headers.get("ETag", ""))
        except HTTPError as error:
            error.close()
            if error.code == 304 and tag:
                return _Reply(None, tag)
            raise PollRefused("unreachable", f"the server answered {error.code}", where=where) from error
        except IncompleteRead as error:
            raise PollRefused("truncated", f"the answer ended early: {error}", where=where) from error
        except (OSError, HTTPException, ValueError) as error:
            raise PollRefused("unreachable", f"no answer: {error}", where=where) from error


def _body(response: HTTPResponse, max_bytes: int, *, deadline: float, where: str) -> bytes:
    """Return the body of an answer, of which no more is read than it may have."""
    body = bytearray()
    while len(body) <= max_bytes and (chunk := response.read1(_CHUNK)):
        body += chunk
        if time.monotonic() > deadline:
            raise PollRefused("unreachable", "the answer is too slow", where=where)
    length = response.headers.get("Content-Length", "")
    if len(body) > max_bytes:
        raise PollRefused("oversized", f"the file has more than {max_bytes:,} bytes", where=where)
    if length.isdecimal() and len(body) < int(length):
        raise PollRefused("truncated", f"the server sent {len(body):,} bytes of {int(length):,}", where=where)
    return bytes(body)


def _read(kind: type[StoredRecordType], content: bytes, *, where: str) -> StoredRecordType:
    try:
        return read(kind, content)
    except StoreError as error:
        raise PollRefused("unreadable", error.what, where=where) from error


def _time(text: str, *, where: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise PollRefused("unreadable", f"{text!r} is not a time", where=where) from error


def _expect_signed(signed: Signed, trusted: Trusted, *, subject: str, where: str) -> None:
    """Raise PollRefused unless a trusted key signed these bytes: `wrong key` if another did, else `changed`."""
    try:
        verify(signed, trusted, subject=subject, where=where)
    except HeadwayError as error:
        signer = signer_of(signed.signature)
        reason: PollRefusal = "wrong key" if signer and signer not in trusted.keys else "changed"
        raise PollRefused(reason, error.what, where=where) from error
