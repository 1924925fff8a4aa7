"""Export traces with OpenTelemetry: one span a request and its phases, sent as OTLP over HTTP from a thread."""

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
from headway.serving.telemetry.tracing import CompletedRequest

_CLOSE_S = 3.0


class OtelTracer:
    """Sends spans to a collector at `endpoint`, e.g. http://127.0.0.1:4318; if empty, as the OTEL_ variables say."""

    def __init__(self, endpoint: str) -> None:
        resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "headway")})
        url = f"{endpoint.rstrip('/')}/v1/traces" if endpoint else None
        self._exporter: SpanExporter = OTLPSpanExporter(endpoint=url)
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("headway", headway.__version__)
        self._propagator = TraceContextTextMapPropagator()

    def export(self, completed: CompletedRequest) -> None:
        """Queue the span of a request with child spans for its queue and engine time; never blocks or raises."""
        span = self._tracer.start_span(
            f"{completed.endpoint} {completed.model}".strip(),
            context=self._propagator.extract({"traceparent": completed.traceparent}),
            kind=SpanKind.SERVER,
            start_time=completed.at_ns,
            attributes={
                "http.response.status_code": completed.status,
                "headway.model": completed.model,
                "headway.key": completed.key,
                "headway.id": completed.id,
            },
        )
        if completed.engine_ns:
            context, called_ns = set_span_in_context(span), completed.at_ns + completed.queue_ns
            phases = (
                ("queue", completed.at_ns, called_ns),
                ("engine", called_ns, called_ns + completed.engine_ns),
            )
            for name, began_ns, ended_ns in phases:
                self._tracer.start_span(name, context=context, start_time=began_ns).end(ended_ns)
        if completed.status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end(completed.at_ns + completed.took_ns)

    def close(self) -> None:
        """Send the queued spans and end the thread; spans not received within three seconds are lost."""
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(_CLOSE_S)
        if ending.is_alive():
            self._exporter.shutdown()
            ending.join(_CLOSE_S)
