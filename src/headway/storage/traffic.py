"""The prediction log by release, and labels by key, as segments of columns; rows in quarantine, as parquet files.

A row of the log is a row of a request, answered by one release. `at_us` is the time in microseconds since 1970.
`request` is one number for all rows of a request and for both releases that took it. `key` is the caller's, and null in
a row that has the key of the row before. `role` names the release, `answered` is 1 if the caller got this answer,
`status` is 1 for an error. `latency_us` is the time until this release had answered, without the other's. `stage` is
that of the rollout or -1, `paired` is 1 if the other release has a row of this request too; a request that is too large
for one record of the ring has both in its first rows only. Small integers are int8, and int64 in older logs. `rate` is
the probability with which the row was kept, 1 unless the log samples; older logs have none. Then follow `in.NAME`,
`out.NUMBER`, `seen_us.VIEW`, the event time of looked-up features (-1: unknown key, -2: not looked up), `windows_us`,
the time at which windows were aggregated (if some were), `version.VIEW`, the version of the view (0: without a
definition), and `text.NAME`, the strings of the request such as the entities of views. `input.NAME` and `text.NAME` are
also what features on demand are computed from and the model does not read itself. Older logs lack `version`, `text` and
`input`.

`api_key` is the name of the API key that sent the request, "" without one; only segments with such requests have it.

Rows of a release that answers selectively also have `answered_by`, the index in `ANSWERED_BY` of who answers the row or
does next (-1 after an error), `reason`, that in `REASONS` of why the model does not, and `audit`, which is 1 if people
check the model's answer. Other logs have none of the three.

Small segments are merged: such a one has the column `segment`, the time in the name of the segment that a row was
written to first, so that a reader of that segment knows its rows.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import msgspec
import numpy as np

from headway.core.errors import DataError, StoreError
from headway.core.selective import ABSTENTIONS
from headway.storage import atomic, segments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headway.core.arrays import Ints

LIVE, CANARY = 0, 1
ALONE = -1
MODEL, REMOTE, PEOPLE = "model", "remote", "people"
ANSWERED_BY = (MODEL, REMOTE, PEOPLE, "")
"""Who answers a row; "" if no stage is left."""
REASONS = ("", *ABSTENTIONS)
NOT_DECIDED = -1
_REASON_BITS, _AUDIT_BIT = 8, 1 << 16
MERGED = "segment"
API_KEY = "api_key"
_SEPARATOR = "\x1f"
LOST, ASIDE, DEVICES = "lost", "aside", "devices"
LOCK, LABELS_LOCK = "segments.lock", "labels.lock"
CACHE = "cache"
"""Folder of the copies of segments that machines share."""
_DIGITS = 12
QUARANTINE = "quarantine"
"""Folder of the rows that failed a contract: one file per check, `quarantine/PROJECT/NAME.parquet` in the store."""


class Label(msgspec.Struct, frozen=True):
    """The true outcome of the request with this key."""

    key: str
    label: float


class StoredLabel(NamedTuple):
    """A label as it is stored: its value, who gave it, and when, in microseconds since 1970."""

    label: float
    who: str
    at_us: int


def log_folder(state: Path, name: str, digest: str) -> Path:
    """Return the folder of the log of a release: `log/NAME/<12 digits of its digest>`."""
    return state / "log" / name / digest.removeprefix("sha256:")[:_DIGITS]


def last_request_at(state: Path, name: str, digest: str) -> datetime | None:
    """Return when the log of a release was last written, UTC; None if never."""
    paths = list(segments.segments(log_folder(state, name, digest)))
    return datetime.fromtimestamp(segments.written_ns(paths[-1]) / 1e9, UTC) if paths else None


def log_folders(state: Path, name: str) -> list[Path]:
    """Return the folders of the logs of all releases of a name."""
    return sorted(
        path for path in (state / "log" / name).glob("*") if path.is_dir() and path.name not in (LOST, ASIDE, DEVICES)
    )


def lost_folder(state: Path, name: str) -> Path:
    """Return the folder of the spans in which the log of a name lost rows: `since_us`, `until_us` and `rows`."""
    return state / "log" / name / LOST


def save_lost_span(
    state: Path, name: str, digest: str, *, rows: int, since_us: int, until_us: int, segment: str = ""
) -> None:
    """Save a span of time in which the log of a release lost rows, as a segment of that name."""
    values = {"since_us": since_us, "until_us": until_us, "rows": rows}
    columns: dict[str, segments.Column] = {key: np.array([value], np.int64) for key, value in values.items()}
    segments.save(lost_folder(state, name), columns | {"release": [digest]}, name=segment)


def devices_folder(state: Path, name: str) -> Path:
    """Return the folder of rows that devices logged, with the columns `device` and `release`.

    Readers of the log of a release do not read it, so its rows reach no judgement or training that does not ask for
    them.
    """
    return state / "log" / name / DEVICES


def aside_folder(state: Path, name: str) -> Path:
    """Return the folder of batches that could not be written as segments, as the records of the ring buffer."""
    return state / "log" / name / ASIDE


def span_of_aside(path: Path) -> Path:
    """Return the segment with the span of time of a batch that was put aside in a file."""
    return path.parent.with_name(LOST) / f"{path.name}{segments.SUFFIX}"


def aside_files(state: Path) -> list[Path]:
    """Return the files of all batches that were put aside, in the order of their paths."""
    return sorted((state / "log").glob(f"*/{ASIDE}/*"))


def labels_folder(state: Path, name: str) -> Path:
    """Return the folder of the labels of a name: segments of `key`, `label`, `at_us` and `who`."""
    return state / "labels" / name


def log_version(state: Path, name: str) -> tuple[int, ...]:
    """Return a value that changes whenever segments of the log or the labels of a name do."""
    folders = [folder for folder in (*log_folders(state, name), labels_folder(state, name)) if folder.is_dir()]
    return tuple(folder.stat().st_mtime_ns for folder in folders)


def all_segments(state: Path) -> Iterator[Path]:
    """Return every segment of log and labels of all names, in the order of their paths; unfinished ones are none."""
    for kind in ("log", "labels"):
        found = sorted((state / kind).rglob(f"*{segments.SUFFIX}"))
        yield from (path for path in found if not path.parent.name.startswith("."))


def segment_folders(state: Path) -> list[Path]:
    """Return every folder of segments of rows: of the log of a release, and of the labels of a name."""
    logs = [folder for path in sorted((state / "log").glob("*")) for folder in log_folders(state, path.name)]
    return logs + sorted(path for path in (state / "labels").glob("*") if path.is_dir())


def delete_older(state: Path, before_ns: int) -> int:
    """Delete segments of log and labels, and batches put aside, written before a time; return the number of files."""
    old = [path for path in (*all_segments(state), *aside_files(state)) if segments.written_ns(path) < before_ns]
    for path in old:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in old}:
        atomic.sync(folder)
    return len(old)


def delete_beyond(state: Path, max_bytes: int) -> int:
    """Delete the oldest segments of the log until the others have at most so many bytes; return the number of files.

    Nothing is deleted while another process rewrites segments.
    """
    with rewriting(state, wait=False) as is_alone:
        found = sorted(all_segments(state), key=segments.written_ns, reverse=True) if is_alone else []
        logged = [path for path in found if path.is_relative_to(state / "log")]
        sizes = accumulate(path.stat().st_size for path in logged)
        old = [path for path, size in zip(logged, sizes, strict=True) if size > max_bytes]
        for path in old:
            path.unlink()
        for folder in {path.parent for path in old}:
            atomic.sync(folder)
    return len(old)


@contextmanager
def rewriting(state: Path, *, wait: bool) -> Iterator[bool]:
    """Lock the segments for a process that rewrites them; yields False if another has the lock and `wait` is false.

    Raises StoreError if the lock cannot be written.
    """
    with _open_lock(state / LOCK) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def _open_lock(path: Path) -> BinaryIO:
    try:
        return path.open("ab")
    except OSError as error:
        raise StoreError(f"cannot write {path.name!r}: {error.strerror}", where=str(path)) from error


def quarantine_files(state: Path) -> Iterator[Path]:
    """Return every file of rows in quarantine, of all projects of a store."""
    yield from sorted((state / QUARANTINE).glob("*/*.parquet"))


def save_labels(state: Path, name: str, labels: Sequence[Label], *, who: str) -> int:
    """Save labels of a name, on disk on return, and return how many; a later label of a key replaces an earlier one.

    Raises DataError for a label without a key.
    """
    check_labels(labels)
    if labels:
        columns: dict[str, segments.Column] = {
            "key": [label.key for label in labels],
            "label": np.array([label.label for label in labels], dtype=np.float64),
            "at_us": np.full(len(labels), time.time_ns() // 1000, dtype=np.int64),
            "who": [who] * len(labels),
        }
        segments.save(labels_folder(state, name), columns)
    return len(labels)


def save_label(
    state: Path, name: str, label: Label, *, who: str, is_second: bool = False, root: Path | None = None
) -> StoredLabel | None:
    """Save the label that a person gives one request, unless that would double a label or replace another person's.

    Parameters
    ----------
    is_second : bool
        Whether the person knows that another one labeled the request, and gives a second opinion.
    root : Path, optional
        Where labels are read, if machines share them; by default `state`.

    Returns
    -------
    StoredLabel or None
        The label that the request has already, so that nothing was saved: the same label by the same person, or one by
        another person. None if the label was saved.
    """
    atomic.make_folder(state)
    with _open_lock(state / LABELS_LOCK) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        found = labels_of(root or state, name, label.key)
        if root not in (None, state):
            found += labels_of(state, name, label.key)
        own = [stored for stored in found if stored.who == who]
        others = [stored for stored in found if stored.who not in (who, REMOTE)]
        if own and own[-1].label == label.label:
            return own[-1]
        if others and not own and not is_second:
            return others[-1]
        save_labels(state, name, [label], who=who)
        return None


def labels_of(state: Path, name: str, key: str) -> list[StoredLabel]:
    """Return the labels of one key, oldest first; a segment whose bytes do not hold the key is not decoded."""
    found: set[StoredLabel] = set()
    for path in segments.segments(labels_folder(state, name)):
        try:
            found |= _labels_in(path, key)
        except (OSError, StoreError):
            if path.exists():
                raise
            return labels_of(state, name, key)  # it was merged or erased since it was listed
    return sorted(found, key=lambda stored: stored.at_us)


def _labels_in(path: Path, key: str) -> set[StoredLabel]:
    if not segments.contains(path, key):
        return set()
    table = segments.load(path)
    rows = zip(table["key"], table["label"], table["who"], table["at_us"], strict=True)
    return {StoredLabel(float(label or 0), str(who), int(at or 0)) for of, label, who, at in rows if of == key}


def check_labels(labels: Sequence[Label]) -> None:
    """Raise DataError if one of the labels cannot be stored."""
    for number, label in enumerate(labels):
        if not label.key:
            raise DataError("a label has no key, so it belongs to no request", where=f"label {number}")


def sender_key(key: str, api_key: str) -> str:
    """Return the key of a request with the name of its API key behind it, as records of the ring hold both."""
    return f"{key}{_SEPARATOR}{api_key}" if api_key or _SEPARATOR in key else key


def split_sender_key(sender: str) -> tuple[str, str]:
    """Return the key of a request and the name of its API key, "" without one.

    >>> split_sender_key(sender_key("order-7", "shop")), split_sender_key("order-7")
    (('order-7', 'shop'), ('order-7', ''))
    """
    key, found, api_key = sender.rpartition(_SEPARATOR)
    return (key, api_key) if found else (sender, "")


def answer_codes(answered_by: Sequence[int], reasons: Sequence[int], audit: Sequence[bool]) -> Ints:
    """Return one number a row, int64 (n,), for who answers it, the reason and whether people check the answer."""
    by, why, drawn = (np.array(values, dtype=np.int64) for values in (answered_by, reasons, audit))
    return by | why << _REASON_BITS | drawn * _AUDIT_BIT


def answer_columns(codes: Ints) -> dict[str, NDArray[np.int8]]:
    """Return the columns of the log of such numbers; NOT_DECIDED is a row that failed."""
    failed = codes == NOT_DECIDED
    return {
        "answered_by": np.where(failed, NOT_DECIDED, codes & 0xFF).astype(np.int8),
        "reason": np.where(failed, 0, codes >> _REASON_BITS & 0xFF).astype(np.int8),
        "audit": np.where(failed, 0, codes >> 16).astype(np.int8),
    }


def no_answer_codes(n: int) -> Ints:
    """Return the numbers of rows that failed, int64 (n,)."""
    return np.full(n, NOT_DECIDED)
