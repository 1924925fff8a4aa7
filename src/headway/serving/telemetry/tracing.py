"""Trace requests: those sampled at random, or sampled by the caller, are reported to a log and to OpenTelemetry.

A request that is not sampled costs three comparisons; if nothing is configured, the middleware is not installed.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from headway.core.errors import PluginError
from headway.core.plugins import load_sibling
from headway.serving.batching.data_plane import DataPlane
from headway.serving.protocol.endpoints import match_route
from headway.serving.settings.serve import ServeSection

TRACERS = ("otel",)
_INFERENCE = frozenset({"infer", "invocations"})
_SAMPLED = b"-01"
_log = logging.getLogger("headway.serving.access")

Application = Callable[[Any], None]
"""Takes an `http.connection.Request`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedRequest:
    """A request that was answered, and where its time went, in nanoseconds.

    `at_ns` is its arrival since 1970; `queue_ns` and `engine_ns` are 0 if no engine was called. `key` is the name of
    the API key; `traceparent` is the header of the caller.
    """

    endpoint: str
    model: str
    id: str
    key: str
    status: int
    at_ns: int
    took_ns: int
    queue_ns: int
    engine_ns: int
    traceparent: str


Report = Callable[[CompletedRequest], object]
Sampler = Callable[[bytes], bool]


class RequestSpan:
    """Span of a sampled request, reported when it ends; the routes set its API key and its id."""

    def __init__(self, url: bytes, traceparent: bytes, reports: Sequence[Report], plane: DataPlane) -> None:
        self.key = self.id = ""
        self._route = match_route(url)
        self._traceparent = traceparent
        self._reports = reports
        self._plane = plane
        self._at_ns, self._began_ns = time.time_ns(), time.perf_counter_ns()

    def end(self, status: int) -> None:
        """End the span with the status of the response."""
        took_ns = time.perf_counter_ns() - self._began_ns
        inferred = status == 200 and self._route.endpoint in _INFERENCE
        engine_began, engine_ended = self._plane.engine_ns if inferred else (0, 0)
        completed = CompletedRequest(
            endpoint=self._route.endpoint or "unknown",
            model=self._route.name,
            id=self.id,
            key=self.key,
            status=status,
            at_ns=self._at_ns,
            took_ns=took_ns,
            queue_ns=max(0, engine_began - self._began_ns),
            engine_ns=engine_ended - engine_began,
            traceparent=self._traceparent.decode("ascii", "replace"),
        )
        for report in self._reports:
            report(completed)


class TracingMiddleware:
    """Passes requests on, with a span for those that a sampler selects by their `traceparent`."""

    def __init__(self, application: Application, plane: DataPlane, samplers: Sequence[tuple[Sampler, Report]]) -> None:
        self._application = application
        self._plane = plane
        self._samplers = samplers

    def __call__(self, request: Any) -> None:
        """Pass one request on."""
        traceparent = request.traceparent
        reports = [report for sample, report in self._samplers if sample(traceparent)]
        if reports:
            request.span = RequestSpan(request.url, traceparent, reports, self._plane)
        self._application(request)


@contextmanager
def trace_requests(application: Application, plane: DataPlane, settings: ServeSection) -> Iterator[Application]:
    """Wrap an application with the tracing that `[serve]` configures; send all spans at the end.

    Raises PluginError if the tracer is unknown, or if its library is not installed.
    """
    samplers: list[tuple[Sampler, Report]] = []
    if settings.access_log:
        samplers.append((partial(_sample_randomly, settings.access_log), log_request))
    tracer = _open_tracer(settings.tracer, settings.trace_to) if settings.tracer else None
    if tracer:
        samplers.append((partial(_sample_like_caller, settings.trace_share), tracer.export))
    try:
        yield TracingMiddleware(application, plane, samplers) if samplers else application
    finally:
        if tracer:
            tracer.close()


def log_request(completed: CompletedRequest) -> None:
    """Write one line to the access log."""
    fields = {
        "id": completed.id,
        "what": completed.endpoint,
        "model": completed.model,
        "key": completed.key,
        "status": completed.status,
        "us": completed.took_ns // 1000,
        "queue_us": completed.queue_ns // 1000,
        "engine_us": completed.engine_ns // 1000,
    }
    _log.info("answered", extra={"fields": fields})


def _open_tracer(name: str, endpoint: str) -> Any:
    if name not in TRACERS:
        raise PluginError(f"no tracer named {name!r}", where="[serve] tracer", hint=f"known: {', '.join(TRACERS)}")
    return load_sibling(__name__, name, reads=f"tracer {name!r}").OtelTracer(endpoint)


def _sample_randomly(share: float, _: bytes) -> bool:
    return random.random() < share


def _sample_like_caller(share: float, traceparent: bytes) -> bool:
    """Follow the sampled flag of the caller's header; without a header, sample randomly."""
    return traceparent.endswith(_SAMPLED) if traceparent else random.random() < share
