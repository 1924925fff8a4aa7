"""Traces by OpenTelemetry: a span a request, with its parts, sent as OTLP over HTTP from a thread of its own."""

from __future__ import annotations

import os
import threading

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import headway
from headway.core.doors import Asked

_CLOSE_S = 3.0


class Tracer:
    """Sends spans to a receiver: `to` is its address, such as http://127.0.0.1:4318; without it, as OTEL_ says."""

    def __init__(self, to: str) -> None:
        named = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "headway")})
        self._exporter: SpanExporter = OTLPSpanExporter(endpoint=f"{to.rstrip('/')}/v1/traces" if to else None)
        self._provider = TracerProvider(resource=named, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("headway", headway.__version__)
        self._propagator = TraceContextTextMapPropagator()

    def keep(self, asked: Asked) -> None:
        """Queue the span of a request, and those of its wait and of the engine within."""
        span = self._tracer.start_span(
            f"{asked.what} {asked.model}".strip(),
            context=self._propagator.extract({"traceparent": asked.traceparent}),
            kind=SpanKind.SERVER,
            start_time=asked.at_ns,
            attributes={
                "http.response.status_code": asked.status,
                "headway.model": asked.model,
                "headway.key": asked.key,
                "headway.id": asked.id,
            },
        )
        if asked.engine_ns:
            inside, called_ns = set_span_in_context(span), asked.at_ns + asked.queue_ns
            parts = (("queue", asked.at_ns, called_ns), ("engine", called_ns, called_ns + asked.engine_ns))
            for name, began_ns, ended_ns in parts:
                self._tracer.start_span(name, context=inside, start_time=began_ns).end(ended_ns)
        if asked.status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end(asked.at_ns + asked.took_ns)

    def close(self) -> None:
        """Send what is queued, and end the thread; what nobody has received in three seconds is lost."""
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(_CLOSE_S)
        if ending.is_alive():
            self._exporter.shutdown()
            ending.join(_CLOSE_S)


plugin = Tracer
