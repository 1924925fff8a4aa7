"""The prediction log in a worker: each batch is written, as bytes, to the ring buffer of this process.

Another process writes the records to disk (`workers.log_writer`). While the ring is full, batches wait, and their
answers with them; if the log writer makes no progress for `log_wait_s`, they are answered and their rows counted as
lost. A log that samples does not wait: as the ring fills, fewer batches are kept, and each row has the rate.
"""

from __future__ import annotations

import itertools
import logging
import math
import os
import random
import secrets
import struct
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import pairwise, repeat
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np

from headway.serving.loading import LoadedModel
from headway.serving.settings.serve import ServeSection
from headway.serving.workers.shared_memory import NamedCounters, RingBuffer, SharedTable, WakeupPipe
from headway.storage import traffic

if TYPE_CHECKING:
    from headway.core.contracts import Floats, Ints

_FIXED = struct.Struct("<12qd")
_CALLS, _TIME = 1, 7  # items of it; behind the number of calls is that of rows
_NONE = -1
_CELL = 8
_MAX_SOURCES = 64
_RECORD_BYTES, _FLUSH_BYTES = 1 << 20, 4 << 20
_TEXT_CELLS = 4  # of a string, about
_FEW_CELLS = 1024  # copying them costs less than a view of them
_RATES = ((0.25, 1.0), (0.5, 1 / 4), (0.75, 1 / 16), (math.inf, 1 / 64))
"""Rate of sampling while the ring is filled by less than a share of its capacity."""
LOSING, FAILING, DISK_BYTES, SEGMENTS, FREE_BYTES, UNSHIPPED = range(6)
_STATE_CELLS = 6
_Record = tuple[bytes | memoryview, ...]
R = TypeVar("R")
_log = logging.getLogger(__name__)


class LogSource(msgspec.Struct, frozen=True, array_like=True):
    """A release in the log: its name and digest, and the names of its input columns and feature views.

    `versions` are those of the views, 0 for a view without a definition. `texts` are the columns of a request that are
    kept as strings, such as entities. `has_windows`: the event times of the views are followed by the time at which
    their windows were aggregated. `inputs` are further numbers that features on demand are computed from; their bits
    follow. `has_answers`: the codes of selective answers are last. Older records have none of these.
    """

    name: str
    digest: str
    columns: tuple[str, ...]
    views: tuple[str, ...]
    versions: tuple[int, ...] = ()
    texts: tuple[str, ...] = ()
    has_windows: bool = False
    inputs: tuple[str, ...] = ()
    has_answers: bool = False


