"""Heavy work of pages in a process of its own, so that the dashboard stays small and answers at once.

Polars, the engines and the chart library are imported there only. The process ends after a minute
without work.
"""

from __future__ import annotations

import gc
import multiprocessing
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, ParamSpec, TypeVar, cast

from headway.core.errors import HeadwayError
from headway.core.threads import trim_memory

_P = ParamSpec("_P")
_T = TypeVar("_T")
IDLE_S = 60.0
SOON_S = 0.3
"""Time that a page waits for an answer that takes long, before it is shown without."""


class WorkFailed(HeadwayError):
    """The process for heavy work ended before it answered."""


class AnswerCache:
    """The last answers that were computed, by a key that names all they depend on."""

    def __init__(self, *, at_most: int = 256) -> None:
        self._at_most = at_most
        self._lock = threading.Lock()
        self._times_dropped = 0
        self._found: dict[Hashable, object] = {}
        self._coming: dict[Hashable, Future[Any]] = {}
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="answers for pages")

    def soon(self, key: Hashable, compute: Callable[[], _T], *, within_s: float = SOON_S) -> _T | None:
        """Return the answer of a key, or None if it takes longer: then it is computed on, for the next who asks."""
        with self._lock:
            if key not in self._coming and key not in self._found:
                self._coming[key] = self._threads.submit(self.get, key, compute)
            coming = self._coming.get(key)
        try:
            answer = self.get(key, compute) if coming is None else cast("_T", coming.result(within_s))
        except TimeoutError:
            return None
        except BaseException:
            self._arrived(key)
            raise
        self._arrived(key)
        return answer

    def newest(
        self, key: Hashable, version: Hashable, compute: Callable[[], _T], *, within_s: float = SOON_S
    ) -> _T | None:
        """Return the answer of a version; if it takes longer, the last answer of an earlier version, or None."""
        found = self.soon((key, version), compute, within_s=within_s)
        if found is not None:
            return found
        with self._lock:
            known = [answer for full, answer in self._found.items() if isinstance(full, tuple) and full[0] == key]
        return cast("_T", known[-1]) if known else None

    def forget(self, key: Hashable) -> None:
        """Compute the answer of a key again for the next who asks."""
        with self._lock:
            self._found.pop(key, None)

    def drop(self) -> None:
        """Forget every answer, also those that are computed now: rows that they may hold were erased."""
        with self._lock:
            self._times_dropped += 1
            self._found.clear()
            self._coming.clear()

    def _arrived(self, key: Hashable) -> None:
        with self._lock:
            self._coming.pop(key, None)

    def get(self, key: Hashable, compute: Callable[[], _T]) -> _T:
        """Return the answer of a key, computed if it is not there; two threads may compute it at once."""
        with self._lock:
            if key in self._found:
                self._found[key] = self._found.pop(key)  # the last in order is the one that was read last
                return cast("_T", self._found[key])
            times_dropped = self._times_dropped
        answer = compute()
        with self._lock:
            if times_dropped != self._times_dropped:
                return answer
            self._found[key] = answer
            while len(self._found) > self._at_most:
                del self._found[next(iter(self._found))]
        return answer


class WorkerProcess:
    """Runs functions of modules in another process, one at a time."""

    def __init__(self, *, idle_s: float = IDLE_S) -> None:
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._timer: threading.Timer | None = None
        self._running = 0

    def run(self, function: Callable[_P, _T], *arguments: _P.args, **keywords: _P.kwargs) -> _T:
        """Return what a function of a module returns, called in the other process; its errors are raised here."""
        with self._lock:
            self._running += 1
            if self._timer:
                self._timer.cancel()
            if self._pool is None:
                self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
            pool = self._pool
        try:
            return pool.submit(function, *arguments, **keywords).result()
        except BrokenProcessPool as error:
            self.close()
            raise WorkFailed("the process that computes this page has ended", hint="load the page again") from error
        finally:
            self._rest()

    def _rest(self) -> None:
        with self._lock:
            self._running -= 1
            if not self._running:
                self._timer = threading.Timer(self._idle_s, self._end_idle)
                self._timer.daemon = True
                self._timer.start()

    def _end_idle(self) -> None:
        with self._lock:
            if self._running:
                return
            pool, self._pool = self._pool, None
        if pool:
            pool.shutdown(wait=False)
            gc.collect()
            trim_memory()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            pool, self._pool = self._pool, None
            if self._timer:
                self._timer.cancel()
        if pool:
            pool.shutdown(wait=False, cancel_futures=True)
