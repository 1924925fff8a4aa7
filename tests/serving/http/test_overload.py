"""Connections, and all bodies held together, are bounded; what a limit refuses is counted and logged."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from grpc_calls import grpc_client
from running import Peer, Running, ask, body_of, loaded, project, request, serving, started
from tests.serving.plain_client import ask as infer

from headway.serving.http import connection as http_connection
from headway.serving.http.connection import ConnectionLimits
from headway.serving.http.listener import allow_files, usable_files
from headway.serving.http.routes import HttpInference

INFER, READY = request(body=body_of([1, 2, 6])), request("/v2/health/ready")
LARGE = 100_000


def refused(server: Running, limit: str) -> int:
    return server.plane.metrics.overloads[limit]


def opened(server: Running, stack: ExitStack, count: int) -> list[Peer]:
    """Return connections that the server has accepted, one after another."""
    overloads, peers = server.plane.metrics.overloads, list[Peer]()
    for _ in range(count):
        before = sum(overloads.values())
        peers.append(stack.enter_context(Peer(server)))
        port = peers[-1].socket.getsockname()[1]
        server.wait_until(lambda at=port, n=before: server.connections_from(at) or sum(overloads.values()) > n)
        with contextlib.suppress(ConnectionError):
            peers[-1].send_bytes(READY)
    return peers


def test_a_connection_beyond_the_limit_gets_503_and_is_counted_and_logged_once(caplog):
    with serving(loaded(), limits=ConnectionLimits(connections=3)) as server, ExitStack() as stack:
        first = opened(server, stack, 3)
        assert [peer.read_answer().status for peer in first] == [200] * 3
        for _ in range(2):
            with Peer(server) as peer:
                answer = peer.read_answer()
                assert (answer.status, answer.headers["Retry-After"], answer.headers["Connection"]) == (
                    503,
                    "1",
                    "close",
                )
                assert answer.json == {"error": "3 connections are open; retry later"}
                server.later(1)
                assert peer.closed()
        assert [peer.send_bytes(INFER).read_answer().values for peer in first] == [[3.0]] * 3
        assert refused(server, "max_connections") == 2
    assert caplog.text.count("3 connections are open") == 1


def test_a_connection_is_accepted_again_once_another_has_ended():
    with serving(loaded(), limits=ConnectionLimits(connections=1)) as server:
        for _ in range(5):
            with Peer(server) as peer:
                assert peer.send_bytes(INFER).read_answer().status == 200
            while server.listener._state.connections:
                server.turn()


@pytest.mark.slow
def test_many_connections_beyond_the_limit_are_closed_without_an_answer():
    with serving(loaded(), limits=ConnectionLimits(connections=1)) as server, ExitStack() as stack:
        server.stop_clock()  # a check disconnects refused clients, and the next ones get an answer
        opened(server, stack, 66)
        with Peer(server) as peer, pytest.raises((AssertionError, ConnectionError)):
            peer.read_answer()
        assert refused(server, "max_connections") == 66


def test_a_refused_client_that_stays_is_disconnected_at_the_next_check():
    with serving(loaded(), limits=ConnectionLimits(connections=1)) as server, ExitStack() as stack:
        opened(server, stack, 3)
        server.later(1)
        while len(server.listener._state.connections) > 1:
            server.turn()


def partial(size: int, sent: int) -> bytes:
    """Return the beginning of a request whose body is larger."""
    return request(method="POST", headers=[f"Content-Length: {size}"]) + b" " * sent


def held(server: Running) -> int:
    return server.listener._state.held_bytes


def test_bodies_beyond_the_limit_get_503_and_small_ones_are_still_answered(caplog):
    limits = ConnectionLimits(body_bytes=2 * LARGE, held_bytes=3 * LARGE)
    with serving(loaded(), limits=limits) as server, ExitStack() as stack:
        peers = opened(server, stack, 3)
        assert [peer.read_answer().status for peer in peers] == [200] * 3
        for number, peer in enumerate(peers[:2], 1):
            peer.send_bytes(partial(2 * LARGE, LARGE))
            server.wait_until(lambda number=number: held(server) == number * LARGE)
        answer = peers[2].send_bytes(partial(2 * LARGE, LARGE + 1)).read_answer()
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert ask(server, "/v2/models/flights/infer", body_of([1, 2, 6])).values == [3.0]
        assert refused(server, "max_bodies_mb") == 1
        peers[0].socket.close()
        peers[0]._stream.close()
        while held(server) > LARGE:
            server.turn()
        with Peer(server) as peer:
            assert peer.send_bytes(request(body=b" " * LARGE)).read_answer().status == 400
        assert held(server) == LARGE
    assert caplog.text.count("the bodies of open requests have more than") == 1


def test_what_is_held_is_released_however_a_request_ends():
    limits = ConnectionLimits(body_bytes=LARGE, held_bytes=LARGE)
    with serving(loaded(), limits=limits) as server:
        ends = (
            request(body=b" " * LARGE),  # answered
            request(body=b" " * (LARGE + 1)),  # too large
            partial(LARGE, 50_000) + b" " * 50_000 + b"nonsense\r\n\r\n",  # followed by bytes that are not HTTP
            request(method="POST", headers=["Transfer-Encoding: chunked"])
            + b"8000\r\n"
            + b" " * 0x8000
            + b"\r\nzz\r\n",
            INFER * 3 + request(body=b" " * 20_000) * 3,
        )
        for data in ends:
            with Peer(server) as peer:
                peer.send_bytes(data).read_answer()
            while server.listener._state.connections:
                server.turn()
            assert held(server) == 0


def test_a_request_is_accepted_alone_if_one_body_may_be_larger_than_all_together():
    with serving(loaded(), limits=ConnectionLimits(body_bytes=LARGE, held_bytes=10)) as server:
        assert ask(server, "/v2/models/flights/infer", body_of([1, 2, 6]) + b" " * (LARGE - 1000)).values == [3.0]


def test_an_idle_connection_holds_no_body():
    with serving(loaded()) as server, Peer(server) as peer:
        assert peer.send_bytes(request(body=body_of([1, 2, 6]) + b" " * LARGE)).read_answer().values == [3.0]
        (connection,) = server.listener._state.connections
        assert server.within(lambda: connection._body) == b"" and held(server) == 0


@pytest.mark.slow
def test_pipelined_requests_beyond_a_few_hundred_are_read_once_earlier_ones_are_answered(monkeypatch):
    monkeypatch.setattr(http_connection, "_TURN_S", 60.0)
    with serving(loaded()) as server, Peer(server) as peer:
        waiting: list[HttpInference] = []
        server.within(lambda: setattr(server.plane, "submit", lambda model, call: waiting.append(call)))
        peer.send_bytes(INFER + READY * 5_000)
        while not waiting:
            server.turn()
        (connection,) = server.listener._state.connections
        while not connection._paused:
            server.turn()
        assert 128 < len(connection._waiting) < 600  # what came with them and is not read yet depends on the network
        server.within(lambda: waiting[0].answer(server.plane.find("flights"), [3.0]))
        assert peer.read_answer().values == [3.0]
        assert [peer.read_answer().status for _ in range(5_000)] == [200] * 5_000


@pytest.mark.parametrize("head", [READY, READY.replace(b"\r\n\r\n", b"\r\ntraceparent: none\r\n\r\n")])
def test_a_connection_that_pauses_after_each_request_answers_all_in_order_and_closes(monkeypatch, head):
    monkeypatch.setattr(http_connection, "_TURN_S", -1.0)
    last = READY.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with serving(loaded()) as server, Peer(server) as peer:
        peer.send_bytes(head * 20 + INFER + head * 20 + last)
        answers = [peer.read_answer() for _ in range(42)]
        assert [answer.json.get("ready") for answer in answers] == [True] * 20 + [None] + [True] * 21
        assert answers[20].values == [3.0] and peer.closed()


def test_bytes_that_arrive_during_a_pause_are_read_after_it():
    with serving(loaded()) as server, Peer(server) as peer:
        assert peer.send_bytes(READY).read_answer().status == 200
        (connection,) = server.listener._state.connections
        server.within(connection._pause)
        server.within(lambda: connection.data_received(INFER[:50]))
        server.within(lambda: connection.data_received(INFER[50:]))
        server.within(connection._resume)
        assert peer.read_answer().values == [3.0]


@pytest.mark.slow
def test_responses_that_a_client_does_not_read_are_not_computed_ahead():
    with serving(loaded()) as server, Peer(server, buffer_bytes=65_536) as peer:
        connection = server.wait_for(peer.send_bytes(request("/openapi.json") * 5_000))
        server.wait_until(lambda: connection._blocked)
        assert server.within(connection._transport.get_write_buffer_size) < 16_000_000
        assert sum(peer.read_answer().status == 200 for _ in range(5_000)) == 5_000


@pytest.mark.slow
def test_the_limit_of_open_files_is_respected_logged_and_counted(caplog):
    with serving(loaded()) as server, ExitStack() as stack:
        server.stop_clock()
        state = server.listener._state
        peers = opened(server, stack, 2)
        assert peers[0].read_answer().status == 200
        state.max_file = 0
        with Peer(server) as peer, pytest.raises((AssertionError, ConnectionError)):
            peer.read_answer()
        gc.collect()
        # Holes below would be filled first, so that the next connection would be far from the limit.
        for _ in range(64):
            held = os.dup(0)
            stack.callback(os.close, held)
        state.max_file = held + 1
        with Peer(server) as peer:
            assert "ulimit -n" in peer.read_answer().json["error"]
        assert refused(server, "open_files") == 2
    assert caplog.text.count("hardly any more files") == 1


def test_that_no_file_can_be_opened_is_logged_and_counted(monkeypatch, caplog):
    def full(_: int) -> int:
        raise OSError(24, "Too many open files")

    with serving(loaded()) as server:
        server.stop_clock()
        monkeypatch.setattr(os, "dup", full)
        for seconds in range(3):
            server.later(seconds)
        monkeypatch.undo()
        assert refused(server, "open_files") == 3
    assert caplog.text.count("no file can be opened: Too many open files (ulimit -n)") == 1


def test_a_socket_that_is_closed_at_shutdown_is_not_a_full_table_of_files(monkeypatch, caplog):
    with serving(loaded()) as server:
        server.stop_clock()
        closed = os.dup(0)
        os.close(closed)
        monkeypatch.setattr(server.listener, "_probed", closed)
        server.later(1)
        assert refused(server, "open_files") == 0
    assert "no file can be opened" not in caplog.text


def test_a_worker_asks_for_as_many_files_as_it_needs_and_the_system_allows(monkeypatch):
    made = []
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: made.append(limits))
    endless = resource.RLIM_INFINITY
    for soft, hard in ((256, 1024), (256, endless), (256, 512), (2048, 4096), (endless, endless)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, found=(soft, hard): found)
        allow_files(1024)
        assert usable_files() > 4096 if soft == endless else usable_files() == soft - 32
    assert made == [(1024, 1024), (1024, endless), (512, 512)]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Return a server process that may open 96 files."""
    project(tmp_path)
    with (tmp_path / "headway.toml").open("a") as file:
        file.write("workers = 1\n")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (96, 96)); "
    process = started(tmp_path, "flights@live", first=limit)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_a_server_with_a_small_ulimit_answers_on_and_reports_what_it_refused(small):
    line = small.stdout.readline()
    assert line, small.communicate()[1]
    port = int(line.split()[2].rpartition(":")[2])
    statuses = Counter()
    with ExitStack() as stack:
        for _ in range(90):
            peer = stack.enter_context(Peer(SimpleNamespace(port=port)))
            with contextlib.suppress(OSError, AssertionError):
                statuses[peer.send_bytes(READY).read_answer().status] += 1
        assert statuses[200] > 5 and statuses[503] > 0
    ends = time.monotonic() + 20
    answered = []
    while answered != [3.0]:  # the server may not have seen yet that they are closed
        assert time.monotonic() < ends
        with contextlib.suppress(ConnectionError, KeyError):
            answered = [infer(port, [1, 2, 6]).value]
    small.terminate()
    output = small.communicate(timeout=20)[1]
    assert "(ulimit -n); refused since the last such line: 1" in output and "Traceback" not in output


