"""The publisher's side of a fleet: a folder of signed files that any web server or CDN serves to devices."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from headway.core.config import parse_age
from headway.core.errors import ConfigError, HeadwayError, StoreError
from headway.core.fleet import FleetPointer, FleetTimestamp
from headway.core.record import digest_of, read, write
from headway.registry import fleet
from headway.registry.bundle import Bundle
from headway.registry.project import Project
from headway.registry.settings.fleet import FleetSection
from headway.registry.settings.trust import TrustSection
from headway.registry.sign import (
    SigningKey,
    create_timestamp_key,
    load_publisher,
    load_timestamp_key,
    load_trusted,
    verify,
)
from headway.storage import atomic

POINTER_RECORDS, FOLLOW_S = 1_000, 0.5


class Published(NamedTuple):
    """The pointer and the timestamp in the folder of a fleet, and whether the pointer is new."""

    pointer: FleetPointer
    timestamp: FleetTimestamp
    is_new: bool


def publish_fleet(
    project: Project,
    out: Path,
    *,
    who: str,
    why: str = "",
    pointer: str = "live",
    share: float | None = None,
    valid: timedelta = timedelta(days=1),
    key_valid: timedelta = timedelta(days=30),
    new_key: bool = False,
) -> Published:
    """Write the folder of a fleet for the release at a pointer, with a new timestamp.

    Parameters
    ----------
    share
        Share of devices that load the release; the others keep the release that all devices had last. None: the share
        stays as it is if the release is staged already, else all devices load it.
    valid, key_valid
        How long a device believes the timestamp, and how long the timestamp's key may sign.
    new_key
        Make a new key of timestamps: the former one may be in other hands.

    Raises
    ------
    ConfigError
        If a share is given and the other devices have none to stay at.
    Refused
        If the registry does not verify.
    """
    registry, address = project.registry, f"{project.name}@{pointer}"
    if share is not None and not 0.0 < share <= 1.0:
        raise ConfigError(f"{share:g} is not a share of devices", hint="a share above 0 and at most 1, such as 0.05")
    time = registry.clock()
    last = _last(project, pointer)
    bundle = registry.resolve(address)
    wanted = _pointer(project, last, bundle, pointer=pointer, share=share)
    key = _timestamp_key(project, last, time, key_valid, new_key=new_key)
    is_same_key = last is not None and last.timestamp_key == key.key
    is_new = last is None or not is_same_key or _content(last) != _content(wanted)
    if is_new:
        expires = time + key_valid if not is_same_key or last is None else datetime.fromisoformat(last.key_expires)
        wanted = replace(
            wanted,
            number=(last.number if last else 0) + 1,
            at=_text(time),
            who=who,
            why=why or "published",
            timestamp_key=key.key,
            key_expires=_text(expires),
        )
        project.save(wanted)
    elif last is not None:
        wanted = last
    for release in filter(None, (wanted.release, wanted.staged)):
        _write_release(out, registry.resolve(f"{project.name}@{release.digest}"))
    content = fleet.join_signed(load_publisher(registry.publisher_key).sign(write(wanted)))
    atomic.write(out / fleet.pointer_path(digest_of(content)), content)
    return Published(wanted, _write_timestamp(out, wanted, content, key, time, valid), is_new)


def renew_timestamp(project: Project, out: Path, *, valid: timedelta = timedelta(days=1)) -> FleetTimestamp:
    """Write a new timestamp for the pointer in a folder, by the timestamp's key alone.

    Raises StoreError if the folder holds no pointer of that key, or the key has expired.
    """
    file = out / fleet.TIMESTAMP
    try:
        old = read(FleetTimestamp, fleet.split_signed(file.read_bytes(), where=str(file)).content)
        path = out / fleet.pointer_path(old.digest)
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(f"no fleet is published here: {error.strerror}", where=str(out)) from error
    signed = fleet.split_signed(content, where=str(path))
    verify(signed, load_trusted(project.registry.trusted_keys), subject="the pointer", where=str(path))
    pointer = read(FleetPointer, signed.content)
    key, time = load_timestamp_key(timestamp_key_file(project)), project.registry.clock()
    if key.key != pointer.timestamp_key or time >= datetime.fromisoformat(pointer.key_expires):
        raise StoreError(
            f"the pointer accepts timestamps of {pointer.timestamp_key} until {pointer.key_expires}",
            where=str(path),
            hint="headway fleet publish, with the publisher's key, names a new one",
        )
    return _write_timestamp(out, pointer, content, key, time, valid)


def timestamp_key_file(project: Project) -> Path:
    """Return the file of the timestamp's key."""
    return project.config.path(project.config[TrustSection].timestamp_key)


