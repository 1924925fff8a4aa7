"""Service times of a running server, round trips of a network, and pauses of this machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from headway.core.contracts import Trial
from headway.core.errors import ConfigError, NotApplicable
from headway.evaluation import service_times
from headway.evaluation.context import Comparison
from headway.evaluation.machine_load import LoadMeter, MachineBusy
from headway.evaluation.service_times import measure_network, measure_pauses, measure_service_times, without_pauses


class Answering(BaseHTTPRequestHandler):
    """Answers every request, except that it closes the connection of some."""

    protocol_version = "HTTP/1.1"
    closes: tuple[int, ...] = ()
    errors: tuple[int, ...] = ()
    requests, path_read = 0, ""
    batch, call_ns, has_statistics = 3, 50_000, True
    wbufsize = -1  # head and body in one packet

    def do_GET(self) -> None:
        type(self).requests += 1
        type(self).path_read = self.path
        if self.requests in self.closes:
            self.close_connection = True
            return
        body = b"ok"
        if self.path == "/v2/models/stats":
            n = type(self).requests
            phases = {"success": {"count": n, "ns": 0}, "compute_infer": {"count": n, "ns": n * self.call_ns}}
            model = {"execution_count": n // self.batch, "inference_stats": phases}
            body = json.dumps({"model_stats": [model]}).encode() if self.has_statistics else body
        self.send_response(503 if self.requests in self.errors else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Server:
    handler: type[Answering]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


@pytest.fixture
def server() -> Iterator[Server]:
    handler = type("Handler", (Answering,), {})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield Server(handler, http.server_port)
    http.shutdown()
    http.server_close()


def trial(server: Server) -> tuple[Comparison, Trial]:
    rows = np.zeros((3, 2))
    subject = SimpleNamespace(
        rows=rows, select=lambda r: r, variant=SimpleNamespace(digest="sha256:1", name="lightgbm")
    )
    request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    of = Trial(
        host="127.0.0.1",
        port=server.port,
        process=os.getpid(),
        began_s=0.0,
        request=lambda _: request,
        answers=lambda _: np.empty(0),
    )
    return cast("Comparison", subject), of


def test_a_running_server_has_service_times_a_delay_and_batches(server, monkeypatch):
    monkeypatch.setattr(service_times, "MIN_TIMES", 5)
    found = measure_service_times(*trial(server), location="here", seconds=0.4)
    assert (found.location, found.variant) == ("here", "sha256:1")
    assert all(time > 0 for time in found.times_us)
    assert found.delay_us >= 0
    assert [count for count, _ in found.batch_us] == [3, 3]


def test_a_long_engine_call_occupies_a_worker_for_its_wall_time(server, monkeypatch):
    monkeypatch.setattr(service_times, "MIN_TIMES", 5)
    server.handler.call_ns = 3_000_000
    found = measure_service_times(*trial(server), location="here", seconds=0.4)
    assert [mean for _, mean in found.batch_us] == pytest.approx([1_000, 1_000], rel=0.05)


def test_a_busy_machine_is_not_measured_unless_it_is_accepted(server, monkeypatch):
    monkeypatch.setattr(service_times, "MIN_TIMES", 5)
    busy = MachineBusy("a third of the time was spent waiting", measured=0.3, limit=0.1)
    monkeypatch.setattr(LoadMeter, "busy", lambda *_: busy)
    with pytest.raises(NotApplicable, match="other processes used the cores") as caught:
        measure_service_times(*trial(server), location="here", seconds=0.2)
    assert "--accept-busy" in caught.value.hint
    found = measure_service_times(*trial(server), location="here", seconds=0.2, accept_busy=True)
    assert found.busy == busy.sign


def test_a_server_without_statistics_is_not_measured(server):
    server.handler.has_statistics = False
    with pytest.raises(NotApplicable, match="the server has no statistics"):
        measure_service_times(*trial(server), location="here", seconds=0.2)


def test_pauses_are_not_counted_as_service_times():
    times = np.full(1_000, 50.0)
    times[[3, 500]] = 5_050.0
    found = without_pauses(times, np.array([5_000.0, 5_000.0]), count=2)
    assert found.tolist() == [50.0] * 1_000
    assert without_pauses(times, np.empty(0), count=2).tolist() == times.tolist()


def test_no_service_time_grows_or_falls_below_the_median_by_a_pause():
    times = np.array([1.0, 2.0, 3.0, 4.0])
    assert without_pauses(times, np.array([100.0]), count=9).tolist() == [1.0, 2.0, 2.5, 2.5]


def test_too_few_answers_are_not_a_sample(server, monkeypatch):
    monkeypatch.setattr(service_times, "MIN_TIMES", 10**9)
    with pytest.raises(NotApplicable, match=r"requests were answered in 0\.05 s"):
        measure_service_times(*trial(server), location="here", seconds=0.1)


def test_refused_requests_are_not_service_times(server, monkeypatch):
    monkeypatch.setattr(service_times, "MIN_TIMES", 1)
    server.handler.errors = range(2, 10**9)  # the first request reads the statistics
    with pytest.raises(NotApplicable, match="0 requests were answered"):
        measure_service_times(*trial(server), location="here", seconds=0.1)


def test_a_process_that_is_gone_has_no_cpu_time():
    with pytest.raises(NotApplicable, match=r"CPU time of process \d+ cannot be read"):
        service_times._cpu_us(2**22 + 1)


def test_threads_and_children_that_end_during_a_reading_have_no_cpu_time():
    is_done = threading.Event()

    def start_and_end():
        while not is_done.is_set():
            threading.Thread(target=int).start()
            subprocess.run(["true"], check=True)

    starting = [threading.Thread(target=start_and_end) for _ in range(4)]
    for thread in starting:
        thread.start()
    try:
        assert all(service_times._cpu_us(os.getpid())[os.getpid()] > 0 for _ in range(300))
    finally:
        is_done.set()
        for thread in starting:
            thread.join()


def test_a_pause_is_longer_than_half_a_millisecond():
    pauses = measure_pauses(0.02)
    assert (pauses > service_times.PAUSE_S).all()


def test_round_trips_are_measured_over_a_connection_that_stays_open(server):
    found = measure_network(server.url, name="wan", count=20)
    assert (found.name, len(found.times_us), found.n_failed, found.url) == ("wan", 20, 0, server.url)


def test_requests_without_an_answer_are_counted(server):
    server.handler.closes = (4, 9)
    found = measure_network(server.url, name="wan", count=10)
    assert (len(found.times_us), found.n_failed) == (8, 2)


def test_an_error_page_is_not_a_round_trip(server):
    server.handler.errors = (4, 9)
    found = measure_network(server.url, name="wan", count=10)
    assert (len(found.times_us), found.n_failed) == (8, 2)
    server.handler.errors = range(100)
    with pytest.raises(ConfigError, match="no round trip was measured: the answer has status 503") as raised:
        measure_network(server.url, name="wan", count=10)
    assert "/v2/health/live" in raised.value.hint


def test_a_server_that_closes_each_connection_has_no_round_trips(server):
    server.handler.protocol_version = "HTTP/1.0"
    with pytest.raises(ConfigError, match="the server closes the connection after each response"):
        measure_network(server.url, name="wan", count=10)


def test_a_page_of_a_network_has_a_largest_size(server, monkeypatch):
    monkeypatch.setattr(service_times, "_MAX_PAGE_BYTES", 1)
    with pytest.raises(ConfigError, match="the page has more than 1 bytes"):
        measure_network(server.url, name="wan", count=10)


def test_the_query_of_an_address_is_sent(server):
    measure_network(f"{server.url}ready?x=1#top", name="wan", count=1)
    assert server.handler.path_read == "/ready?x=1"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/",
        "server:8080",
        "http://",
        "http://x:99999/",
        "http://[",
        "http://x/\N{LATIN SMALL LETTER E WITH ACUTE}",
    ],
)
def test_an_address_is_one_of_http(url):
    with pytest.raises(ConfigError, match="is not an address"):
        measure_network(url, name="wan", count=1)


def test_a_server_that_never_answers_has_no_round_trips():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    with pytest.raises(ConfigError, match="no round trip was measured"):
        measure_network(f"http://127.0.0.1:{port}/", name="wan", count=5)
