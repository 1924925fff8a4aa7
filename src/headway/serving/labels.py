"""Labels that callers send: kept on disk first, and then acknowledged."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec

from headway.core.errors import DataError, HeadwayError
from headway.serving.http.connection import Request
from headway.serving.protocol.errors import encode, error_body
from headway.storage import traffic
from headway.storage.traffic import Label

BY = "endpoint"


class LabelsRequest(msgspec.Struct):
    """The body of a request with labels."""

    labels: list[Label]


_decode = msgspec.json.Decoder(LabelsRequest).decode


class LabelCollector:
    """Keeps labels in a thread of its own; `soon` runs a function on the loop (`loop.call_soon_threadsafe`)."""

    def __init__(self, state: Path, *, soon: Callable[[Callable[[], None]], object]) -> None:
        self._state = state
        self._soon = soon
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="labels")

    def take(self, request: Request, name: str) -> None:
        """Keep the labels of a request for a model, then answer how many they were."""
        try:
            labels = _decode(request.body).labels
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            hint = '{"labels": [{"key": "a-1", "label": 1}]}'
            request.reply(400, error_body(DataError(f"the body holds no labels: {error}", hint=hint)))
            return
        kept = self._pool.submit(traffic.save_labels, self._state, name, labels, who=BY)
        kept.add_done_callback(lambda done: self._soon(lambda: _reply(request, done)))

    def close(self) -> None:
        """Keep what was taken, and end the thread."""
        self._pool.shutdown()


def _reply(request: Request, kept: Future[int]) -> None:
    error = kept.exception()
    if error is None:
        request.reply(200, encode({"kept": kept.result()}))
    elif isinstance(error, HeadwayError):
        request.reply(400 if isinstance(error, DataError) else 503, error_body(error))
    else:
        request.reply(500, error_body("the labels were not kept"))