def _pointer(
    project: Project, last: FleetPointer | None, bundle: Bundle, *, pointer: str, share: float | None
) -> FleetPointer:
    """Return the pointer for a release and a share of devices, without its number and its key."""
    target = fleet.fleet_release(bundle)
    staged = last.staged if last else None
    if share is None and last and staged and staged.digest == target.digest:
        share = last.share
    base = last.release if last else None
    plain = FleetPointer(
        name=project.name,
        pointer=pointer,
        number=0,
        at="",
        who="",
        why="",
        release=target,
        timestamp_key="",
        key_expires="",
    )
    if share is None or share == 1.0 or (base and base.digest == target.digest):
        return plain
    if base is None:
        raise ConfigError("a first release has no other one for the other devices", hint="publish without --share")
    had = {update.release for update in project.registry.history(project.name, pointer)}
    if base.digest not in had:
        raise StoreError(f"{project.name}@{pointer} never had release {base.digest}", where="the last fleet pointer")
    # The salt is the release, so that a device of a share is in every larger share of the same release.
    return replace(plain, release=base, staged=target, share=share, salt=target.digest)


def _content(pointer: FleetPointer) -> tuple[object, ...]:
    return pointer.release, pointer.staged, pointer.share, pointer.salt


def _last(project: Project, pointer: str) -> FleetPointer | None:
    """Return the last pointer of a fleet that was published."""
    found = project.recent(FleetPointer, limit=POINTER_RECORDS)
    return next((saved.record for saved in found if saved.record.pointer == pointer), None)


def _timestamp_key(
    project: Project, last: FleetPointer | None, time: datetime, key_valid: timedelta, *, new_key: bool
) -> SigningKey:
    """Return the key of timestamps, a new one if the last has less than a third of its time left."""
    file = timestamp_key_file(project)
    if file.exists():
        key = load_timestamp_key(file)
        is_named = last is not None and last.timestamp_key == key.key
        is_ending = last is not None and datetime.fromisoformat(last.key_expires) - time < key_valid / 3
        if not (new_key or (is_named and is_ending)):
            return key
        file.unlink()
    return create_timestamp_key(file)


def _write_release(out: Path, bundle: Bundle) -> None:
    for name, content in bundle.contents.items():
        path = out / fleet.release_path(bundle.digest, name)
        if not path.is_file() or path.read_bytes() != content:
            atomic.write(path, content)


def _write_timestamp(
    out: Path, pointer: FleetPointer, content: bytes, key: SigningKey, time: datetime, valid: timedelta
) -> FleetTimestamp:
    """Write the timestamp last, so that what it names is there; its number is the time or higher."""
    timestamp = FleetTimestamp(
        name=pointer.name,
        pointer=pointer.pointer,
        number=max(int(time.timestamp() * 1000), _last_number(out) + 1),
        at=_text(time),
        expires=_text(time + valid),
        digest=digest_of(content),
        size_bytes=len(content),
    )
    atomic.write(out / fleet.TIMESTAMP, fleet.join_signed(key.sign(write(timestamp))))
    return timestamp


def _last_number(out: Path) -> int:
    with suppress(OSError, HeadwayError):
        content = (out / fleet.TIMESTAMP).read_bytes()
        return read(FleetTimestamp, fleet.split_signed(content, where=str(out)).content).number
    return 0


def _text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")


def published_fleet(project: Project, *, limit: int = 10) -> list[FleetPointer]:
    """Return the pointers that were published last, newest first."""
    return [saved.record for saved in project.recent(FleetPointer, limit=limit)]


class _FollowState(NamedTuple):
    """What was published last: the number of the registry's update, when to renew it, and what failed since."""

    number: int
    renew_at: datetime
    failure: str = ""


def follow_fleet(
    project: Project,
    out: Path,
    *,
    who: str,
    callback: Callable[[str], object],
    share: float | None = None,
    ended: threading.Event | None = None,
    poll_s: float = FOLLOW_S,
) -> None:
    """Publish each update of the pointer, such as a rollback, and renew the timestamp when half of its time is over.

    It needs the publisher's key, and runs until the event is set. A registry or a folder that fails is tried again.
    `share` is of the devices that load a new release; a rollback reaches all.
    """
    ended, last = ended or threading.Event(), _FollowState(0, project.registry.clock())
    while not ended.is_set():
        try:
            last = _follow(project, out, last, who=who, share=share, callback=callback)
        except HeadwayError as error:
            if str(error) != last.failure:
                callback(f"nothing is published: {error}")
            last = last._replace(failure=str(error))
        ended.wait(poll_s)


def _follow(
    project: Project,
    out: Path,
    last: _FollowState,
    *,
    who: str,
    share: float | None,
    callback: Callable[[str], object],
) -> _FollowState:
    """Publish what is new since the last time."""
    settings, time = project.config[FleetSection], project.registry.clock()
    update = project.registry.last_update(f"{project.name}@{settings.pointer}")
    number = update.number if update else 0
    if number == last.number and time < last.renew_at:
        return last
    valid = parse_age(settings.valid)
    published = publish_fleet(
        project,
        out,
        who=who,
        why=update.why if update else "",
        pointer=settings.pointer,
        share=share if last.number and number != last.number and update and update.verdict else None,
        valid=valid,
        key_valid=parse_age(settings.key_valid),
    )
    if published.is_new:
        callback(f"pointer {published.pointer.number} is published: {published.pointer.why}")
    return _FollowState(number, time + valid / 2)
