"""The prediction log by release, and labels by key, as segments of columns.

A row of the log is a row of a request, answered by one release. `at_us` is the time in microseconds since 1970.
`request` is one number for all rows of a request and for both releases that took it. `key` is the caller's, `role`
names the release, `answered` is 1 if the caller got this answer, `status` is 1 for an error. `latency_us` is the time
until this release had answered, without the other's. `stage` is that of the rollout or -1, `paired` is 1 if the other
release has a row of this request too. Small integers are int8, and int64 in older logs. Then follow `in.NAME`,
`out.NUMBER`, and `seen_us.VIEW`, the time at which looked-up features were written.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from headway.core.errors import DataError
from headway.storage import segments

LIVE, CANARY = 0, 1
ALONE = -1
_DIGITS = 12


class Label(msgspec.Struct, frozen=True):
    """The true outcome of the request with this key."""

    key: str
    label: float


def log_folder(state: Path, name: str, digest: str) -> Path:
    """Return the folder of the log of a release: `log/NAME/<12 digits of its digest>`."""
    return state / "log" / name / digest.removeprefix("sha256:")[:_DIGITS]


def log_folders(state: Path, name: str) -> list[Path]:
    """Return the folders of the logs of all releases of a name."""
    return sorted(path for path in (state / "log" / name).glob("*") if path.is_dir())


def labels_folder(state: Path, name: str) -> Path:
    """Return the folder of the labels of a name: segments of `key`, `label`, `at_us` and `who`."""
    return state / "labels" / name


def online_folder(state: Path) -> Path:
    """Return the folder of the online tables of feature views."""
    return state / "online"


def all_segments(state: Path) -> Iterator[Path]:
    """Return every segment of log and labels of all names, in the order of their paths."""
    for kind in ("log", "labels"):
        yield from sorted((state / kind).rglob(f"*{segments.SUFFIX}"))


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


def check_labels(labels: Sequence[Label]) -> None:
    """Raise DataError if one of the labels cannot be stored."""
    for number, label in enumerate(labels):
        if not label.key:
            raise DataError("a label has no key, so it belongs to no request", where=f"label {number}")
