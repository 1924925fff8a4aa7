"""The prediction log where requests are answered: each batch is put, as bytes, into the ring of this process.

A request never waits for it: what comes while the ring is full is dropped and counted. Another process takes what is
there and brings it to disk (`serve.fleet.keeper`).
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
from headway.serving.workers.ring_buffer import RingBuffer, WakeupPipe

if TYPE_CHECKING:
    from headway.core.contracts import Floats, Ints

_FIXED = struct.Struct("<12q")
_NONE = -1
_CELL = 8
_MOST_SOURCES = 64
R = TypeVar("R")


class LogSource(msgspec.Struct, frozen=True, array_like=True):
    """What the log has to know of a release: its name and digest, and the names of what it read and of its views."""

    name: str
    digest: str
    columns: tuple[str, ...]
    views: tuple[str, ...]


class LogEntry(NamedTuple, Generic[R]):
    """Calls that one release took in one batch; the fields are as `store.traffic` says, one for each call in a list.

    `sizes` are the rows of each call. `rows` float64 [n, d] and `seen` are as the model read them, `answers` as they
    were given; where there was an error they are None.
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
    """Takes entries from the loop's thread; the bell is rung when it is time to take what is in the ring."""

    def __init__(self, ring: RingBuffer, wakeup: WakeupPipe, *, dropped: MutableMapping[str, int]) -> None:
        self._ring = ring
        self._wakeup = wakeup
        self._dropped = dropped
        self._sources: dict[LoadedModel, bytes] = {}
        self._next = secrets.randbits(61)  # no other process is likely to count within reach of it

    def number(self, count: int) -> Ints:
        """The numbers of the next `count` requests, int64 [count]."""
        first, self._next = self._next, self._next + count
        return np.arange(first, first + count, dtype=np.int64)

    def add(self, entry: LogEntry[LoadedModel]) -> None:
        """Take an entry, or drop it where the ring is full."""
        source = self._sources.get(entry.release)
        if source is None:
            source = self._source(entry.release)
        was_due = self._ring.due
        if not self._ring.put(*encode_entry(entry, source)):
            self._dropped[entry.release.name] += sum(entry.sizes)
        if self._ring.due and not was_due:
            self._wakeup.ring()

    def _source(self, release: LoadedModel) -> bytes:
        if len(self._sources) >= _MOST_SOURCES:  # releases come and go
            self._sources.clear()
        source = msgspec.json.encode(LogSource(release.name, release.digest, release.columns, release.views.names))
        return self._sources.setdefault(release, source + b" " * (-len(source) % _CELL))


def encode_entry(entry: LogEntry[LoadedModel], source: bytes) -> tuple[bytes, bytes | memoryview, bytes]:
    """The bytes of an entry, the rows as they lie; `source` says in JSON what its release is.

    So each record can be read alone. All numbers lie at multiples of their size where the source has such a length.
    """
    calls, rows, texts = len(entry.keys), sum(entry.sizes), "".join(entry.keys)
    keys = [key.encode("utf-8", "replace") for key in entry.keys] if texts else []
    matrices = [None if each is None else np.ascontiguousarray(each) for each in (entry.rows, entry.answers)]
    read, answers = matrices
    parts: list[bytes | Ints] = [entry.requests, entry.latency_ns]
    if rows != calls:
        parts.append(np.array(entry.sizes, dtype=np.int64))
    if texts:
        parts.append(np.array([len(key) for key in keys], dtype=np.int64))
    widths = [_NONE if each is None else each.shape[1] for each in matrices]
    flags = (entry.at_us, entry.role, entry.answered, entry.stage, entry.paired)
    fixed = _FIXED.pack(len(source), calls, rows, *widths, len(entry.seen), int(bool(texts)), *flags)
    return (
        b"".join((fixed, source, *parts)),
        b"" if read is None else read.data.cast("B"),
        b"".join((b"" if answers is None else answers, *entry.seen, *keys)),
    )


def source_of(record: bytes | memoryview) -> tuple[bytes, int]:
    """The source of a record, to be read by `read_source`, and how many rows it holds."""
    length, _, rows, *_ = _FIXED.unpack_from(record)
    return bytes(record[_FIXED.size : _FIXED.size + length]), rows


def decode_entry(record: bytes | memoryview) -> LogEntry[LogSource]:
    """The entry of a record, whose numbers stay where they are."""
    length, calls, n, width, outputs, views, keyed, *flags = _FIXED.unpack_from(record)
    parts = _Parts(record, _FIXED.size + length)
    requests, latency_ns = parts.ints(calls), parts.ints(calls)
    sizes = [1] * calls if n == calls else parts.ints(calls).tolist()
    lengths = parts.ints(calls).tolist() if keyed else []
    rows, answers = parts.floats(n, width), parts.floats(n, outputs)
    seen = tuple(parts.ints(n) for _ in range(views))
    keys = parts.texts(lengths) if keyed else [""] * calls
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


@lru_cache(maxsize=_MOST_SOURCES)
def read_source(content: bytes) -> LogSource:
    """What a release is, out of a record."""
    return msgspec.json.decode(content, type=LogSource)


class _Parts:
    """What a record holds behind its source, one after the other."""

    def __init__(self, record: bytes | memoryview, start: int) -> None:
        self._record = record
        self._place = start

    def ints(self, count: int) -> Ints:
        """The next numbers, int64 [count]."""
        start, self._place = self._place, self._place + 8 * count
        return np.frombuffer(self._record, np.int64, count, start)

    def floats(self, rows: int, width: int) -> Floats | None:
        """The next numbers, float64 [rows, width]; None where there are none."""
        return None if width == _NONE else self.ints(rows * width).view(np.float64).reshape(rows, width)

    def texts(self, lengths: Iterable[int]) -> list[str]:
        """The next texts, of so many bytes each."""
        ends = list(itertools.accumulate(lengths, initial=self._place))
        return [str(self._record[start:end], "utf-8") for start, end in itertools.pairwise(ends)]