def columns_message(rows: int) -> dict[str, object]:
    """Return the fields of an infer request in raw values."""
    inputs = [{"name": name, "datatype": "FP64", "shape": [rows]} for name in "abc"]
    return {"model_name": "flights", "inputs": inputs, "raw_input_contents": [bytes(8 * rows)] * 3}


def test_grpc_messages_beyond_the_limit_are_unavailable_and_counted():
    with serving(loaded()) as server, ExitStack() as stack:
        context = replace(server.inside, body_bytes=200_000, held_bytes=200_000)
        call = stack.enter_context(grpc_client(server, context=context))
        pool = stack.enter_context(ThreadPoolExecutor(2))
        free = stop_loop(server)
        calls = [pool.submit(call, "ModelInfer", **columns_message(6_000)) for _ in range(2)]
        (first,), (second,) = wait(calls, timeout=60, return_when=FIRST_COMPLETED)
        error = first.exception()
        assert error.code() is grpc.StatusCode.UNAVAILABLE and "too many large requests" in error.details()
        assert len(call("ServerMetadata").name) > 0  # small ones are answered
        free.set()
        assert second.result(60).outputs
        server.turn()
        assert refused(server, "max_bodies_mb") == 1 == server.plane.metrics.errors[503]
        assert call("ModelInfer", **columns_message(6_000)).outputs


def stop_loop(server: Running) -> threading.Event:
    """Stop the loop of a server until the event is set."""
    stopped, free = threading.Event(), threading.Event()
    server.loop.call_soon_threadsafe(lambda: (stopped.set(), free.wait(60)))
    assert stopped.wait(60)
    return free


def test_grpc_accepts_no_more_connections_than_the_limit():
    with serving(loaded()) as server, grpc_client(server, context=replace(server.inside, max_connections=1)) as call:
        assert call("ServerLive").live
        address = call.address
        with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as other:
            with pytest.raises(grpc.RpcError) as error:
                other.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=5)
            assert error.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        assert call("ServerLive").live
