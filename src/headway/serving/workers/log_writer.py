"""The prediction log on its way to disk: what lies in the rings of all workers becomes segments, each row once."""

from __future__ import annotations

import logging
import os
import select
import time
from collections.abc import MutableMapping, Sequence
from itertools import accumulate, chain, pairwise, repeat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headway.features.online import NEVER_US
from headway.serving.telemetry.prediction_log import LogEntry, LogSource, decode_entry, read_source, source_of
from headway.serving.workers.ring_buffer import RingBuffer, WakeupPipe
from headway.serving.workers.scheduling import request_long_time_slices
from headway.serving.workers.shared_memory import SharedTable
from headway.storage import atomic, segments, traffic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headway.core.contracts import Floats, Ints
    from headway.storage.segments import Column

    Bytes = NDArray[np.int8]

_PASS_BYTES = 2 << 20
_log = logging.getLogger(__name__)


class LogBuffers:
    """The rings of a fleet's log, the bell of whoever empties them, and what he is about; made before the fork."""

    def __init__(self, workers: int, size_bytes: int) -> None:
        self.rings = [RingBuffer(size_bytes) for _ in range(workers)]
        self.wakeup = WakeupPipe()
        self.passing = SharedTable(1, 1 + workers).row(0)
        self.owner = os.getpid()


class LogWriter:
    """Empties the rings; one process at a time does, and another may go on where it was killed.

    A pass is written down before it begins: up to where each ring is taken, and when, which names its segments. So a
    pass that was cut short is made again as it was, and what is on disk already is left as it is.
    """

    def __init__(self, state: Path, buffers: LogBuffers, *, dropped: MutableMapping[str, int]) -> None:
        self._state = state
        self._rings = buffers.rings
        self._pass = buffers.passing
        self._owner = buffers.owner
        self._dropped = dropped

    @property
    def due(self) -> bool:
        """Whether it is time to take what is in any of the rings."""
        return any(ring.due for ring in self._rings)

    def keep(self) -> None:
        """Bring all that was put until now to disk, and free its room, in passes that need little memory."""
        heads = [ring.head for ring in self._rings]
        while any(ring.tail < head for ring, head in zip(self._rings, heads, strict=True)) or self._pass[0]:
            self._keep_some()

    def _keep_some(self) -> None:
        """Begin a pass, or go on with the one that was begun, and end it."""
        if not self._pass[0]:
            self._pass[1:] = [ring.reach(_PASS_BYTES // len(self._rings)) for ring in self._rings]
            self._pass[0] = time.time_ns()
        of: dict[bytes, list[bytes | memoryview]] = {}
        for ring, upto in zip(self._rings, self._pass[1:].tolist(), strict=True):
            for record in ring.records(upto):
                of.setdefault(source_of(record)[0], []).append(record)
        for source, records in of.items():
            self._keep(read_source(source), records)
        for ring, upto in zip(self._rings, self._pass[1:].tolist(), strict=True):
            ring.advance(upto)
        self._pass[0] = 0

    def _keep(self, source: LogSource, records: Sequence[bytes | memoryview]) -> None:
        """Keep the records of one release as a segment; whatever it fails with, the log goes on."""
        folder = traffic.log_folder(self._state, source.name, source.digest)
        name = f"{int(self._pass[0]):020}-{self._owner}-0{segments.SUFFIX}"
        try:
            if (folder / name).exists():
                atomic.sync(folder)
            else:
                entries = sorted(map(decode_entry, records), key=lambda entry: entry.at_us)
                segments.save(folder, segment_columns(entries), name=name)
        except Exception as error:  # noqa: BLE001 - the worker loop: one release must not take the log of others down
            self._dropped[source.name] += sum(source_of(record)[1] for record in records)
            _log.error("a segment of the log of %s could not be written", source.name, exc_info=error)


def run_log_writer(log_writer: LogWriter, wakeup: WakeupPipe, *, flush_s: float) -> None:
    """Keep what is put, every `flush_s` or when the bell is rung, until nobody is left who could put more."""
    wakeup.keep_reader()
    request_long_time_slices()
    while True:
        select.select([wakeup.ears], [], [], 0.0 if log_writer.due else flush_s)
        more = wakeup.heard()
        log_writer.keep()
        if not more:
            return


def segment_columns(entries: Sequence[LogEntry[LogSource]]) -> dict[str, Column]:
    """The columns of a segment, of entries of one release; what was not answered is NaN."""
    release = entries[0].release
    calls = [len(entry.keys) for entry in entries]
    sizes = [size for entry in entries for size in entry.sizes]
    keys = list(chain.from_iterable(entry.keys for entry in entries))
    of_entry: dict[str, list[int]] = {
        "role": [entry.role for entry in entries],
        "answered": [entry.answered for entry in entries],
        "status": [int(entry.answers is None) for entry in entries],
        "stage": [entry.stage for entry in entries],
        "paired": [entry.paired for entry in entries],
    }
    small: dict[str, Bytes] = {name: np.repeat(np.array(each, np.int8), calls) for name, each in of_entry.items()}
    large: dict[str, Ints] = {
        "at_us": np.repeat(np.array([entry.at_us for entry in entries], np.int64), calls),
        "request": np.concatenate([entry.requests for entry in entries]),
        "latency_us": np.concatenate([entry.latency_ns for entry in entries]) // 1000,
    }
    if len(keys) != sum(sizes):
        small = {name: np.repeat(each, sizes) for name, each in small.items()}
        large = {name: np.repeat(each, sizes) for name, each in large.items()}
        keys = list(chain.from_iterable(map(repeat, keys, sizes)))
    found: dict[str, Column] = {"key": keys, **small, **large}
    found |= _named("in.", release.columns, _stacked([(entry.rows, entry.sizes) for entry in entries]))
    answers = _stacked([(entry.answers, entry.sizes) for entry in entries])
    found |= _named("out.", [str(number) for number in range(len(answers))], answers)
    return found | _seen(release, entries)


def _stacked(parts: Sequence[tuple[Floats | None, list[int]]]) -> Floats:
    """The columns of all parts, float64 [width, n]; a part that is not there is NaN for each row of its calls."""
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


def _seen(release: LogSource, entries: Sequence[LogEntry[LogSource]]) -> dict[str, Column]:
    found: dict[str, Column] = {}
    for number, name in enumerate(release.views):
        parts = [entry.seen[number] if entry.seen else np.full(sum(entry.sizes), NEVER_US) for entry in entries]
        found[f"seen_us.{name}"] = np.concatenate(parts)
    return found
