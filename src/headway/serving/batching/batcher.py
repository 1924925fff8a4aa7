"""Adaptive batching: the calls of one model wait in a queue, and all that wait are executed together.

A short batch runs on the event loop, because handing it to a thread would cost more. A long one runs on a thread of
the batcher, so that nothing else is delayed; the calls that arrive during it form the next batch.
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
from headway.serving.batching.executor import BatchResult, InferCall
from headway.serving.loading import LoadedModel
from headway.serving.protocol.errors import DeadlineExceeded, QueueFull

_LINGER = 1 / 16
_LOOP_VALUES = 32_768  # a batch of more inputs runs on the thread, however fast its engine is: it is validated as well
_log = logging.getLogger(__name__)


class BatchLimits(Record, frozen=True, kw_only=True):
    """Maximum rows of a batch and of the queue, and the expected time from which a batch runs on a thread."""

    batch_rows: int
    queue_rows: int = 16_384
    long_ms: float = 0.5


class Timer(Protocol):
    """A scheduled callback."""

    def cancel(self) -> None:
        """Cancel the callback."""
        ...


class Loop(Protocol):
    """The part of an asyncio event loop that batching needs; tests have a loop that they turn by hand."""

    def call_soon(self, callback: Callable[..., object], *args: Any) -> object:
        """Run a function after everything that has arrived is read."""
        ...

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> object:
        """Run a function on the loop from another thread."""
        ...

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Run a function after `delay` seconds."""
        ...


class _Work(NamedTuple):
    """A batch to execute: its calls, and its results, which are computed while they are iterated."""

    calls: Sequence[InferCall]
    results: Iterator[BatchResult]


