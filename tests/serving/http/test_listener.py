"""Listening and draining."""

from __future__ import annotations

import asyncio
import socket

from running import Peer, Running, body_of, loaded, request, serving

from headway.serving.http.routes import HttpInference

INFER = request(body=body_of([1, 2, 6]))
READY = request("/v2/health/ready")


def draining(server: Running, within_s: float = 5) -> asyncio.Future[None]:
    """Start to drain a server; returns the future of its end."""
    future = asyncio.run_coroutine_threadsafe(server.listener.drain(within_s), server.loop)
    server.wait_until(lambda: server.listener.draining)
    return future


def send_begun(server: Running, peer: Peer, data: bytes) -> None:
    """Send the beginning of a request, and wait until the server has read something of it."""
    connection = server.wait_for(peer.send_bytes(data))
    server.wait_until(lambda: connection._reading)


def test_a_draining_server_is_not_ready_and_closes():
    with serving(loaded()) as server, Peer(server) as peer:
        send_begun(server, peer, READY[:10])
        drained = draining(server)
        answer = peer.send_bytes(READY[10:]).read_answer()
        assert (answer.status, answer.json, answer.headers["Connection"]) == (503, {"ready": False}, "close")
        drained.result(60)


def test_a_server_that_leaves_still_answers_new_connections_and_closes_each():
    with serving(loaded()) as server, Peer(server) as kept:
        assert "Connection" not in kept.send_bytes(INFER).read_answer().headers
        server.within(server.listener.begin_shutdown)
        with Peer(server) as new, Peer(server) as probe:
            for peer in (kept, new):
                answer = peer.send_bytes(INFER).read_answer()
                assert (answer.values, answer.headers["Connection"]) == ([3.0], "close")
                assert peer.closed()
            assert probe.send_bytes(READY).read_answer().status == 503


def test_pipelined_requests_are_answered_before_shutdown():
    with serving(loaded()) as server, Peer(server) as peer:
        waiting: list[HttpInference] = []
        server.within(lambda: setattr(server.plane, "submit", lambda model, call: waiting.append(call)))
        connection = server.wait_for(peer.send_bytes(INFER * 50 + INFER[:-1]))
        server.wait_until(lambda: len(waiting) == 50 and connection._reading)
        drained = draining(server)
        peer.send_bytes(INFER[-1:])
        server.wait_until(lambda: len(waiting) == 51)
        server.within(lambda: [call.answer(server.plane.find("flights"), [3.0]) for call in waiting])
        assert [peer.read_answer().values for _ in range(51)] == [[3.0]] * 51
        assert peer.closed()
        drained.result(60)


def test_idle_connections_are_closed_at_once():
    with serving(loaded()) as server, Peer(server) as peer:
        assert peer.send_bytes(INFER).read_answer().status == 200
        draining(server).result(60)
        assert peer.closed()


def test_connections_that_exceed_the_drain_time_are_aborted():
    with serving(loaded()) as server, Peer(server) as peer:
        send_begun(server, peer, INFER[:-1])
        draining(server, within_s=0.05).result(60)
        assert peer.closed()


def test_ipv6_loopback_is_served_as_loopback():
    with serving(loaded(), host="::1") as server:
        assert server.address.startswith("http://[::1]:")
        with socket.create_connection(("::1", server.port), timeout=10) as client:
            client.sendall(request("/v2", headers=["Host: evil.example"]))
            assert client.recv(100).startswith(b"HTTP/1.1 421")
