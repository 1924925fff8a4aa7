"""An event loop that the test runs, and a data plane on it: one iteration at a time, without sockets."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.serving.batching.answers import RowAnswers
from headway.serving.batching.data_plane import DataPlane, InferenceSettings
from headway.serving.batching.validation import Violation
from headway.serving.loading import LoadedModel


@dataclass(eq=False)
class Later:
    """A scheduled callback."""

    delay: float
    run: Callable[[], object]
    cancelled: bool = False

    def cancel(self) -> None:
        """Cancel the callback."""
        self.cancelled = True


@dataclass(eq=False)
class ManualLoop:
    """The part of a loop that batching needs; timers are stored until a test fires them."""

    ready: SimpleQueue[Callable[[], object]] = field(default_factory=SimpleQueue)
    timers: list[Later] = field(default_factory=list)

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Run a function in the next iteration."""
        self.ready.put(lambda: callback(*args))

    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Later:
        """Store a function."""
        self.timers.append(Later(delay, lambda: callback(*args)))
        return self.timers[-1]

    def run_ready(self) -> None:
        """Run everything that is ready, and everything that becomes ready."""
        while not self.ready.empty():
            self.ready.get()()

    def run_until(self, done: Callable[[], bool]) -> None:
        """Run callbacks, and wait for those of threads, until a condition is true."""
        while not done():
            self.ready.get(timeout=60)()

    def run_until_with_timers(self, done: Callable[[], bool]) -> None:
        """Run callbacks until a condition is true, and fire all timers at once."""
        while not done():
            self.fire_timers()
            self.run_until(lambda: done() or bool(self.timers))

    def fire_timers(self) -> None:
        """Fire all timers."""
        timers, self.timers = self.timers, []
        for timer in timers:
            if not timer.cancelled:
                timer.run()


class RecordingCall:
    """A call that records its answer or its error."""

    def __init__(self, *rows: list[float], key: str = "", deadline_ns: int = 0, caller: str = "") -> None:
        self.rows = np.array(rows, dtype=np.float64)
        self.key, self.api_key = key, ""
        self.started_ns = 0
        self.deadline_ns = deadline_ns
        self.caller = caller
        self.values: list[float] | None = None
        self.outside: tuple[Violation, ...] = ()
        self.selective: RowAnswers | None = None
        self.error: Exception | None = None
        self.prepared_on = ""
        self.replies = 0

    def read_for(self, release: LoadedModel) -> NDArray[np.float64]:
        return self.rows

    def answer(
        self,
        release: LoadedModel,
        values: list[float],
        outside: tuple[Violation, ...] = (),
        selective: RowAnswers | None = None,
    ) -> None:
        self.values, self.outside, self.selective = values, tuple(outside), selective
        self.replies += 1

    def prepare(
        self,
        release: LoadedModel,
        values: NDArray[np.float64],
        outside: tuple[Violation, ...] = (),
        selective: RowAnswers | None = None,
    ) -> Callable[[], None]:
        self.prepared_on = threading.current_thread().name
        return lambda: self.answer(release, values.tolist(), outside, selective)

    def fail(self, error: Exception) -> None:
        self.error = error
        self.replies += 1


def run_batches(release: LoadedModel, *calls: RecordingCall, **settings: Any) -> DataPlane:
    """Return a data plane after it has executed these calls."""
    loop = ManualLoop()
    plane = DataPlane(
        [release], loop=loop, settings=InferenceSettings(**{"max_batch_rows": 1024, "long_ms": 1e9, **settings})
    )
    for call in calls:
        plane.submit(release, call)
    loop.run_ready()
    return plane


class BlockingEngine:
    """An engine that returns the first value of a row once it is released; `began` reports that it was called."""

    def __init__(self) -> None:
        self.began: SimpleQueue[int] = SimpleQueue()
        self.let = threading.Semaphore(0)
        self.sizes: list[int] = []

    def predict(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        self.sizes.append(len(rows))
        self.began.put(len(rows))
        assert self.let.acquire(timeout=60)
        return rows[:, :1]
