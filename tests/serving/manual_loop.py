"""A loop that turns when it is told to, and a plane on it: what happens in a turn, without sockets."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.serving.batching.data_plane import DataPlane, InferenceSettings
from headway.serving.batching.validation import Violation
from headway.serving.loading import LoadedModel


@dataclass(eq=False)
class Later:
    """What is to happen later."""

    delay: float
    run: Callable[[], object]
    cancelled: bool = False

    def cancel(self) -> None:
        """Let it not happen."""
        self.cancelled = True


@dataclass(eq=False)
class ManualLoop:
    """What a lane needs of a loop; `timers` are kept, and happen when a test lets them."""

    ready: SimpleQueue[Callable[[], object]] = field(default_factory=SimpleQueue)
    timers: list[Later] = field(default_factory=list)

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Run a function at the next turn."""
        self.ready.put(lambda: callback(*args))

    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Later:
        """Keep a function for later."""
        self.timers.append(Later(delay, lambda: callback(*args)))
        return self.timers[-1]

    def turn(self) -> None:
        """Run all that is ready, and what becomes so."""
        while not self.ready.empty():
            self.ready.get()()

    def until(self, done: Callable[[], bool]) -> None:
        """Turn, and wait for what threads hand over, until something is so."""
        while not done():
            self.ready.get(timeout=10)()

    def pass_until(self, done: Callable[[], bool]) -> None:
        """The same, while the time of every timer comes at once."""
        while not done():
            self.elapse()
            self.until(lambda: done() or bool(self.timers))

    def elapse(self) -> None:
        """Let the time of every timer come."""
        timers, self.timers = self.timers, []
        for timer in timers:
            if not timer.cancelled:
                timer.run()


class RecordingCall:
    """A call that remembers what it was told."""

    def __init__(self, *rows: list[float], key: str = "", deadline_ns: int = 0) -> None:
        self.rows = np.array(rows, dtype=np.float64)
        self.key = key
        self.started_ns = 0
        self.deadline_ns = deadline_ns
        self.values: list[float] | None = None
        self.outside: tuple[Violation, ...] = ()
        self.error: Exception | None = None
        self.told = 0

    def read_for(self, release: LoadedModel) -> NDArray[np.float64]:
        return self.rows

    def answer(self, release: LoadedModel, values: list[float], outside: tuple[Violation, ...] = ()) -> None:
        self.values, self.outside = values, tuple(outside)
        self.told += 1

    def fail(self, error: Exception) -> None:
        self.error = error
        self.told += 1


def run_batches(release: LoadedModel, *calls: RecordingCall, **settings: Any) -> DataPlane:
    """A plane after the turns of the loop in which these calls came and were worked at."""
    loop = ManualLoop()
    plane = DataPlane(
        [release], loop=loop, settings=InferenceSettings(**{"max_batch_rows": 1024, "long_ms": 1e9, **settings})
    )
    for call in calls:
        plane.submit(release, call)
    loop.turn()
    return plane


class Gate:
    """An engine that answers the first value of a row, once it is let; `began` says that it has been asked."""

    def __init__(self) -> None:
        self.began: SimpleQueue[int] = SimpleQueue()
        self.let = threading.Semaphore(0)
        self.sizes: list[int] = []

    def predict(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        self.sizes.append(len(rows))
        self.began.put(len(rows))
        assert self.let.acquire(timeout=10)
        return rows[:, :1]
