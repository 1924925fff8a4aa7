"""Labels over HTTP: those of many requests are written together, and acknowledged once they are on disk."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from headway.core.errors import DataError, HeadwayError
from headway.serving.http.connection import Request
from headway.serving.protocol.errors import encode, error_body
from headway.serving.protocol.open_inference import RequestLimits
from headway.serving.protocol.schemas import LabelsRequest, LabelsStored
from headway.serving.telemetry.logs import Throttle
from headway.storage import traffic

LABEL_SOURCE = "endpoint"
_PAUSE_S = 0.05  # between two writes: labels that arrive in between share a segment
_BATCH_REQUESTS = 256  # answered in one iteration of the loop
_MIN_BYTES = 1_024  # that a waiting request counts for, however small its body
_HINT = '{"labels": [{"key": "a-1", "label": 1}]}'
_read_labels_request = msgspec.json.Decoder(LabelsRequest).decode
_log = logging.getLogger(__name__)


class Reply(NamedTuple):
    """The response to a request."""

    request: Request
    status: int
    body: bytes


class LabelCollector:
    """Stores labels on a thread, in one segment for all requests that wait.

    `soon` runs a function on the loop (`loop.call_soon_threadsafe`). Bodies of `queue_bytes` together may wait, or one
    that is larger; further requests get status 429. `overload` takes the limit and the reason, to count and log them.
    """

    def __init__(
        self,
        state: Path,
        *,
        soon: Callable[[Callable[[], None]], object],
        queue_bytes: int,
        limits: RequestLimits,
        overload: Callable[[str, str], object],
    ) -> None:
        self._state = state
        self._soon = soon
        self._queue_bytes = queue_bytes
        self._limits = limits
        self._overload = overload
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="labels")
        self._lock = threading.Lock()  # guards the next three
        self._waiting: deque[tuple[Request, str]] = deque()
        self._waiting_bytes = 0
        self._writing = False
        self._closing = threading.Event()
        self._next_s = 0.0
        self._throttle = Throttle()

    def store(self, request: Request, name: str) -> None:
        """Queue the labels of a request for a model; it is answered with their number once they are on disk."""
        size = _size(request)
        with self._lock:
            full = self._waiting_bytes and self._waiting_bytes + size > self._queue_bytes
            begin = not (full or self._writing)
            if not full:
                self._waiting.append((request, name))
                self._waiting_bytes += size
                self._writing = True
        if full:
            self._overload("label_queue_mb", "too many labels wait to be written")
            error = error_body("too many labels wait to be written; retry in 1 s")
            request.reply(429, error, extra=b"\r\nRetry-After: 1")
        elif begin:
            self._pool.submit(self._write_waiting)

    def close(self) -> None:
        """Store the accepted labels, and end the thread."""
        self._closing.set()
        self._pool.shutdown()

    def _write_waiting(self) -> None:
        """Write what waits, and what arrives during a write; on the thread."""
        while batch := self._take():
            replies = self._write(batch)
            with self._lock:
                self._waiting_bytes -= sum(_size(request) for request, _ in batch)
            self._soon(partial(_send, replies))

    def _take(self) -> list[tuple[Request, str]]:
        """Return the requests to write next, after a pause since the last write; none if none waits."""
        with self._lock:
            if not self._waiting:
                self._writing = False
                return []
        self._closing.wait(max(0.0, self._next_s - time.monotonic()))
        self._next_s = time.monotonic() + _PAUSE_S
        with self._lock:
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH_REQUESTS))]

    def _write(self, batch: Sequence[tuple[Request, str]]) -> list[Reply]:
        """Write the labels of some requests, in one segment for each model."""
        replies: list[Reply] = []
        by_name: dict[str, list[tuple[Request, list[traffic.Label]]]] = {}
        for request, name in batch:
            try:
                labels = _labels(request.body, self._limits)
            except DataError as error:
                replies.append(Reply(request, 400, error_body(error)))
            else:
                by_name.setdefault(name, []).append((request, labels))
        for name, members in by_name.items():
            failure = self._save(name, [label for _, labels in members for label in labels])
            for request, labels in members:
                status, body = failure or (200, encode(LabelsStored(len(labels))))
                replies.append(Reply(request, status, body))
        return replies

    def _save(self, name: str, labels: Sequence[traffic.Label]) -> tuple[int, bytes] | None:
        """Save labels; returns the status and the body of the error if that failed."""
        try:
            traffic.save_labels(self._state, name, labels, who=LABEL_SOURCE)
        except Exception as error:  # noqa: BLE001 - the label thread: a defect must not end it, nor leave a caller waiting
            known = isinstance(error, HeadwayError)
            if count := self._throttle.count(f"failed {name}"):
                _log.error("labels of %s were not stored (%d times): %s", name, count, error, exc_info=not known)
            return (503, error_body(error)) if isinstance(error, HeadwayError) else (500, _NOT_STORED)
        return None


_NOT_STORED = error_body("the labels were not stored; see the log of the server")


def _labels(body: bytes | bytearray, limits: RequestLimits) -> list[traffic.Label]:
    """Return the labels of a request; raises DataError if they cannot be stored."""
    try:
        labels = list(_read_labels_request(body).labels)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"the body holds no labels: {error}", hint=_HINT) from error
    traffic.check_labels(labels)
    for number, label in enumerate(labels):
        limits.require_name(f"the key of label {number}", label.key)
    return labels


def _size(request: Request) -> int:
    return max(len(request.body), _MIN_BYTES)


def _send(replies: Sequence[Reply]) -> None:
    for request, status, body in replies:
        request.reply(status, body)
