"""The prediction log in a worker: each batch is written, as bytes, to the ring buffer of this process.

A request never waits for it: batches that arrive while the ring is full are dropped and counted. Another process
writes the records to disk (`workers.log_writer`).
"""

from __future__ import annotations

import itertools
import secrets
import struct
from collections.abc import Iterable, MutableMapping
from functools import lru_cache
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np

from headway.serving.loading import LoadedModel
from headway.serving.workers.shared_memory import RingBuffer, WakeupPipe

if TYPE_CHECKING:
    from headway.core.contracts import Floats, Ints

_FIXED = struct.Struct("<12q")
_NONE = -1
_CELL = 8
_MAX_SOURCES = 64
R = TypeVar("R")


class LogSource(msgspec.Struct, frozen=True, array_like=True):
    """A release in the log: its name and digest, and the names of its input columns and feature views."""

    name: str
    digest: str
    columns: tuple[str, ...]
    views: tuple[str, ...]


class LogEntry(NamedTuple, Generic[R]):
    """Calls of one batch of one release; the fields are those of `storage.traffic`, lists with one item per call.

    `sizes` are the numbers of rows of the calls. `rows` float64 [n, d] and `seen` are as the model read them, `answers`
    as the callers received them; after an error they are None.
    """

    release: R
    at_us: int
    requests: Ints
    keys: list[str]
    sizes: list[int]
    latency_ns: Ints
    role: int
    answered: int
    stage: int
    paired: int
    rows: Floats | None
    answers: Floats | None
    seen: tuple[Ints, ...]


class PredictionLog:
    """Writes entries to the ring, on the loop's thread; wakes the log writer when the ring is due."""

    def __init__(self, ring: RingBuffer, wakeup: WakeupPipe, *, dropped: MutableMapping[str, int]) -> None:
        self._ring = ring
        self._wakeup = wakeup
        self._dropped = dropped
        self._sources: dict[LoadedModel, bytes] = {}
        self._next = secrets.randbits(61)  # random, so that the numbers of other processes do not collide

    def number(self, count: int) -> Ints:
        """Return the numbers of the next `count` requests, int64 [count]."""
        first, self._next = self._next, self._next + count
        return np.arange(first, first + count, dtype=np.int64)

    def add(self, entry: LogEntry[LoadedModel]) -> None:
        """Write an entry, or drop it if the ring is full."""
        source = self._sources.get(entry.release)
        if source is None:
            source = self._source(entry.release)
        was_due = self._ring.due
        if not self._ring.put(*encode_entry(entry, source)):
            self._dropped[entry.release.name] += sum(entry.sizes)
        if self._ring.due and not was_due:
            self._wakeup.wake()

    def _source(self, release: LoadedModel) -> bytes:
        if len(self._sources) >= _MAX_SOURCES:  # releases are replaced over time
            self._sources.clear()
        source = msgspec.json.encode(LogSource(release.name, release.digest, release.columns, release.features.names))
        return self._sources.setdefault(release, source + b" " * (-len(source) % _CELL))


def encode_entry(entry: LogEntry[LoadedModel], source: bytes) -> tuple[bytes, bytes | memoryview, bytes]:
    """Return the bytes of an entry in parts, with the rows as they are; `source` describes its release in JSON.

    Each record can thus be read on its own. Numbers are aligned if the length of the source is a multiple of 8.
    """
    calls, rows, has_keys = len(entry.keys), sum(entry.sizes), any(entry.keys)
    keys = [key.encode("utf-8", "replace") for key in entry.keys] if has_keys else []
    matrices = [None if matrix is None else np.ascontiguousarray(matrix) for matrix in (entry.rows, entry.answers)]
    read, answers = matrices
    parts: list[bytes | Ints] = [entry.requests, entry.latency_ns]
    if rows != calls:
        parts.append(np.array(entry.sizes, dtype=np.int64))
    if has_keys:
        parts.append(np.array([len(key) for key in keys], dtype=np.int64))
    widths = [_NONE if matrix is None else matrix.shape[1] for matrix in matrices]
    flags = (entry.at_us, entry.role, entry.answered, entry.stage, entry.paired)
    fixed = _FIXED.pack(len(source), calls, rows, *widths, len(entry.seen), int(has_keys), *flags)
    return (
        b"".join((fixed, source, *parts)),
        b"" if read is None else read.data.cast("B"),
        b"".join((b"" if answers is None else answers, *entry.seen, *keys)),
    )


def source_of(record: bytes | memoryview) -> tuple[bytes, int]:
    """Return the source of a record, to be decoded by `read_source`, and its number of rows."""
    length, _, rows, *_ = _FIXED.unpack_from(record)
    return bytes(record[_FIXED.size : _FIXED.size + length]), rows


def decode_entry(record: bytes | memoryview) -> LogEntry[LogSource]:
    """Decode a record; its arrays are views of the record."""
    length, calls, n, width, outputs, views, keyed, *flags = _FIXED.unpack_from(record)
    parts = _PartReader(record, _FIXED.size + length)
    requests, latency_ns = parts.ints(calls), parts.ints(calls)
    sizes = [1] * calls if n == calls else parts.ints(calls).tolist()
    lengths = parts.ints(calls).tolist() if keyed else []
    rows, answers = parts.floats(n, width), parts.floats(n, outputs)
    seen = tuple(parts.ints(n) for _ in range(views))
    keys = parts.strings(lengths) if keyed else [""] * calls
    at_us, role, answered, stage, paired = flags
    return LogEntry(
        release=read_source(source_of(record)[0]),
        at_us=at_us,
        requests=requests,
        keys=keys,
        sizes=sizes,
        latency_ns=latency_ns,
        role=role,
        answered=answered,
        stage=stage,
        paired=paired,
        rows=rows,
        answers=answers,
        seen=seen,
    )


@lru_cache(maxsize=_MAX_SOURCES)
def read_source(content: bytes) -> LogSource:
    """Decode the source of a record."""
    return msgspec.json.decode(content, type=LogSource)


class _PartReader:
    """Reads the parts of a record behind its source, one after the other."""

    def __init__(self, record: bytes | memoryview, start: int) -> None:
        self._record = record
        self._position = start

    def ints(self, count: int) -> Ints:
        """Read integers, int64 [count]."""
        start, self._position = self._position, self._position + 8 * count
        return np.frombuffer(self._record, np.int64, count, start)

    def floats(self, rows: int, width: int) -> Floats | None:
        """Read numbers, float64 [rows, width]; None if there are none."""
        return None if width == _NONE else self.ints(rows * width).view(np.float64).reshape(rows, width)

    def strings(self, lengths: Iterable[int]) -> list[str]:
        """Read strings with these lengths in bytes."""
        ends = list(itertools.accumulate(lengths, initial=self._position))
        return [str(self._record[start:end], "utf-8") for start, end in itertools.pairwise(ends)]
