"""Requests that were drawn by chance, or that a caller traces, are told of once they are answered: to a log, to traces.

A request that was not drawn costs three comparisons; where nothing is drawn, this file takes no part.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from headway.core.doors import Asked
from headway.core.plugins import load_tracer
from headway.core.sections.serve import ServeSection
from headway.serving.batching.data_plane import DataPlane
from headway.serving.http.connection import Request
from headway.serving.protocol.endpoints import match_route

_ROWS = frozenset({"infer", "invocations"})
_SAMPLED = b"-01"
_log = logging.getLogger("headway.serving.auth")

Application = Callable[[Request], None]
Callback = Callable[[Asked], object]
Draw = Callable[[bytes], bool]


class RequestSpan:
    """What is known so far of a request that was drawn; the routes write down its key and its id."""

    def __init__(self, url: bytes, traceparent: bytes, tells: Sequence[Callback], plane: DataPlane) -> None:
        self.key = self.id = ""
        self._place = match_route(url)
        self._traceparent = traceparent
        self._tells = tells
        self._plane = plane
        self._at_ns, self._began_ns = time.time_ns(), time.perf_counter_ns()

    def end(self, status: int) -> None:
        """Tell of the request, which is answered now."""
        took_ns = time.perf_counter_ns() - self._began_ns
        engine_began, engine_ended = self._plane.engine_ns if status == 200 and self._place.what in _ROWS else (0, 0)
        asked = Asked(
            what=self._place.what or "unknown",
            model=self._place.name,
            id=self.id,
            key=self.key,
            status=status,
            at_ns=self._at_ns,
            took_ns=took_ns,
            queue_ns=max(0, engine_began - self._began_ns),
            engine_ns=engine_ended - engine_began,
            traceparent=self._traceparent.decode("ascii", "replace"),
        )
        for callback in self._tells:
            callback(asked)


class TracingMiddleware:
    """Hands requests on, with a note at each that one of `drawn` draws, by its `traceparent`, for its own teller."""

    def __init__(self, application: Application, plane: DataPlane, drawn: Sequence[tuple[Draw, Callback]]) -> None:
        self._application = application
        self._plane = plane
        self._drawn = drawn

    def __call__(self, request: Request) -> None:
        """Take one request."""
        traceparent = request.traceparent
        tells = [callback for draw, callback in self._drawn if draw(traceparent)]
        if tells:
            request.note = RequestSpan(request.url, traceparent, tells, self._plane)
        self._application(request)


@contextmanager
def trace_requests(application: Application, plane: DataPlane, settings: ServeSection) -> Iterator[Application]:
    """The application with what the settings draw of its requests; all that was drawn is sent at the end."""
    drawn: list[tuple[Draw, Callback]] = []
    if settings.access_log:
        drawn.append((partial(_by_chance, settings.access_log), log_request))
    tracer = load_tracer(settings.tracer)(settings.trace_to) if settings.tracer else None
    if tracer:
        drawn.append((partial(_by_caller, settings.trace_share), tracer.keep))
    try:
        yield TracingMiddleware(application, plane, drawn) if drawn else application
    finally:
        if tracer:
            tracer.close()


def log_request(asked: Asked) -> None:
    """Write a line of a request."""
    told = {"id": asked.id, "what": asked.what, "model": asked.model, "key": asked.key, "status": asked.status}
    parts = {"us": asked.took_ns // 1000, "queue_us": asked.queue_ns // 1000, "engine_us": asked.engine_ns // 1000}
    _log.info("answered", extra={"fields": {**told, **parts}})


def _by_chance(share: float, _: bytes) -> bool:
    return random.random() < share


def _by_caller(share: float, traceparent: bytes) -> bool:
    """As the caller says, in the last two digits of its header; where it brings none, by chance."""
    return traceparent.endswith(_SAMPLED) if traceparent else random.random() < share
