"""Requests whose work waits for the disk or the network: they queue for a thread, and the loop answers others."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from headway.serving.http.connection import Request
from headway.serving.protocol.errors import error_body

T = TypeVar("T")
_MIN_BYTES = 1_024  # that a waiting request counts for, however small its body


class Reply(NamedTuple):
    """The response to a request."""

    request: Request
    status: int
    body: bytes
    extra: bytes = b""


class RequestQueue(Generic[T]):
    """Requests with what is to be done for each, in the order of arrival, for one thread.

    Parameters
    ----------
    answer
        Does the work of some requests, and returns a reply to each; it runs on the thread and must not raise.
    what
        What the requests bring and what happens to it, for messages: "labels wait to be written".
    limit
        Setting that bounds the queue, one of `metrics.OVERLOADS`.
    soon
        Runs a function on the loop (`loop.call_soon_threadsafe`).
    queue_bytes
        Bodies of so many bytes together may wait, or one that is larger; further requests get status 429.
    overload
        Takes the limit and the reason, to count and log them.
    batch_requests
        Maximum number of requests that are answered together.
    pause_s
        Time between two batches, in which further requests may arrive.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[tuple[Request, T]]], Sequence[Reply]],
        *,
        what: str,
        limit: str,
        soon: Callable[[Callable[[], None]], object],
        queue_bytes: int,
        overload: Callable[[str, str], object],
        batch_requests: int = 1,
        pause_s: float = 0.0,
    ) -> None:
        self._answer = answer
        self._full = f"too many {what}"
        self._limit = limit
        self._soon = soon
        self._queue_bytes = queue_bytes
        self._overload = overload
        self._batch_requests = batch_requests
        self._pause_s = pause_s
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=limit.partition("_")[0])
        self._lock = threading.Lock()  # guards the next three
        self._waiting: deque[tuple[Request, T]] = deque()
        self._waiting_bytes = 0
        self._working = False
        self._closing = threading.Event()
        self._next_s = 0.0

    def add(self, request: Request, work: T) -> None:
        """Queue a request; it is answered once its work is done, or with status 429 if the queue is full."""
        size = _size(request)
        with self._lock:
            full = self._waiting_bytes and self._waiting_bytes + size > self._queue_bytes
            begin = not (full or self._working)
            if not full:
                self._waiting.append((request, work))
                self._waiting_bytes += size
                self._working = True
        if full:
            self._overload(self._limit, self._full)
            request.reply(429, error_body(f"{self._full}; retry in 1 s"), extra=b"\r\nRetry-After: 1")
        elif begin:
            self._pool.submit(self._work)

    def close(self) -> None:
        """Answer the accepted requests, and end the thread."""
        self._closing.set()
        self._pool.shutdown()

    def _work(self) -> None:
        """Answer what waits, and what arrives during that; on the thread."""
        while batch := self._take():
            replies = self._answer(batch)
            with self._lock:
                self._waiting_bytes -= sum(_size(request) for request, _ in batch)
            self._soon(partial(_send, replies))

    def _take(self) -> list[tuple[Request, T]]:
        """Return the requests to answer next, after a pause since the last ones; none if none waits."""
        with self._lock:
            if not self._waiting:
                self._working = False
                return []
        self._closing.wait(max(0.0, self._next_s - time.monotonic()))
        self._next_s = time.monotonic() + self._pause_s
        with self._lock:
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), self._batch_requests))]


def _size(request: Request) -> int:
    return max(len(request.body), _MIN_BYTES)


def _send(replies: Sequence[Reply]) -> None:
    for request, status, body, extra in replies:
        request.reply(status, body, extra=extra)
