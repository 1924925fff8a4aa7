"""The fleet's files: signed records of two lines, what a device is to serve, and the registry of a device's server."""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from headway.core.config import Config
from headway.core.contracts import Signed, State
from headway.core.errors import StoreError
from headway.core.fleet import DeviceState, FleetPointer, FleetRelease, PollRefused
from headway.core.record import canonical, digest_of, read, write
from headway.core.release import PointerUpdate, Release
from headway.registry import chain
from headway.registry.bundle import Bundle
from headway.registry.key_assignment import assign_key
from headway.registry.model_registry import ModelRegistry
from headway.registry.settings.fleet import FleetSection
from headway.storage import atomic

TIMESTAMP = "timestamp.jsonl"


def pointer_path(digest: str) -> str:
    """Return the path of a pointer's file in the published folder, by the digest of its bytes."""
    return f"pointers/{digest.removeprefix('sha256:')}.jsonl"


def release_path(digest: str, name: str) -> str:
    """Return the path of a file of a release in the published folder."""
    return f"releases/{digest.removeprefix('sha256:')}/{name}"


def join_signed(signed: Signed) -> bytes:
    """Return a signed record as one file, so that a server cannot send the parts of two."""
    return signed.content + b"\n" + signed.signature + b"\n"


def split_signed(content: bytes, *, where: str) -> Signed:
    """Return the record and the signature in a file of `join_signed`.

    Raises PollRefused: `truncated` without both lines, `unreadable` with more.
    """
    lines = content.split(b"\n")
    if len(lines) < 3:
        raise PollRefused("truncated", "the file ends before its signature does", where=where)
    if len(lines) > 3 or lines[2]:
        raise PollRefused("unreadable", "the file has more than a record and its signature", where=where)
    return Signed(content=lines[0], signature=lines[1])


def release_evidence_digest(release: Release) -> str:
    """Return the digest of all evidence in a release."""
    return digest_of(canonical(release.evidence))


def release_policy_digest(release: Release) -> str:
    """Return the digest of the rules that the verdict of a release rests on."""
    return digest_of(canonical([result.rule for result in release.verdict.rule_results]))


def fleet_release(bundle: Bundle) -> FleetRelease:
    """Return what a pointer says of a release."""
    return FleetRelease(
        digest=bundle.digest,
        sizes={name: len(content) for name, content in bundle.contents.items()},
        evidence=release_evidence_digest(bundle.release),
        policy=release_policy_digest(bundle.release),
    )


def release_for(pointer: FleetPointer, device: str) -> FleetRelease:
    """Return the release that a device serves, by the hash of its name."""
    is_staged = pointer.staged is not None and assign_key(device, pointer.salt, pointer.share)
    return cast(FleetRelease, pointer.staged) if is_staged else pointer.release


def staged_releases(pointers: Iterable[FleetPointer], device: str) -> frozenset[str]:
    """Return the digests of the releases that pointers named for a device."""
    return frozenset(release_for(pointer, device).digest for pointer in pointers)


def device_file(registry: ModelRegistry) -> Path:
    """Return the file that a device keeps its state in: next to what else protects it from older pointers."""
    seen = registry.last_seen or chain.last_seen_file(registry.trusted_keys)
    return seen.with_name(f"{seen.name.removesuffix('.json')}.device.json")


def load_device(file: Path, address: str) -> DeviceState:
    """Return the state of a device for `name@pointer`, empty before its first poll; raises StoreError if damaged."""
    name, _, pointer = address.partition("@")
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return DeviceState(name=name, pointer=pointer)
    except OSError as error:
        raise StoreError(f"the state of the device cannot be read: {error.strerror}", where=str(file)) from error
    state = read(DeviceState, content)
    if (state.name, state.pointer) != (name, pointer):
        raise StoreError(f"this device follows {state.name}@{state.pointer}, not {address}", where=str(file))
    return state


def save_device(file: Path, state: DeviceState) -> None:
    """Replace the state of a device in one step."""
    atomic.write(file, write(state))


@contextmanager
def lock_device(file: Path) -> Iterator[None]:
    """Hold the lock of a device's state while it polls: two agents at once would undo each other's numbers."""
    lock = file.with_suffix(".lock")
    try:
        opened = lock.open("ab")
    except OSError as error:
        raise StoreError(f"the state of the device cannot be written: {error.strerror}", where=str(lock)) from error
    with opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield


class _PolledState:
    """The state of a device's server: its last pointer update is the file that the device's agent writes."""

    def __init__(self, state: State, file: Path) -> None:
        self._state, self._file = state, file

    def last(self, name: str = "", pointer: str = "") -> Signed | None:
        """Return the bytes of the device's state, whose change says that the server must look."""
        try:
            return Signed(content=self._file.read_bytes(), signature=b"")
        except OSError:
            return None

    def __getattr__(self, name: str) -> Any:
        """Return any other method of the state on this machine."""
        return getattr(self._state, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRegistry(ModelRegistry):
    """The registry of a device: its pointer is at the release that the device accepted last."""

    file: Path = Path()

    @classmethod
    def of_device(cls, config: Config) -> DeviceRegistry:
        """Return the registry of a device's project."""
        own = ModelRegistry.from_config(config)
        file = device_file(own)
        return cls(
            folder=own.folder,
            state=cast("State", _PolledState(own.state, file)),
            trusted_keys=own.trusted_keys,
            publisher_key=own.publisher_key,
            last_seen=own.last_seen,
            file=file,
        )

    def resolve(self, address: str) -> Bundle:
        """Return the release that the device accepted last, or `name@DIGEST`, every byte verified."""
        name, _, selector = address.partition("@")
        if selector.startswith("sha256:"):
            return ModelRegistry.resolve(self, address)
        release = load_device(self.file, address).release
        if not release:
            raise StoreError(f"this device has no release of {address} yet", hint="headway fleet poll URL")
        return self._open(name, release)

    def head(self, address: str) -> PointerUpdate | None:
        """Return None: a device reads no updates of pointers."""
        return None


def registry_of_server(config: Config) -> ModelRegistry:
    """Return the registry of a server: a device's, if it polls a fleet."""
    return DeviceRegistry.of_device(config) if config[FleetSection].url else ModelRegistry.of_server(config)
