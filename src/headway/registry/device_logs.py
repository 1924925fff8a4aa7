"""What a server keeps of devices: the status of each, and the rows that they logged, apart from the server's own log.

Nothing that a device sends is trusted. Its key names it, rows are taken only for releases that were staged to it, and a
segment is decoded within bounds and written again, with the columns of a log and the device's name in each row.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from msgspec.structs import replace

from headway.core.errors import DataError, HeadwayError, Refused
from headway.core.fleet import DeviceReport, DeviceStatus
from headway.core.record import read, write
from headway.storage import atomic, segments, traffic

if TYPE_CHECKING:
    from headway.storage.segments import Column

MAX_SEGMENT_BYTES, MAX_ROWS, MAX_COLUMNS = 16 << 20, 200_000, 4_096
DEVICE, RELEASE = "device", "release"
_RECENT, _MAX_AHEAD_NS = 256, 600 * 10**9
_SEGMENT = re.compile(rf"([0-9a-f]{{12}})/([0-9]{{20}})-[\w-]{{1,64}}{re.escape(segments.SUFFIX)}", re.ASCII)
_REQUIRED = {
    "key": "O",
    "at_us": "i",
    "request": "i",
    "latency_us": "i",
    "role": "i",
    "answered": "i",
    "status": "i",
    "stage": "i",
    "paired": "i",
}
_OPTIONAL = {"rate": "f", "windows_us": "i", "answered_by": "i", "reason": "i", "audit": "i"}
_PREFIXES = {"in": "f", "out": "f", "input": "f", "seen_us": "i", "version": "i", "text": "O"}


class QuotaExceeded(Refused):
    """A device shipped more today than its quota."""


def load_status(state: Path, name: str, device: str) -> DeviceStatus:
    """Return what is known of a device; raises StoreError if its file is damaged."""
    try:
        return read(DeviceStatus, _file(state, name, device).read_bytes())
    except FileNotFoundError:
        return DeviceStatus(name=name, device=device)


def load_statuses(state: Path, name: str) -> list[DeviceStatus]:
    """Return the status of each device of a name, by their names."""
    return [load_status(state, name, path.stem) for path in sorted((state / "devices" / name).glob("*.json"))]


def save_report(state: Path, report: DeviceReport, *, name: str, device: str, at: datetime) -> None:
    """Replace the last report of a device; raises Refused if the report is not its own."""
    if (report.name, report.device) != (name, device):
        message = f"the report is of {report.device} of {report.name}, and the key is of {device} of {name}"
        raise Refused(message, hint="[fleet] device is the name of the API key")
    with _locked(state, name, device) as status:
        _save(state, replace(status, report=report, reported_at=at.isoformat(timespec="seconds")))


def save_segment(
    state: Path,
    content: bytes | bytearray,
    *,
    name: str,
    device: str,
    segment: str,
    releases: Collection[str],
    day_bytes: int,
    at: datetime,
) -> int:
    """Store a segment of a device's log, and return its number of rows; 0 if it was stored before.

    Parameters
    ----------
    segment
        Its name on the device, `DIGITS/SEGMENT`, with the first digits of the release's digest.
    releases
        Digests of the releases that were staged to the device.
    day_bytes
        Quota of the device for a day.

    Raises
    ------
    DataError
        If it is not a segment of a log.
    Refused
        If it is of a release that was not staged to the device. `QuotaExceeded` if the quota is used up.
    """
    with _locked(state, name, device) as status:
        if segment in status.accepted:
            return 0
        day = f"{at:%Y-%m-%d}"
        used = len(content) + (status.day_bytes if status.day == day else 0)
        if used > day_bytes:
            message = f"the device {device} has shipped its {day_bytes >> 20} MB of {day}"
            raise QuotaExceeded(message, hint="[fleet] device_mb_per_day")
        try:
            digest = _release_of(segment, releases, device=device, now_ns=int(at.timestamp() * 1e9))
            columns = _checked(content)
        except HeadwayError as error:
            _save(state, replace(status, refused=status.refused + 1, refusal=error.what[:200]))
            raise
        rows = len(columns["at_us"])
        columns |= {DEVICE: [device] * rows, RELEASE: [digest] * rows}
        unique = f"{segment[13:33]}-{_hash(device)}-{_hash(segment)}{segments.SUFFIX}"
        segments.save(traffic.devices_folder(state, name), columns, name=unique)
        errors = int(np.count_nonzero(np.asarray(columns["status"])))
        _save(
            state,
            replace(
                status,
                rows=status.rows + rows,
                errors=status.errors + errors,
                day=day,
                day_bytes=used,
                accepted=(*status.accepted, segment)[-_RECENT:],
            ),
        )
        return rows


def segments_of(folder: Path, device: str) -> list[Path]:
    """Return the segments of a device in a folder of the rows of devices, in order of time."""
    return sorted(folder.glob(f"*-{_hash(device)}-*{segments.SUFFIX}"))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _release_of(segment: str, releases: Collection[str], *, device: str, now_ns: int) -> str:
    """Return the digest of the release in the name of a segment; raises DataError or Refused."""
    found = _SEGMENT.fullmatch(segment)
    if found is None or int(found[2]) > now_ns + _MAX_AHEAD_NS:
        raise DataError(f"{segment[:120]!r} is not the name of a segment, or it is of a later time than now")
    digest = next((one for one in releases if one.removeprefix("sha256:").startswith(found[1])), "")
    if not digest:
        raise Refused(f"release {found[1]} was never staged to the device {device}", hint="headway fleet status")
    return digest


def _checked(content: bytes | bytearray) -> dict[str, Column]:
    """Return the columns of a log in a segment; raises DataError if one is missing, or has another type."""
    if len(content) > MAX_SEGMENT_BYTES:
        raise DataError(f"a segment of {len(content):,} bytes is too large: {MAX_SEGMENT_BYTES:,}")
    columns = segments.decode(content, kind_of=_kind, max_rows=MAX_ROWS, max_columns=MAX_COLUMNS)
    if absent := [column for column in _REQUIRED if column not in columns]:
        raise DataError(f"a segment of a log has the column {absent[0]!r}")
    if None in cast("list[str | None]", columns["key"])[:1]:
        raise DataError("the first row of a segment has no key")
    return columns


def _kind(column: str) -> str | None:
    """Return the kind of the values of a column of a log; None for any other column."""
    prefix, found, _ = column.partition(".")
    return _PREFIXES.get(prefix) if found else _REQUIRED.get(column) or _OPTIONAL.get(column)


@contextmanager
def _locked(state: Path, name: str, device: str) -> Iterator[DeviceStatus]:
    """Lock the status of a device against the other workers of the server, and return it."""
    file = _file(state, name, device)
    atomic.make_folder(file.parent)
    with file.with_suffix(".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield load_status(state, name, device)


def _save(state: Path, status: DeviceStatus) -> None:
    atomic.write(_file(state, status.name, status.device), write(status))


def _file(state: Path, name: str, device: str) -> Path:
    return state / "devices" / name / f"{device}.json"
