"""The log writer: takes the records of all workers from their ring buffers, and writes each once to a segment."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import select
import struct
import time
from collections.abc import MutableMapping, Sequence
from itertools import accumulate, chain, pairwise, repeat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headway.core.errors import HeadwayError
from headway.features.online import NEVER_US
from headway.serving.telemetry.logs import Throttle
from headway.serving.telemetry.prediction_log import LogEntry, LogSource, decode_entry, read_source, source_of
from headway.serving.workers.shared_memory import RingBuffer, SharedTable, WakeupPipe
from headway.storage import atomic, segments, traffic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headway.core.contracts import Floats, Ints
    from headway.storage.segments import Column

    Bytes = NDArray[np.int8]

_PASS_BYTES = 2 << 20
_SCHED_SETATTR = {("Linux", "x86_64"): 314, ("Linux", "aarch64"): 274}
_SCHED_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
_TIME_SLICE_NS = 100_000_000
_log = logging.getLogger(__name__)


class LogBuffers:
    """Shared memory of the prediction log: a ring per worker, the wake-up pipe and the pass; create before forking."""

    def __init__(self, workers: int, size_bytes: int) -> None:
        self.rings = [RingBuffer(size_bytes) for _ in range(workers)]
        self.wakeup = WakeupPipe()
        self.current_pass = SharedTable(1, 1 + workers).row(0)
        self.owner = os.getpid()


class LogWriter:
    """Empties the rings; one process at a time does, and another may continue where it was killed.

    A pass is recorded in shared memory before it begins: up to where each ring is read, and the time, which names its
    segments. An interrupted pass is therefore repeated exactly, and segments that are on disk already are left alone.
    """

    def __init__(self, state: Path, buffers: LogBuffers, *, dropped: MutableMapping[str, int]) -> None:
        self._state = state
        self._rings = buffers.rings
        self._pass = buffers.current_pass
        self._owner = buffers.owner
        self._dropped = dropped
        self._throttle = Throttle()

    @property
    def due(self) -> bool:
        """True if it is time to read any of the rings."""
        return any(ring.due for ring in self._rings)

    def write(self) -> None:
        """Write all records that are in the rings now, and free their space, in passes that need little memory."""
        heads = [ring.head for ring in self._rings]
        while any(ring.tail < head for ring, head in zip(self._rings, heads, strict=True)) or self._pass[0]:
            self._run_pass()

    def _run_pass(self) -> None:
        """Begin a pass, or continue the one that was begun, and complete it."""
        if not self._pass[0]:
            self._pass[1:] = [ring.reach(_PASS_BYTES // len(self._rings)) for ring in self._rings]
            self._pass[0] = time.time_ns()
        by_source: dict[bytes, list[bytes | memoryview]] = {}
        for ring, end in zip(self._rings, self._pass[1:].tolist(), strict=True):
            for record in ring.records(end):
                by_source.setdefault(source_of(record)[0], []).append(record)
        for source, records in by_source.items():
            self._write_segment(read_source(source), records)
        for ring, end in zip(self._rings, self._pass[1:].tolist(), strict=True):
            ring.advance(end)
        self._pass[0] = 0

    def _write_segment(self, source: LogSource, records: Sequence[bytes | memoryview]) -> None:
        """Write the records of one release as a segment; after any failure the log continues."""
        folder = traffic.log_folder(self._state, source.name, source.digest)
        name = f"{int(self._pass[0]):020}-{self._owner}-0{segments.SUFFIX}"
        try:
            if (folder / name).exists():
                atomic.sync(folder)
            else:
                entries = sorted(map(decode_entry, records), key=lambda entry: entry.at_us)
                segments.save(folder, segment_columns(entries), name=name)
        except Exception as error:  # noqa: BLE001 - the worker loop: one release must not stop the log of the others
            self._dropped[source.name] += sum(source_of(record)[1] for record in records)
            known = isinstance(error, HeadwayError | OSError)
            if count := self._throttle.count("disk" if known else source.name):
                message = "a segment of the log of %s could not be written (%d since the last such line): %s"
                _log.error(message, source.name, count, error, exc_info=not known)


def run_log_writer(writer: LogWriter, wakeup: WakeupPipe, *, flush_s: float) -> None:
    """Write the log every `flush_s` seconds, or when woken, until no process is left that could add records."""
    wakeup.keep_reader()
    request_long_time_slices()
    while True:
        select.select([wakeup.reader], [], [], 0.0 if writer.due else flush_s)
        more = wakeup.drain()
        writer.write()
        if not more:
            return


def request_long_time_slices() -> None:
    """Ask the scheduler for long time slices, so that workers with short ones preempt this thread when they wake.

    Needs Linux 6.12 or later (`sched_setattr(2)`), and does nothing elsewhere. The thread keeps its share of the
    processor: a log writer that is starved would drop rows.
    """
    number = _SCHED_SETATTR.get((platform.system(), platform.machine()))
    if number is not None:
        attributes = _SCHED_ATTRIBUTES.pack(
            _SCHED_ATTRIBUTES.size, os.SCHED_OTHER, 0, os.nice(0), 0, _TIME_SLICE_NS, 0, 0
        )
        ctypes.CDLL(None).syscall(number, 0, attributes, 0)


def segment_columns(entries: Sequence[LogEntry[LogSource]]) -> dict[str, Column]:
    """Return the columns of a segment from entries of one release; outputs of a failed request are NaN."""
    release = entries[0].release
    calls = [len(entry.keys) for entry in entries]
    sizes = [size for entry in entries for size in entry.sizes]
    keys = list(chain.from_iterable(entry.keys for entry in entries))
    per_entry: dict[str, list[int]] = {
        "role": [entry.role for entry in entries],
        "answered": [entry.answered for entry in entries],
        "status": [int(entry.answers is None) for entry in entries],
        "stage": [entry.stage for entry in entries],
        "paired": [entry.paired for entry in entries],
    }
    small: dict[str, Bytes] = {name: np.repeat(np.array(values, np.int8), calls) for name, values in per_entry.items()}
    large: dict[str, Ints] = {
        "at_us": np.repeat(np.array([entry.at_us for entry in entries], np.int64), calls),
        "request": np.concatenate([entry.requests for entry in entries]),
        "latency_us": np.concatenate([entry.latency_ns for entry in entries]) // 1000,
    }
    if len(keys) != sum(sizes):
        small = {name: np.repeat(values, sizes) for name, values in small.items()}
        large = {name: np.repeat(values, sizes) for name, values in large.items()}
        keys = list(chain.from_iterable(map(repeat, keys, sizes)))
    columns: dict[str, Column] = {"key": keys, **small, **large}
    columns |= _named("in.", release.columns, _stacked([(entry.rows, entry.sizes) for entry in entries]))
    answers = _stacked([(entry.answers, entry.sizes) for entry in entries])
    columns |= _named("out.", [str(number) for number in range(len(answers))], answers)
    return columns | _feature_times(release, entries)


def _stacked(parts: Sequence[tuple[Floats | None, list[int]]]) -> Floats:
    """Return the columns of all parts, float64 [width, n]; an absent part is NaN for each row of its calls."""
    width = next((part.shape[1] for part, _ in parts if part is not None), 0)
    ends = list(accumulate((sum(n) for _, n in parts), initial=0))
    columns = np.empty((width, ends[-1]))
    for (part, _), (start, end) in zip(parts, pairwise(ends), strict=True):
        columns[:, start:end] = np.nan if part is None else part.T
    return columns


def _named(prefix: str, names: Sequence[str], columns: Floats) -> dict[str, Column]:
    if not len(columns):
        return {prefix + name: np.full(columns.shape[1], np.nan) for name in names}
    return {prefix + name: column for name, column in zip(names, columns, strict=True)}


def _feature_times(release: LogSource, entries: Sequence[LogEntry[LogSource]]) -> dict[str, Column]:
    found: dict[str, Column] = {}
    for number, name in enumerate(release.views):
        parts = [entry.seen[number] if entry.seen else np.full(sum(entry.sizes), NEVER_US) for entry in entries]
        found[f"seen_us.{name}"] = np.concatenate(parts)
    return found
