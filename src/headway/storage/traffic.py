"""Where what was served is kept: the prediction log by release, and labels by key, as segments of columns.

A row of the log is a row of a request, answered by one release. `at_us` is when (microseconds since 1970), `request`
the same number for all rows of a request and for both releases that took it, `key` the caller's, `role` whose row it
is, `answered` 1 where it is what the caller got, `status` 0 or 1 for an error, `latency_us` the time until this release
had answered, without what the other took; `stage` is that of the rollout or -1, `paired` 1 where the other release has
a row of this request too; what is small is int8, and int64 in older logs. Then `in.NAME`, `out.NUMBER`, and
`seen_us.VIEW`, when the features looked up were written.
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
    """What really came of the request with this key."""

    key: str
    label: float


def log_folder(state: Path, name: str, digest: str) -> Path:
    """The folder of the log of a release of a name: `log/NAME/<12 digits of its digest>`."""
    return state / "log" / name / digest.removeprefix("sha256:")[:_DIGITS]


def labels_folder(state: Path, name: str) -> Path:
    """The folder of the labels of a name: segments of `key`, `label`, `at_us` and `who`."""
    return state / "labels" / name


def online_folder(state: Path) -> Path:
    """The folder of the online tables of feature views."""
    return state / "online"


def all_segments(state: Path) -> Iterator[Path]:
    """Every whole segment of the log and the labels of all names, in the order of their paths."""
    for kind in ("log", "labels"):
        yield from sorted((state / kind).rglob(f"*{segments.SUFFIX}"))


def save_labels(state: Path, name: str, labels: Sequence[Label], *, who: str) -> int:
    """Keep labels of a name, on disk at return, and return how many; a later label of a key replaces an earlier one.

    Raises DataError for a label without a key.
    """
    for number, label in enumerate(labels):
        if not label.key:
            raise DataError("a label has no key, so it belongs to no request", where=f"label {number}")
    if labels:
        columns: dict[str, segments.Column] = {
            "key": [label.key for label in labels],
            "label": np.array([label.label for label in labels], dtype=np.float64),
            "at_us": np.full(len(labels), time.time_ns() // 1000, dtype=np.int64),
            "who": [who] * len(labels),
        }
        segments.save(labels_folder(state, name), columns)
    return len(labels)
