"""A lane: where the calls of one release wait for their batch, and where it is worked at.

A short batch is worked at on the loop, for any handing over costs more. One that takes long goes to a thread of the
lane, so that nothing else is held up; what comes meanwhile is its next batch.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol

from headway.core.record import Record
from headway.serving.batching.executor import BatchResult, Call, run_or_error
from headway.serving.batching.refusals import DeadlineExceeded, QueueFull
from headway.serving.loading import LoadedModel

_LINGER = 1 / 16
_log = logging.getLogger(__name__)


class BatchLimits(Record, frozen=True, kw_only=True):
    """The most rows of a batch, the most that may wait, and from which time on a batch is long."""

    batch_rows: int
    queue_rows: int = 16_384
    long_ms: float = 0.5


class Timer(Protocol):
    """What is to happen later."""

    def cancel(self) -> None:
        """Let it not happen."""
        ...


class Loop(Protocol):
    """What a lane needs of an event loop; `asyncio`'s have it."""

    def call_soon(self, callback: Callable[..., object], *args: Any) -> object:
        """Run a function once all that has come is read."""
        ...

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> object:
        """The same, from another thread."""
        ...

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Run a function after `delay` seconds."""
        ...


class BatchOwner(Protocol):
    """Who knows what to do with a batch (the plane)."""

    def begin(self, release: LoadedModel, calls: Sequence[Call]) -> Iterator[BatchResult]:
        """What is said to the calls of a release, worked out while it is iterated, on whichever thread that is."""
        ...

    def expected_ns(self, release: LoadedModel, rows: int) -> float:
        """How long that will take for so many rows."""
        ...

    def settle(self, said: BatchResult) -> None:
        """Answer the callers, count and log, on the loop's thread."""
        ...

    def refuse(self, call: Call, error: QueueFull | DeadlineExceeded, *, name: str) -> None:
        """Tell a caller that its rows will not be asked, and count it."""
        ...


class Work(NamedTuple):
    """A batch that is to be worked at: its calls, and what is said to them as it is worked out."""

    calls: Sequence[Call]
    saids: Iterator[BatchResult]


class AdaptiveBatcher:
    """The queue of one release. All but the work of a long batch happens on the thread of the loop."""

    def __init__(self, release: LoadedModel, desk: BatchOwner, *, loop: Loop, limits: BatchLimits) -> None:
        self._release = release
        self._desk = desk
        self._loop = loop
        self._limits = limits
        self._waiting: list[Call] = []
        self._rows = 0
        self._timed = False  # a call that waits has a deadline
        self._awake = False  # a batch is under way, or will begin by itself
        self._company = 0  # how many calls a batch lingers for
        self._timer: Timer | None = None
        self._queue: SimpleQueue[Work | None] | None = None
        self._closed = False

    def submit(self, call: Call) -> None:
        """Let a call wait for the next batch, or refuse it where too many rows wait already."""
        rows = self._rows + len(call.rows)
        if rows > self._limits.queue_rows and self._waiting:
            self._desk.refuse(call, self._busy(), name=self._release.name)
            return
        self._rows = rows
        self._waiting.append(call)
        if call.deadline_ns:
            self._timed = True
        if not self._awake:
            self._awake = True
            self._loop.call_soon(self._go)
        elif self._timer is not None and self._gathered():
            self._timer.cancel()
            self._timer = None
            self._loop.call_soon(self._go)

    def close(self) -> None:
        """Do what waits, and end the thread; called when no more calls will come."""
        self._closed = True
        if not self._awake:
            self._end()

    def _go(self) -> None:
        """Begin the next batch, here or on the thread."""
        self._timer = None
        calls = self._take()
        if not calls:
            self._rest()
            return
        work = Work(calls, self._desk.begin(self._release, calls))
        if self._expects_ns(_rows_of(calls)) > self._limits.long_ms * 1e6:
            self._thread().put(work)
        else:
            self._loop.call_soon(self._rest)
            self._do(work, self._desk.settle)

    def _take(self) -> list[Call]:
        """The calls of the next batch; those whose time is over are told so."""
        most = self._limits.batch_rows
        if self._rows <= most and not self._timed:
            calls, self._waiting, self._rows = self._waiting, [], 0
            return calls
        now, rows, place = time.perf_counter_ns(), 0, 0
        calls = []
        for call in self._waiting:
            late = 0 < call.deadline_ns < now
            if not late and calls and rows + len(call.rows) > most:
                break
            place += 1
            self._rows -= len(call.rows)
            if late:
                self._desk.refuse(call, _expired(call, now), name=self._release.name)
            else:
                calls.append(call)
                rows += len(call.rows)
        del self._waiting[:place]
        self._timed = any(call.deadline_ns for call in self._waiting)
        return calls

    def _do(self, work: Work, settle: Callable[[BatchResult], object]) -> None:
        """Work at a batch; a defect of ours must not leave a caller without an answer."""

        def settle_all() -> None:
            for said in work.saids:
                settle(said)

        error = run_or_error(settle_all)
        if error is not None:
            _log.error("a batch of %d calls failed", len(work.calls), exc_info=error)
            for call in work.calls:
                settle(BatchResult.of_defect(self._release, call, error))

    def _rest(self) -> None:
        """A batch is done: begin the next where calls wait."""
        if self._waiting:
            self._go()
            return
        self._awake = False
        if self._closed:
            self._end()

    def _gathered(self) -> bool:
        return len(self._waiting) >= self._company or self._rows >= self._limits.batch_rows

    def _linger(self, calls: Sequence[Call]) -> None:
        """A long batch is done: wait a little for those who were just answered, who are likely to ask again.

        Or the first of them would have a batch to itself, and the others would wait for it.
        """
        self._company = len(calls) + len(self._waiting)
        if self._company == 1 or self._closed or self._gathered():
            self._rest()
            return
        rows = max(self._rows, _rows_of(calls))
        self._timer = self._loop.call_later(_LINGER * self._expects_ns(rows) / 1e9, self._go)

    def _expects_ns(self, rows: int) -> float:
        return self._desk.expected_ns(self._release, rows)

    def _thread(self) -> SimpleQueue[Work | None]:
        if self._queue is None:
            self._queue = SimpleQueue()
            threading.Thread(target=self._run, args=(self._queue,), name="batcher", daemon=True).start()
        return self._queue

    def _run(self, queue: SimpleQueue[Work | None]) -> None:
        while (work := queue.get()) is not None:
            self._do(work, lambda said: self._hand_over(self._desk.settle, said))
            self._hand_over(self._linger, work.calls)

    def _hand_over(self, callback: Callable[..., object], *args: Any) -> None:
        """Let the loop run a function; where it is closed nobody waits for that any more."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *args)

    def _end(self) -> None:
        if self._queue is not None:
            self._queue.put(None)
            self._queue = None

    def _busy(self) -> QueueFull:
        retry_s = math.ceil(self._expects_ns(self._rows) / 1e9)
        most = self._limits.queue_rows
        return QueueFull(f"{self._rows} rows wait already, and at most {most} may", retry_s=max(retry_s, 1))


def _rows_of(calls: Sequence[Call]) -> int:
    return sum(len(call.rows) for call in calls)


def _expired(call: Call, now: int) -> DeadlineExceeded:
    waited_ms = (now - call.started_ns) / 1e6
    return DeadlineExceeded(
        f"the time given to this request passed while it waited, for {waited_ms:.1f} ms; the model was not asked",
        hint="give it more 'timeout', in microseconds",
    )
