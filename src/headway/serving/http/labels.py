"""Labels over HTTP: those of many requests are written together, and acknowledged once they are on disk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from headway.core.errors import DataError, HeadwayError
from headway.core.variant import Variant
from headway.serving.http.connection import Request
from headway.serving.http.request_queue import Reply, RequestQueue
from headway.serving.protocol.admission import RequestLimits, admit_labels
from headway.serving.protocol.errors import encode, error_body
from headway.serving.protocol.schemas import LabelsRequest, LabelsStored
from headway.serving.telemetry.logs import Throttle
from headway.storage import traffic

LABEL_SOURCE = "endpoint"
_PAUSE_S = 0.05  # between two writes: labels that arrive in between share a segment
_BATCH_REQUESTS = 256  # answered in one iteration of the loop
_HINT = '{"labels": [{"key": "a-1", "label": 1}]}'
_read_labels_request = msgspec.json.Decoder(LabelsRequest).decode
_log = logging.getLogger(__name__)


class LabelCollector:
    """Stores labels on a thread, in one segment for all requests that wait.

    The parameters are those of `RequestQueue`.
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
        self._limits = limits
        self._throttle = Throttle()
        self._queue = RequestQueue(
            self._write,
            what="labels wait to be written",
            limit="label_queue_mb",
            soon=soon,
            queue_bytes=queue_bytes,
            overload=overload,
            batch_requests=_BATCH_REQUESTS,
            pause_s=_PAUSE_S,
        )

    def store(self, request: Request, name: str, variant: Variant | None) -> None:
        """Queue the labels of a request for a model; it is answered with their number once they are on disk."""
        self._queue.add(request, (name, variant))

    def close(self) -> None:
        """Store the accepted labels, and end the thread."""
        self._queue.close()

    def _write(self, batch: Sequence[tuple[Request, tuple[str, Variant | None]]]) -> list[Reply]:
        """Write the labels of some requests, in one segment for each model."""
        replies: list[Reply] = []
        by_name: dict[str, list[tuple[Request, list[traffic.Label]]]] = {}
        for request, (name, variant) in batch:
            try:
                labels = _labels(request.body, self._limits, variant)
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


def _labels(body: bytes | bytearray, limits: RequestLimits, variant: Variant | None) -> list[traffic.Label]:
    """Return the labels of a request; raises DataError if they cannot be stored, or no row of the task has them."""
    expected = f"a label is {variant.label_values()}; " if variant else ""
    admit_labels(body, max_rows=limits.max_request_rows)
    try:
        labels = list(_read_labels_request(body).labels)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"the body holds no labels: {error}", hint=f"{expected}{_HINT}") from error
    for number, label in enumerate(labels):
        if variant and not variant.can_have_label(label.label):
            raise DataError(f"label {number} is {label.label:g}, expected {variant.label_values()}")
    traffic.check_labels(labels)
    for number, label in enumerate(labels):
        limits.require_name(f"the key of label {number}", label.key)
    return labels
