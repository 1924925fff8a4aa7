"""Rows of feature views over HTTP: checked, computed and in the online store before they are acknowledged."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from headway.core.errors import ConfigError, DataError, HeadwayError, StoreError
from headway.core.plugins import load_sibling
from headway.serving.http.connection import Request
from headway.serving.http.request_queue import Reply, RequestQueue
from headway.serving.protocol.admission import admit_lines, admit_rows
from headway.serving.protocol.errors import encode, error_body
from headway.serving.protocol.schemas import FeaturesPushed
from headway.serving.telemetry.logs import Throttle

if TYPE_CHECKING:
    from headway.core.contracts import OnlineStore, State
    from headway.serving.telemetry.metrics import Metrics

LINES = frozenset({b"application/x-ndjson", b"application/jsonl", b"application/jsonlines"})
"""Media types of a body with an object per line; any JSON type is an array of objects."""
_HINT = "an array of rows as application/json, or a row per line as application/x-ndjson"
_read_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_log = logging.getLogger(__name__)


class _Push(NamedTuple):
    """The view of a request, and whether its body has a row per line."""

    reference: str
    is_lines: bool


class FeaturePusher:
    """Stores pushed rows on a thread, one request after the other.

    `store` must not be the store that requests are looked up in: its connection is in use while rows are written. The
    first push loads polars. The other parameters are those of `RequestQueue`; `max_rows` is of a request.
    """

    def __init__(
        self,
        state: State,
        store: OnlineStore,
        *,
        metrics: Metrics,
        max_rows: int,
        soon: Callable[[Callable[[], None]], object],
        queue_bytes: int,
        overload: Callable[[str, str], object],
    ) -> None:
        self._state = state
        self._store = store
        self._metrics = metrics
        self._max_rows = max_rows
        self._throttle = Throttle()
        self._queue = RequestQueue(
            self._push_each,
            what="rows of feature views wait to be stored",
            limit="push_queue_mb",
            soon=soon,
            queue_bytes=queue_bytes,
            overload=overload,
        )

    def push(self, request: Request, reference: str, *, is_lines: bool) -> None:
        """Queue the rows of a request for a view; it is answered once they are stored.

        Parameters
        ----------
        request
            A request whose body has the rows.
        reference
            The view, such as `weather` or `weather@v2`.
        is_lines
            True if each line of the body is a row, False if the body is an array of rows.
        """
        self._queue.add(request, _Push(reference, is_lines))

    def close(self) -> None:
        """Store the accepted rows, and end the thread."""
        self._queue.close()

    def _push_each(self, batch: Sequence[tuple[Request, _Push]]) -> list[Reply]:
        return [self._push(request, push) for request, push in batch]

    def _push(self, request: Request, push: _Push) -> Reply:
        """Store the rows of a request, and return the reply."""
        try:
            lines = _lines(bytes(request.body), is_lines=push.is_lines, max_rows=self._max_rows)
        except DataError as error:
            return Reply(request, 400, error_body(error))
        try:
            name, pushed = _push_rows()(self._state, self._store, push.reference, lines)
        except Exception as error:  # noqa: BLE001 - the thread: a defect must not end it, nor leave a caller waiting
            return self._failure(request, push.reference, error)
        counts = {"stored": pushed.stored, "refused": len(pushed.refused)}
        self._metrics.count_pushed(name, {**counts, "older": pushed.rows - sum(counts.values())})
        return Reply(request, 200, encode(pushed))

    def _failure(self, request: Request, reference: str, error: Exception) -> Reply:
        """Return the reply for rows that were not stored, or not all of them."""
        if isinstance(error, HeadwayError) and not isinstance(error, StoreError):
            return Reply(request, 404 if isinstance(error, ConfigError) else 422, error_body(error))
        known = isinstance(error, StoreError)
        if count := self._throttle.count("failed"):
            _log.error("rows of %s were not stored (%d times): %s", reference, count, error, exc_info=not known)
        if isinstance(error, StoreError):
            return Reply(request, 503, error_body(error), b"\r\nRetry-After: 1")
        return Reply(request, 500, _NOT_STORED)


_NOT_STORED = error_body("the rows were not stored; see the log of the server")


def _push_rows() -> Callable[[State, OnlineStore, str, Sequence[bytes]], tuple[str, FeaturesPushed]]:
    """Return the function that stores rows, which computes on one thread: the others answer requests."""
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    found: Callable[[State, OnlineStore, str, Sequence[bytes]], tuple[str, FeaturesPushed]]
    found = load_sibling(__name__, "push_rows", reads="pushing rows of a feature view").push_rows
    return found


def _lines(body: bytes, *, is_lines: bool, max_rows: int) -> Sequence[bytes]:
    """Return the rows of a body, each still encoded; raises DataError if it is not an array, or has too many."""
    if is_lines:
        return admit_lines(body, max_rows=max_rows)
    admit_rows(body, max_rows=max_rows)
    try:
        return [bytes(row) for row in _read_rows(body)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"the body holds no rows: {error}", hint=_HINT) from error