class LogEntry(NamedTuple, Generic[R]):
    """Calls of one batch of one release; the fields are those of `storage.traffic`, lists with one item per call.

    `sizes` are the numbers of rows of the calls. `rows` float64 [n, d] and `seen` are as the model read them, `answers`
    as the callers received them; after an error they are None. `texts` have a string or None for each row, column by
    column; after an error there may be none. `times_us` int64 [calls] are there if the calls are of
    several batches, of which `at_us` is the first.
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
    rate: float = 1.0
    times_us: Ints | None = None
    texts: tuple[list[str | None], ...] = ()


class LogBuffers:
    """Shared memory of the prediction log: a ring per worker, the wake-up pipe, the pass, and what was lost.

    Create it before forking. `state` has a row per worker and one for the log writer. `lost` has rows, begin and end
    of the spans of time in which a worker lost rows of a release, and `saved` the number of rows whose span is on
    disk.
    """

    def __init__(self, workers: int, size_bytes: int) -> None:
        self.rings = [RingBuffer(size_bytes) for _ in range(workers)]
        self.wakeup = WakeupPipe()
        self.current_pass = SharedTable(1, 4 + workers).row(0)
        self.state = SharedTable(workers + 1, _STATE_CELLS)
        self.lost = NamedCounters(workers, 3)
        self.saved = NamedCounters(workers, 1)
        self.owner = os.getpid()

    def lose(self, number: int, source: LoadedModel, *, rows: int, since_us: int, until_us: int) -> None:
        """Record a span of time in which a worker lost rows of a release; further releases than fit have none."""
        name = f"{source.name}@{source.digest}"
        with suppress(IndexError):
            span, saved = self.lost.of(number, name), self.saved.of(number, name)
            is_open = span[0] > saved[0]  # the log writer has not saved it yet
            span[1] = min(int(span[1]), since_us) if is_open else since_us
            span[2] = max(int(span[2]), until_us) if is_open else until_us
            span[0] += rows

    def gauges(self) -> Iterator[tuple[str, str, float]]:
        """Yield name, help and value of the gauges of the log."""
        state = self.state.table
        writer = state[-1]
        losing = any(row[LOSING] and ring.due for row, ring in zip(state, self.rings, strict=False))
        healthy = not (losing or writer[FAILING])
        yield "headway_log_healthy", "0 if the log cannot be written, or loses rows.", healthy
        yield "headway_log_queue_bytes", "Bytes that wait for the log writer.", sum(ring.used for ring in self.rings)
        yield "headway_log_lag_seconds", "Age of the oldest row that waits for the log writer.", self._lag_s()
        yield "headway_log_disk_bytes", "Size of the prediction log and labels on disk.", writer[DISK_BYTES]
        yield "headway_log_segments", "Segments of the prediction log and labels.", writer[SEGMENTS]
        yield "headway_log_unshipped_segments", "Segments that wait for the shared store.", writer[UNSHIPPED]
        yield "headway_log_disk_free_bytes", "Free space on the disk of the log.", writer[FREE_BYTES]

    def _lag_s(self) -> float:
        waiting = [time_of(begin) for ring in self.rings if (begin := ring.peek(_FIXED.size)) is not None]
        return max(0.0, time.time() - min(waiting) / 1e6) if waiting else 0.0


class _Waiting:
    """An entry that found no space, what is held for it, and its next record; a record is made when it is needed."""

    def __init__(self, entry: LogEntry[LoadedModel], records: Iterator[_Record], result: Any) -> None:
        self.entry = entry
        self.result = result
        self.record = next(records, None)
        self._records = records

    def advance(self) -> None:
        """Go on to the next record; None after the last."""
        self.record = next(self._records, None)


class PredictionLog:
    """Writes entries to the ring of worker `number`, on the loop's thread; wakes the log writer when the ring is due.

    `dropped` counts the rows that sampling leaves out, `lost` those that the log could not take.
    """

    def __init__(
        self,
        buffers: LogBuffers,
        number: int = 0,
        *,
        dropped: MutableMapping[str, int],
        lost: MutableMapping[str, int],
        settings: ServeSection | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        settings = settings or ServeSection()
        self._buffers = buffers
        self._number = number
        self._ring = buffers.rings[number]
        self._wakeup = buffers.wakeup
        self._state = buffers.state.row(number)
        self._dropped = dropped
        self._lost = lost
        self._samples = settings.log_mode == "sample"
        self._wait_s = settings.log_wait_s
        self._clock = clock
        self._record_bytes = min(_RECORD_BYTES, self._ring.capacity // 4)
        self._sources: dict[LoadedModel, bytes] = {}
        self._next = secrets.randbits(61)  # random, so that the numbers of other processes do not collide
        self._waiting: deque[_Waiting] = deque()
        self._losing = False
        self._woken_at = self._tail = -1
        self._since = 0.0

    @property
    def is_full(self) -> bool:
        """True while an entry waits for space."""
        return bool(self._waiting)

    def draw(self) -> float:
        """Return the rate of the next batch, and 0 if it is left out; 1 unless the log samples."""
        if not self._samples:
            return 1.0
        filled = self._ring.used / self._ring.capacity
        rate = next(rate for limit, rate in _RATES if filled < limit)
        return rate if rate == 1 or random.random() < rate else 0.0

    def number(self, count: int) -> Ints:
        """Return the numbers of the next `count` requests, int64 [count]."""
        first, self._next = self._next, self._next + count
        return np.arange(first, first + count, dtype=np.int64)

    def add(self, entry: LogEntry[LoadedModel], result: Any = None) -> bool:
        """Write an entry; return False if it waits for space, and `flush` will return its result.

        A log that samples or that lost an entry before does not wait: what finds no space is lost.
        """
        if not entry.rate:
            self._dropped[entry.release.name] += sum(entry.sizes)
            return True
        source = self._sources.get(entry.release)
        if source is None:
            source = self._source(entry.release)
        inputs, answers, ring = entry.rows, entry.answers, self._ring
        n_values = (0 if inputs is None else inputs.size) + (0 if answers is None else answers.size)
        if n_values * _CELL > self._record_bytes:
            return self._add_later(entry, None, source, result)
        record = encode_entry(entry, source)
        if self._waiting or not ring.put(*record):
            return self._add_later(entry, record, source, result)
        if ring.due and ring.tail != self._woken_at:
            self._wake()
        if self._losing:
            self._recover()
        return True

    def flush(self) -> Iterator[Any]:
        """Write what waits, as far as there is space, and yield the results of what is written or lost.

        One call writes a few MB at most: the loop has other things to do.
        """
        end = self._ring.head + _FLUSH_BYTES
        while self._waiting:
            waiting = self._waiting[0]
            while waiting.record and self._ring.head < end and self._ring.put(*waiting.record):
                waiting.advance()
                self._wake()
            if waiting.record:
                if self._ring.head >= end or not self._is_stuck(waiting.record):
                    self._wake()
                    return
                self._lose(waiting.entry)
            self._waiting.popleft()
            yield waiting.result

    def _add_later(self, entry: LogEntry[LoadedModel], record: _Record | None, source: bytes, result: Any) -> bool:
        """Queue an entry in records that the log writer can take one by one, and write what there is space for."""
        parts = (encode_entry(part, source) for part in split(entry, self._record_bytes))
        if not self._waiting:
            self._tail, self._since = self._ring.tail, self._clock()
        self._waiting.append(_Waiting(entry, iter([record]) if record else parts, result))
        return len(self._waiting) == 1 and bool(list(self.flush()))

    def _is_stuck(self, record: _Record) -> bool:
        """Return True if a record can never be written, or if waiting for it is over."""
        if self._samples or self._losing or sum(map(len, record)) + _CELL > self._ring.capacity:
            return True
        tail, now = self._ring.tail, self._clock()
        if tail != self._tail:
            self._tail, self._since = tail, now
        return now - self._since >= self._wait_s

    def _lose(self, entry: LogEntry[LoadedModel]) -> None:
        """Count the rows of an entry as lost, for the metrics and for those who judge by the log."""
        model, rows, now_us = entry.release, sum(entry.sizes), time.time_ns() // 1000
        if not self._losing:
            _log.error("the prediction log has no space and is not written; requests are answered without it")
        self._losing = True
        self._state[LOSING] = 1
        self._lost[model.name] += rows
        self._buffers.lose(self._number, model, rows=rows, since_us=entry.at_us, until_us=now_us)

    def _recover(self) -> None:
        self._losing = False
        self._state[LOSING] = 0
        _log.warning("the prediction log is written again; lost rows are counted in the metrics")

    def _wake(self) -> None:
        self._woken_at = self._ring.tail
        self._wakeup.wake()

    def _source(self, release: LoadedModel) -> bytes:
        if len(self._sources) >= _MAX_SOURCES:  # releases are replaced over time
            self._sources.clear()
        views = release.features
        source = msgspec.json.encode(
            LogSource(
                name=release.name,
                digest=release.digest,
                columns=release.columns,
                views=views.names,
                versions=views.versions,
                texts=views.logged_texts,
                has_windows=views.has_windows,
                inputs=views.logged_inputs,
                has_answers=release.selective is not None,
            )
        )
        return self._sources.setdefault(release, source + b" " * (-len(source) % _CELL))


def split(entry: LogEntry[R], max_bytes: int) -> Iterator[LogEntry[R]]:
    """Yield an entry in parts with values of at most `max_bytes`, or of one row.

    Of a call that is divided, only the first part has the stage of the rollout: it is one request.
    """
    widths = [matrix.shape[1] for matrix in (entry.rows, entry.answers) if matrix is not None]
    others = len(entry.seen) + sum(map(_text_cells, entry.texts))
    max_rows = max(1, max_bytes // (_CELL * max(1, sum(widths) + others)))
    call = begin = position = 0  # the first call and the first row of the next part, and the rows before this call
    for number, size in enumerate(entry.sizes):
        end = position + size
        if end - begin > max_rows:
            if number > call:
                yield _part(entry, slice(call, number), slice(begin, position))
            call, begin = number, position
            for start in range(position, end, max_rows) if size > max_rows else ():
                part = _part(entry, slice(number, number + 1), slice(start, min(start + max_rows, end)))
                yield part if start == position else part._replace(stage=traffic.ALONE, paired=0)
                call, begin = number + 1, end
        position = end
    if call < len(entry.sizes):
        yield _part(entry, slice(call, None), slice(begin, position))


def _text_cells(texts: Sequence[str | None]) -> int:
    """Return about how many cells the longest of these texts takes."""
    return max(_TEXT_CELLS, *(len(text) // _CELL + 2 for text in texts if text)) if any(texts) else _TEXT_CELLS


def _part(entry: LogEntry[R], calls: slice, rows: slice) -> LogEntry[R]:
    """Return these calls of an entry, or some rows of one call."""
    sizes = entry.sizes[calls]
    return entry._replace(
        requests=entry.requests[calls],
        keys=entry.keys[calls],
        sizes=sizes if len(sizes) > 1 else [rows.stop - rows.start],
        latency_ns=entry.latency_ns[calls],
        rows=None if entry.rows is None else entry.rows[rows],
        answers=None if entry.answers is None else entry.answers[rows],
        seen=tuple(times[rows] for times in entry.seen),
        texts=tuple(values[rows] for values in entry.texts),
    )


def encode_entry(entry: LogEntry[LoadedModel], source: bytes) -> _Record:
    """Return the bytes of an entry in parts, with the rows as they are; `source` describes its release in JSON.

    Each record can thus be read on its own. Numbers are aligned if the length of the source is a multiple of 8.
    """
    names, sizes, inputs, answers = entry.keys, entry.sizes, entry.rows, entry.answers
    calls, rows = len(names), sum(sizes)
    parts: list[bytes | Ints | array[int]] = [entry.requests, entry.latency_ns]
    if rows != calls:
        parts.append(array("q", sizes))
    keys = _encoded(names) if any(names) else []
    if keys:
        parts.append(array("q", map(len, keys)))
    values: list[bytes | Ints | array[int]] = [*entry.seen, *keys]
    for column in entry.texts or [[None] * rows for _ in entry.release.features.logged_texts]:
        strings = [None if text is None else text.encode("utf-8", "replace") for text in column]
        values += [array("q", [_NONE if text is None else len(text) for text in strings]), *filter(None, strings)]
    matrices = [_bytes_of(matrix) for matrix in (inputs, answers) if matrix is not None]
    width, outputs = (_NONE if matrix is None else matrix.shape[1] for matrix in (inputs, answers))
    flags = (entry.at_us, entry.role, entry.answered, entry.stage, entry.paired, entry.rate)
    fixed = _FIXED.pack(len(source), calls, rows, width, outputs, len(entry.seen), bool(keys), *flags)
    return b"".join((fixed, source, *parts)), *matrices, b"".join(values)


def _encoded(names: Sequence[str]) -> list[bytes]:
    """Return strings in UTF-8; often they are all the same, as of one caller."""
    if names.count(names[0]) == len(names):
        return [names[0].encode("utf-8", "replace")] * len(names)
    return [name.encode("utf-8", "replace") for name in names]


def _bytes_of(matrix: Floats) -> bytes | memoryview:
    return matrix.tobytes() if matrix.size < _FEW_CELLS else np.ascontiguousarray(matrix).data.cast("B")


def source_of(record: bytes | memoryview) -> tuple[bytes, int]:
    """Return the source of a record, to be decoded by `read_source`, and its number of rows."""
    length, _, rows, *_ = _FIXED.unpack_from(record)
    return bytes(record[_FIXED.size : _FIXED.size + length]), rows


def time_of(record: bytes | memoryview) -> int:
    """Return the time of a record, in microseconds since 1970."""
    return int(_FIXED.unpack_from(record)[_TIME])


def decode_entries(records: Iterable[bytes | memoryview]) -> list[LogEntry[LogSource]]:
    """Decode records of one release, in any order; those of one row a call and the same layout become one entry.

    One after the other, they would cost a server with a few requests at a time a hundredth of its core.
    """
    by_layout: dict[tuple[int | float, ...], list[bytes | memoryview]] = {}
    for record in records:
        by_layout.setdefault(_layout_of(record), []).append(record)
    entries: list[LogEntry[LogSource]] = []
    for layout, same in by_layout.items():
        are_joined = layout[_CALLS] == layout[_CALLS + 1] and len(same) > 1
        entries += [_decode_joined(same)] if are_joined else map(decode_entry, same)
    return entries


def _layout_of(record: bytes | memoryview) -> tuple[int | float, ...]:
    """Return the fixed part of a record without its time."""
    fixed = _FIXED.unpack_from(record)
    return fixed[:_TIME] + fixed[_TIME + 1 :]


def _decode_joined(records: Sequence[bytes | memoryview]) -> LogEntry[LogSource]:
    """Decode records of one row a call and the same layout as one entry."""
    length, calls, _, width, outputs, views, keyed, *_ = _FIXED.unpack_from(records[0])
    widths = (1, 1, int(keyed), max(width, 0), max(outputs, 0), *(1,) * views)  # of a call, in cells
    ends = list(
        itertools.accumulate((calls * per_call for per_call in widths), initial=(_FIXED.size + length) // _CELL)
    )
    end, n = _CELL * ends[-1], calls * len(records)
    table = np.frombuffer(b"".join([record[:end] for record in records]), np.int64).reshape(len(records), -1)
    parts = [
        table[:, start:stop].reshape(n, cells) for (start, stop), cells in zip(pairwise(ends), widths, strict=True)
    ]
    requests, latency_ns, lengths, rows, answers, *seen = parts
    keys = [""] * n
    texts: tuple[list[str | None], ...] = tuple([] for _ in read_source(source_of(records[0])[0]).texts)
    if keyed or texts:
        keys = []
        for record, of_calls in zip(
            records, lengths.reshape(-1, calls).tolist() if keyed else repeat([]), strict=False
        ):
            reader = _PartReader(record, end)
            keys += reader.strings(of_calls) if keyed else [""] * calls
            for column in texts:
                column += reader.texts(calls)
    return decode_entry(records[0])._replace(
        times_us=np.repeat(table[:, _TIME], calls),
        requests=requests[:, 0],
        latency_ns=latency_ns[:, 0],
        keys=keys,
        sizes=[1] * n,
        rows=None if width == _NONE else rows.view(np.float64),
        answers=None if outputs == _NONE else answers.view(np.float64),
        seen=tuple(times[:, 0] for times in seen),
        texts=texts,
    )


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
    release = read_source(source_of(record)[0])
    texts = tuple(parts.texts(n) for _ in release.texts)
    at_us, role, answered, stage, paired, rate = flags
    return LogEntry(
        release=release,
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
        rate=rate,
        texts=texts,
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
        self._position = ends[-1]
        return [str(self._record[start:end], "utf-8") for start, end in pairwise(ends)]

    def texts(self, count: int) -> list[str | None]:
        """Read strings behind their lengths in bytes, which are negative for None."""
        lengths = self.ints(count).tolist()
        strings = self.strings(max(length, 0) for length in lengths)
        return [None if length < 0 else text for length, text in zip(lengths, strings, strict=True)]
