"""The log writer: takes the records of all workers from their ring buffers, and writes each once to a segment.

It also keeps the log: it applies the retention, merges small segments, and measures the disk.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import platform
import select
import shutil
import struct
import time
from collections import Counter
from collections.abc import Mapping, MutableMapping, Sequence
from itertools import accumulate, chain, pairwise, repeat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headway.core.config import Config
from headway.core.errors import StoreError
from headway.features.online_rows import NEVER_US
from headway.registry.retention import max_log_age
from headway.registry.settings.fleet import FleetSection
from headway.serving.telemetry.logs import Throttle
from headway.serving.telemetry.prediction_log import (
    DISK_BYTES,
    FAILING,
    FREE_BYTES,
    SEGMENTS,
    LogBuffers,
    LogEntry,
    LogSource,
    decode_entries,
    read_source,
    source_of,
    time_of,
)
from headway.serving.workers.shared_memory import WakeupPipe
from headway.storage import atomic, segments, traffic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headway.core.contracts import Floats, Ints
    from headway.storage.segments import Column

    Bytes = NDArray[np.int8]

_PASS_BYTES = 2 << 20
_TIME, _BEGUN, _AT, _AT_BEGUN, _ENDS = range(5)
_TRIES = 2
_MAX_INT8 = 127
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE}
_RETRY_S, _KEEP_S = 0.5, 60.0
_SETTLED_NS, _MERGED_SPAN_NS = 600 * 10**9, 3600 * 10**9
_SCHED_SETATTR = {("Linux", "x86_64"): 314, ("Linux", "aarch64"): 274}
_SCHED_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
_TIME_SLICE_NS = 100_000_000
_log = logging.getLogger(__name__)


class LogWriter:
    """Empties the rings; one process at a time does, and another may continue where it was killed.

    A pass is recorded in shared memory before it begins: up to where each ring is read, and the time, which names its
    segments. An interrupted pass is therefore repeated exactly, and segments that are on disk already are left alone.
    After two processes died in a pass, its records are written one by one. A record that two more processes died of, or
    a batch that failed twice by itself, is put aside; a disk that takes nothing is tried again.
    """

    def __init__(
        self,
        config: Config,
        buffers: LogBuffers,
        *,
        lost: MutableMapping[str, int],
        aside: MutableMapping[str, int],
    ) -> None:
        self._state = config.state
        self._retention = max_log_age(config)
        self._is_shipped = bool(config[FleetSection].report_url)
        self._buffers = buffers
        self._rings = buffers.rings
        self._pass = buffers.current_pass
        self._own = buffers.state.row(len(buffers.rings))
        self._lost = lost
        self._aside = aside
        self._throttle = Throttle()

    @property
    def due(self) -> bool:
        """True if it is time to read any of the rings."""
        return any(ring.due for ring in self._rings)

    def write(self) -> bool:
        """Write all records that are in the rings now, and free their space, in passes that need little memory.

        Returns False if the disk did not take them; they stay in the rings.
        """
        heads = [ring.head for ring in self._rings]
        try:
            while any(ring.tail < head for ring, head in zip(self._rings, heads, strict=True)) or self._pass[_TIME]:
                self._run_pass()
            self._save_lost_spans()
        except _DiskError as error:
            self._report(error)
            return False
        if self._own[FAILING]:
            self._own[FAILING] = 0
            _log.warning("the prediction log is written again")
        return True

    def give_up(self) -> None:
        """Count what is left in the rings as lost, when the server ends."""
        remaining = Counter[str]()
        for ring in self._rings:
            for source, rows in map(source_of, ring.records(ring.head)):
                remaining[read_source(source).name] += rows
        for name, rows in remaining.items():
            self._lost[name] += rows
            _log.error("the server ends, and %s rows of the log of %s were not written", f"{rows:,}", name)

    def keep(self, now_ns: int) -> None:
        """Delete what is older than `[personal] retention`, merge small segments, and measure what is on the disk.

        A device that ships its log does not merge it: the server knows a segment by its name alone.
        """
        state, span_ns = self._state, _MERGED_SPAN_NS
        try:
            if self._retention is not None:
                retention_ns = int(self._retention.total_seconds() * 1e9)
                traffic.delete_older(state, now_ns - retention_ns)
                span_ns = min(span_ns, retention_ns // 10)
            with traffic.rewriting(state, wait=False) as is_alone:
                for folder in traffic.segment_folders(state) if is_alone and not self._is_shipped else ():
                    segments.merge(folder, before_ns=now_ns - _SETTLED_NS, span_ns=span_ns, part=traffic.MERGED)
            sizes = [path.stat().st_size for path in traffic.all_segments(state)]
            self._own[SEGMENTS], self._own[DISK_BYTES] = len(sizes), sum(sizes)
            self._own[FREE_BYTES] = shutil.disk_usage(state).free
        except StoreError as error:
            _log.error("the segments of the prediction log could not be merged, and are tried again: %s", error)
        except Exception:  # noqa: BLE001 - the writer must go on; it is kept again in a minute
            _log.exception("the segments of the prediction log could not be kept")

    def _run_pass(self) -> None:
        """Begin a pass, or continue the one that was begun, and complete it; raises _DiskError."""
        if not self._pass[_TIME]:
            self._pass[_ENDS:] = [ring.reach(_PASS_BYTES // len(self._rings)) for ring in self._rings]
            self._pass[_BEGUN] = self._pass[_AT] = 0
            self._pass[_TIME] = time.time_ns()
        one_by_one = bool(self._pass[_BEGUN] >= _TRIES)
        self._pass[_BEGUN] += 1
        try:
            self._write_pass(one_by_one=one_by_one)
        except _DiskError:
            self._pass[_BEGUN] -= 1
            self._pass[_AT] = 0
            raise
        for ring, end in zip(self._rings, self._pass[_ENDS:].tolist(), strict=True):
            ring.advance(end)
        self._pass[_TIME] = 0

    def _write_pass(self, *, one_by_one: bool) -> None:
        """Write the records of a pass by release, or one by one if two processes died in this pass."""
        by_source: dict[bytes, list[bytes | memoryview]] = {}
        for ring, end in zip(self._rings, self._pass[_ENDS:].tolist(), strict=True):
            for record in ring.records(end):
                by_source.setdefault(source_of(record)[0], []).append(record)
        index = 0
        for content, records in by_source.items():
            source = read_source(content)
            if not self._is_done(source, 0):
                for part in [[record] for record in records] if one_by_one else [records]:
                    index += one_by_one
                    self._write_part(source, part, index)

    def _write_part(self, source: LogSource, records: Sequence[bytes | memoryview], index: int) -> None:
        """Write records of a pass; `index` counts those that are written one by one, and is 0 for all of a release."""
        if index and self._is_done(source, index):
            return
        if self._pass[_AT] != index:
            self._pass[_AT_BEGUN] = 0
        self._pass[_AT] = index
        is_fatal = bool(index and self._pass[_AT_BEGUN] >= _TRIES)
        self._pass[_AT_BEGUN] += 1
        self._write_segment(source, records, *self._paths(source, index), is_fatal=is_fatal)

    def _is_done(self, source: LogSource, index: int) -> bool:
        """Return whether records are on disk, as a segment or put aside."""
        path, aside = self._paths(source, index)
        if path.exists():
            atomic.sync(path.parent)
        return path.exists() or aside.exists()

    def _paths(self, source: LogSource, index: int) -> tuple[Path, Path]:
        """Return the segment of records of this pass, and the file in which they are put aside."""
        name = f"{int(self._pass[_TIME]):020}-{self._buffers.owner}-{index}"
        folder = traffic.log_folder(self._state, source.name, source.digest)
        aside = traffic.aside_folder(self._state, source.name) / f"{name}-{folder.name}"
        return folder / f"{name}{segments.SUFFIX}", aside

    def _write_segment(
        self, source: LogSource, records: Sequence[bytes | memoryview], path: Path, aside: Path, *, is_fatal: bool
    ) -> None:
        """Write the records of one release as a segment, or put them aside."""
        error: Exception | None = None
        for _ in range(0 if is_fatal else _TRIES):
            try:
                segments.save(path.parent, in_order_of_time(segment_columns(decode_entries(records))), name=path.name)
            except Exception as failure:  # noqa: BLE001 - one release must not stop the log of the others
                error = failure
                if _is_of_disk(error):
                    raise _DiskError(str(error)) from error
            else:
                return
        rows, times = sum(source_of(record)[1] for record in records), [time_of(record) for record in records]
        span = {"rows": rows, "since_us": min(times), "until_us": max(times)}
        try:
            name = traffic.span_of_aside(aside).name
            traffic.save_lost_span(self._state, source.name, source.digest, **span, segment=name)
            atomic.fill(aside, lambda file: file.writelines(map(_framed, records)), temporary=aside.parent.parent)
        except StoreError as failure:
            raise _DiskError(str(failure)) from failure
        self._lost[source.name] += rows
        self._aside[source.name] += rows
        why = "two processes ended while they wrote it" if is_fatal else "its segment could not be written"
        words = (f"{rows:,}", source.name, aside, why)
        _log.error(
            "a batch of %s rows of the log of %s is put aside in %s: %s; try: headway log import",
            *words,
            exc_info=error,
        )

    def _save_lost_spans(self) -> None:
        """Write the spans in which rows were lost, for those who judge by the log; raises _DiskError."""
        for number, name, span in self._buffers.lost.entries():
            saved = self._buffers.saved.of(number, name)
            rows, since_us, until_us = span.tolist()
            if rows > saved[0]:
                model, _, digest = name.partition("@")
                lost = {"rows": rows - int(saved[0]), "since_us": since_us, "until_us": until_us}
                try:
                    traffic.save_lost_span(self._state, model, digest, **lost)
                except StoreError as error:
                    raise _DiskError(str(error)) from error
                saved[0] = rows

    def _report(self, error: Exception) -> None:
        """Log that the log cannot be written, once a minute."""
        self._own[FAILING] = 1
        if self._throttle.count("disk"):
            _log.error("the prediction log cannot be written, and is tried again: %s", error)


class _DiskError(Exception):
    """The disk takes nothing at present."""


def _is_of_disk(error: Exception) -> bool:
    """Return whether an error has its cause in the disk or the system, and not in what is written."""
    cause = error.__cause__ if isinstance(error, StoreError) else error
    return isinstance(cause, OSError) and cause.errno in _DISK_ERRORS


def _framed(record: bytes | memoryview) -> bytes:
    """Return a record with its length before it."""
    return len(record).to_bytes(8, "little") + bytes(record)


def run_log_writer(writer: LogWriter, wakeup: WakeupPipe, *, flush_s: float) -> None:
    """Write the log every `flush_s` seconds, or when woken, until no process is left that could add records."""
    wakeup.keep_reader()
    request_long_time_slices()
    keep_at, is_written = 0.0, True
    while True:
        select.select([wakeup.reader], [], [], 0.0 if writer.due and is_written else flush_s)
        more = wakeup.drain()
        is_written = writer.write()
        if not more:
            return
        if not is_written:
            time.sleep(_RETRY_S)
        elif time.monotonic() >= keep_at:
            keep_at = time.monotonic() + _KEEP_S
            writer.keep(time.time_ns())


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
    senders = [traffic.split_sender_key(key) for entry in entries for key in entry.keys]
    keys: list[str | None] = [key for key, _ in senders]
    api_keys: list[str | None] = [api_key for _, api_key in senders]
    per_entry: dict[str, list[int]] = {
        "role": [entry.role for entry in entries],
        "answered": [entry.answered for entry in entries],
        "status": [int(entry.answers is None) for entry in entries],
        "stage": [entry.stage for entry in entries],
        "paired": [entry.paired for entry in entries],
    }
    small: dict[str, Bytes] = {name: np.repeat(np.array(values, np.int8), calls) for name, values in per_entry.items()}
    large: dict[str, Ints] = {
        "at_us": np.concatenate([_times_us(entry) for entry in entries]),
        "request": np.concatenate([entry.requests for entry in entries]),
        "latency_us": np.concatenate([entry.latency_ns for entry in entries]) // 1000,
    }
    rates = np.repeat(np.array([entry.rate for entry in entries]), calls)
    if len(keys) != sum(sizes):
        small = {name: np.repeat(values, sizes) for name, values in small.items()}
        large = {name: np.repeat(values, sizes) for name, values in large.items()}
        rates = np.repeat(rates, sizes)
        keys = list(chain.from_iterable(map(_key_once, keys, sizes)))
        api_keys = list(chain.from_iterable(map(repeat, api_keys, sizes)))
    columns: dict[str, Column] = {"key": keys, **small, **large, "rate": rates}
    columns |= {traffic.API_KEY: api_keys} if any(api_keys) else {}
    columns |= _named("in.", release.columns, _stacked([(entry.rows, entry.sizes) for entry in entries]))
    answers = _stacked([(entry.answers, entry.sizes) for entry in entries])
    columns |= _named("out.", [str(number) for number in range(len(answers))], answers)
    return columns | _feature_times(release, entries) | _texts(release, entries)


def in_order_of_time(columns: Mapping[str, Column]) -> Mapping[str, Column]:
    """Return columns with their rows in the order of time; rows of one time, as those of a call, stay together."""
    times = np.asarray(columns["at_us"])
    if (times[1:] >= times[:-1]).all():
        return columns
    order = np.argsort(times, kind="stable")
    indices = order.tolist()
    return {
        name: column[order] if isinstance(column, np.ndarray) else [column[index] for index in indices]
        for name, column in columns.items()
    }


def _times_us(entry: LogEntry[LogSource]) -> Ints:
    """Return the times of the calls of an entry, int64 [calls]."""
    return np.full(len(entry.keys), entry.at_us) if entry.times_us is None else entry.times_us


def _key_once(key: str | None, rows: int) -> list[str | None]:
    """Return the keys of the rows of a call: null is the key of the row before."""
    return [key, *[None] * (rows - 1)]


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
    columns = [f"seen_us.{name}" for name in release.views] + ["windows_us"] * release.has_windows
    for number, name in enumerate(columns):
        parts = [entry.seen[number] if entry.seen else np.full(sum(entry.sizes), NEVER_US) for entry in entries]
        found[name] = np.concatenate(parts)
    for number, name in enumerate(release.inputs, len(columns)):
        numbers = [
            entry.seen[number].view(np.float64) if entry.seen else np.full(sum(entry.sizes), np.nan)
            for entry in entries
        ]
        found[f"input.{name}"] = np.concatenate(numbers)
    if release.has_answers:
        codes = [entry.seen[-1] if entry.seen else traffic.no_answer_codes(sum(entry.sizes)) for entry in entries]
        found |= traffic.answer_columns(np.concatenate(codes))
    for name, version in zip(release.views, release.versions, strict=False):
        versions = np.full(sum(sum(entry.sizes) for entry in entries), version, np.int64)
        found[f"version.{name}"] = versions.astype(np.int8) if version <= _MAX_INT8 else versions
    return found


def _texts(release: LogSource, entries: Sequence[LogEntry[LogSource]]) -> dict[str, Column]:
    found: dict[str, Column] = {}
    for number, name in enumerate(release.texts):
        parts = [entry.texts[number] if entry.texts else [None] * sum(entry.sizes) for entry in entries]
        found[f"text.{name}"] = list(chain.from_iterable(parts))
    return found
