"""Sampled requests in the access log and in the spans that a collector receives."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from running import OPEN, Peer, Running, body_of, loaded, open_authenticator, request, serving
from tests.ports import free_port

from headway.core.errors import PluginError
from headway.serving.auth.keys import create_key
from headway.serving.settings.serve import ServeSection
from headway.serving.telemetry._otel import OtelTracer
from headway.serving.telemetry.logs import log_to_stderr
from headway.serving.telemetry.tracing import CompletedRequest, trace_requests

ROWS = body_of([1, 2, 6], id="r-7")
INFER = request(body=ROWS)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@contextmanager
def drawing(server: Running, **settings: object) -> Iterator[None]:
    """Trace a server with these settings."""
    state = server.listener._state
    routes = state.application
    with trace_requests(routes, server.plane, ServeSection(**settings)) as application:
        state.application = application
        try:
            yield
        finally:
            state.application = routes


@contextmanager
def receiving() -> Iterator[tuple[str, list[Span]]]:
    """Run a collector of OTLP over HTTP; yields its address and the received spans."""
    spans: list[Span] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
            sent = ExportTraceServiceRequest.FromString(body)
            assert self.path == "/v1/traces"
            for resource in sent.resource_spans:
                assert attributes(resource.resource)["service.name"] == "headway"
                spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=receiver.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{receiver.server_port}", spans
    finally:
        receiver.shutdown()
        thread.join(10)
        receiver.server_close()


def attributes(span: Span | Resource) -> dict[str, object]:
    return {
        attribute.key: getattr(attribute.value, attribute.value.WhichOneof("value")) for attribute in span.attributes
    }


def test_the_access_log_has_id_key_name_status_and_time(tmp_path, capsys):
    file = tmp_path / "keys.toml"
    key = create_key(file, "billing", ["predict"])
    requests = (request(body=ROWS, headers=[f"Authorization: Bearer {key}"]), INFER, request("/nowhere"))
    with (
        log_to_stderr("json"),
        serving(loaded(), authenticator=open_authenticator(file)) as server,
        drawing(server, access_log=1.0),
    ):
        with Peer(server) as peer:
            assert [peer.send_bytes(content).read_answer().status for content in requests] == [200, 401, 404]
        server.turn()
    log = capsys.readouterr().err
    right, stranger, nowhere = map(json.loads, log.splitlines())
    assert key not in log
    assert (right["id"], right["key"], right["status"], right["model"]) == ("r-7", "billing", 200, "flights")
    assert right["us"] >= right["queue_us"] + right["engine_us"] > 0
    assert (stranger["status"], stranger["key"], stranger["engine_us"]) == (401, "", 0)
    assert (nowhere["status"], nowhere["what"]) == (404, "unknown")


def test_without_tracing_no_middleware_is_installed(server):
    routes = server.listener._state.application
    with trace_requests(routes, server.plane, OPEN) as application:
        assert application is routes


def test_a_share_of_requests_is_sampled(server, capsys):
    with log_to_stderr("json"), drawing(server, access_log=0.5), Peer(server) as peer:
        peer.send_bytes(INFER * 400)
        assert {peer.read_answer().status for _ in range(400)} == {200}
        server.turn()
    assert 120 < len(capsys.readouterr().err.splitlines()) < 280


@pytest.mark.slow
def test_a_trace_reaches_its_collector_with_the_phases_of_the_request(server):
    with receiving() as (to, spans), drawing(server, tracer="otel", trace_to=to, trace_share=0.0):
        with Peer(server) as peer:
            for flags in ("01", "00"):
                header = f"traceparent: 00-{TRACE}-{PARENT}-{flags}"
                assert peer.send_bytes(request(body=ROWS, headers=[header])).read_answer().values == [3.0]
            assert peer.send_bytes(INFER).read_answer().values == [3.0]
        server.turn()
    by_name = {span.name: span for span in spans}
    assert set(by_name) == {"infer flights", "queue", "engine"} and len(spans) == 3
    root, queue, engine = by_name["infer flights"], by_name["queue"], by_name["engine"]
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE, PARENT)
    assert {queue.parent_span_id, engine.parent_span_id} == {root.span_id}
    assert root.start_time_unix_nano == queue.start_time_unix_nano < queue.end_time_unix_nano
    assert queue.end_time_unix_nano == engine.start_time_unix_nano < engine.end_time_unix_nano
    assert engine.end_time_unix_nano <= root.end_time_unix_nano
    assert attributes(root)["headway.id"] == "r-7" and attributes(root)["http.response.status_code"] == 200


@pytest.mark.slow
def test_requests_without_a_parent_are_sampled_randomly_and_failures_are_marked(server, monkeypatch):
    monkeypatch.setattr(server.plane.metrics, "text", lambda versions: 1 / 0)
    with receiving() as (to, spans), drawing(server, tracer="otel", trace_to=to, trace_share=1.0):
        with Peer(server) as peer:
            peer.send_bytes(request("/metrics") + request("/v2"))
            assert [peer.read_answer().status for _ in range(2)] == [500, 200]
        server.turn()
    assert {span.name: span.status.code for span in spans} == {"metrics": 2, "server": 0}


def test_mlflow_requests_are_in_the_access_log_too(capsys):
    with log_to_stderr("json"), serving(loaded()) as server, drawing(server, access_log=1.0), Peer(server) as peer:
        assert peer.send_bytes(request("/invocations", b'{"inputs": [[1, 2, 6]]}')).read_answer().status == 200
        server.turn()
    log = json.loads(capsys.readouterr().err)
    assert (log["what"], log["status"]) == ("invocations", 200) and log["us"] >= log["engine_us"]


@pytest.mark.slow
def test_the_tracer_accepts_requests_without_a_collector():
    tracer = OtelTracer(f"http://127.0.0.1:{free_port()}")
    completed = CompletedRequest(
        endpoint="infer",
        model="m",
        id="",
        key="",
        status=200,
        at_ns=time.time_ns(),
        took_ns=9_000,
        queue_ns=1_000,
        engine_ns=5_000,
        traceparent="malformed",
    )
    began = time.process_time()
    for _ in range(5_000):
        tracer.export(completed)
    assert time.process_time() - began < 5
    began = time.perf_counter()
    tracer.close()
    assert time.perf_counter() - began < 30


def test_an_unknown_tracer_is_an_error_with_a_hint(server):
    settings = ServeSection(tracer="jaeger")
    with (
        pytest.raises(PluginError, match="no tracer named 'jaeger'") as caught,
        trace_requests(server.listener._state.application, server.plane, settings),
    ):
        raise AssertionError("the tracer was opened")
    assert caught.value.hint == "known: otel"