class AdaptiveBatcher:
    """The queue of one model. Everything except the execution of a long batch happens on the thread of the loop.

    Parameters
    ----------
    execute
        Yields the results of calls; it runs on whichever thread iterates.
    expected_ns
        Estimates the execution time of a number of rows, in nanoseconds.
    deliver
        Takes each result on the thread of the loop.
    refuse
        Takes a call that will not be executed, with the reason.
    ready
        Returns False while no batch may start; `resume` starts the one that waits for it.
    """

    def __init__(
        self,
        model: LoadedModel,
        *,
        loop: Loop,
        limits: BatchLimits,
        execute: Callable[[LoadedModel, Sequence[InferCall]], Iterator[BatchResult]],
        expected_ns: Callable[[LoadedModel, int], float],
        deliver: Callable[[BatchResult], object],
        refuse: Callable[[LoadedModel, InferCall, QueueFull | DeadlineExceeded], object],
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self._model = model
        self._loop = loop
        self._limits = limits
        self._execute = execute
        self._expected_ns = expected_ns
        self._deliver = deliver
        self._refuse = refuse
        self._ready = ready
        self._stalled = False  # a batch waits for `resume`
        self._waiting: list[InferCall] = []
        self._rows = 0
        self._has_deadlines = False  # a waiting call has a deadline
        self._active = False  # a batch runs, or is scheduled
        self._awaited = 0  # number of calls for which the next batch lingers
        self._timer: Timer | None = None
        self._queue: SimpleQueue[_Work | None] | None = None
        self._closed = False

    def submit(self, call: InferCall) -> None:
        """Queue a call for the next batch; refuse it if too many rows wait already."""
        rows = self._rows + len(call.rows)
        if rows > self._limits.queue_rows and self._waiting:
            self._refuse(self._model, call, self._queue_full())
            return
        self._rows = rows
        self._waiting.append(call)
        if call.deadline_ns:
            self._has_deadlines = True
        if not self._active:
            self._active = True
            self._loop.call_soon(self._start)
        elif self._timer is not None and self._is_complete():
            self._timer.cancel()
            self._timer = None
            self._loop.call_soon(self._start)

    def resume(self) -> None:
        """Start the batch that waits until one may start."""
        if self._stalled:
            self._stalled = False
            self._loop.call_soon(self._start)

    def close(self) -> None:
        """Execute the waiting calls, then end the thread. No calls may be submitted afterwards."""
        self._closed = True
        if not self._active:
            self._end_thread()

    def _start(self) -> None:
        """Start the next batch, here or on the thread."""
        self._timer = None
        if not self._ready():
            self._stalled = True
            return
        calls = self._take()
        if not calls:
            self._finish()
            return
        work = _Work(calls, self._execute(self._model, calls))
        rows = _row_count(calls)
        large = rows * len(self._model.columns) > _LOOP_VALUES
        if large or self._model.features.blocks or self._expected_ns(self._model, rows) > self._limits.long_ms * 1e6:
            self._thread_queue().put(work)
        else:
            try:
                self._run(work, self._deliver)
            finally:  # here, because another iteration of the loop would ask the kernel for events once more
                self._end_short()

    def _take(self) -> list[InferCall]:
        """Remove the calls of the next batch from the queue; refuse those whose deadline has passed."""
        limit = self._limits.batch_rows
        if self._rows <= limit and not self._has_deadlines:
            calls, self._waiting, self._rows = self._waiting, [], 0
            return calls
        now, rows, removed = time.perf_counter_ns(), 0, 0
        calls = []
        for call in self._waiting:
            expired = 0 < call.deadline_ns < now
            if not expired and calls and rows + len(call.rows) > limit:
                break
            removed += 1
            self._rows -= len(call.rows)
            if expired:
                self._refuse(self._model, call, _deadline_exceeded(call, now))
            else:
                calls.append(call)
                rows += len(call.rows)
        del self._waiting[:removed]
        self._has_deadlines = any(call.deadline_ns for call in self._waiting)
        return calls

    def _run(self, work: _Work, deliver: Callable[[BatchResult], object]) -> None:
        """Execute a batch; a defect of the server must not leave a caller without an answer."""
        try:
            for result in work.results:
                deliver(result)
        except Exception as error:  # noqa: BLE001 - the worker loop: no caller may wait forever
            _log.exception("a batch of %d calls failed", len(work.calls))
            for call in work.calls:
                deliver(BatchResult.of_defect(self._model, call, error))

    def _end_short(self) -> None:
        """End a batch that ran on the loop; the next starts after everything that has arrived is read."""
        if self._waiting:
            self._loop.call_soon(self._start)
        else:
            self._finish()

    def _finish(self) -> None:
        """End a batch, and start the next if calls wait."""
        if self._waiting:
            self._start()
            return
        self._active = False
        if self._closed:
            self._end_thread()

    def _is_complete(self) -> bool:
        return len(self._waiting) >= self._awaited or self._rows >= self._limits.batch_rows

    def _linger(self, calls: Sequence[InferCall]) -> None:
        """Wait briefly after a long batch for its callers, who are likely to send the next request at once.

        Otherwise the first of them would get a batch of its own, and the others would wait for that batch.
        """
        self._awaited = len(calls) + len(self._waiting)
        if self._awaited == 1 or self._closed or self._is_complete():
            self._finish()
            return
        rows = max(self._rows, _row_count(calls))
        self._timer = self._loop.call_later(_LINGER * self._expected_ns(self._model, rows) / 1e9, self._start)

    def _thread_queue(self) -> SimpleQueue[_Work | None]:
        if self._queue is None:
            self._queue = SimpleQueue()
            threading.Thread(target=self._run_thread, args=(self._queue,), name="batcher", daemon=True).start()
        return self._queue

    def _run_thread(self, queue: SimpleQueue[_Work | None]) -> None:
        while (work := queue.get()) is not None:
            self._run(work, lambda result: self._call_on_loop(self._deliver, result))
            self._call_on_loop(self._linger, work.calls)

    def _call_on_loop(self, callback: Callable[..., object], *args: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed, so nothing waits for the result
            self._loop.call_soon_threadsafe(callback, *args)

    def _end_thread(self) -> None:
        if self._queue is not None:
            self._queue.put(None)
            self._queue = None

    def _queue_full(self) -> QueueFull:
        retry_s = math.ceil(self._expected_ns(self._model, self._rows) / 1e9)
        return QueueFull(
            f"the queue is full: {self._rows} rows wait, the limit is {self._limits.queue_rows}",
            retry_s=max(retry_s, 1),
        )


def _row_count(calls: Sequence[InferCall]) -> int:
    return sum(len(call.rows) for call in calls)


def _deadline_exceeded(call: InferCall, now: int) -> DeadlineExceeded:
    waited_ms = (now - call.started_ns) / 1e6
    return DeadlineExceeded(
        f"the deadline of the request passed after {waited_ms:.1f} ms in the queue; the model was not called",
        hint="raise the request parameter 'timeout', in microseconds",
    )
