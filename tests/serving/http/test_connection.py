"""HTTP/1.1 on raw sockets: order, framing, limits, and clients that misbehave."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import Peer, Running, ask, body_of, loaded, request, serving

from headway.serving.http import connection as http_connection
from headway.serving.http.connection import SMALL_BODY_BYTES, ConnectionLimits
from headway.serving.protocol.endpoints import ROUTES

INFER = request(body=body_of([1, 2, 6]))
READY = request("/v2/health/ready")
NAMES = dict.fromkeys(("name", "version", "view", "key"), "flights")
BOUNDED = [route for route in ROUTES if route.max_body_bytes < ConnectionLimits().body_bytes]


def chunked(body: bytes, *sizes: int, trailer: bytes = b"") -> bytes:
    """Return a request with a body in chunks of these sizes, the last one taking the rest."""
    head = request(method="POST", headers=["Transfer-Encoding: chunked"])
    chunks, start = [], 0
    for size in (*sizes, len(body)):
        part = body[start : start + size]
        chunks += [b"%x;x=1\r\n%b\r\n" % (len(part), part)] if part else []
        start += size
    return head + b"".join(chunks) + b"0\r\n" + trailer + b"\r\n"


def test_a_connection_persists_between_requests(server):
    with Peer(server) as peer:
        assert [peer.send_bytes(INFER).read_answer().values for _ in range(3)] == [[3.0]] * 3


def test_pipelined_requests_are_answered_in_order(server):
    wrong = request(body=b"{}")
    with Peer(server) as peer:
        peer.send_bytes(INFER + READY + wrong + INFER + request("/nowhere") + INFER)
        assert [peer.read_answer().status for _ in range(6)] == [200, 200, 400, 200, 404, 200]


@pytest.mark.slow
@given(st.lists(st.integers(1, len(INFER * 2) - 1), max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_request_may_be_split_over_packets_anywhere(server, cuts):
    data, starts = INFER * 2, sorted({0, *cuts})
    with Peer(server) as peer:
        for start, end in zip(starts, [*starts[1:], None], strict=True):
            peer.send_bytes(data[start:end])
            server.turn()
        assert [peer.read_answer().values for _ in range(2)] == [[3.0], [3.0]]


def test_a_request_may_arrive_byte_by_byte(server):
    with Peer(server) as peer:
        for position in range(len(INFER)):
            peer.send_bytes(INFER[position : position + 1])
            server.turn()
        assert peer.read_answer().values == [3.0]


@given(st.lists(st.integers(1, 60), max_size=8))
@settings(max_examples=40, deadline=None)
def test_a_body_may_be_chunked(server, sizes):
    with Peer(server) as peer:
        peer.send_bytes(
            chunked(body_of([1, 2, 6]), *sizes) + chunked(body_of([3, 3, 3]), *sizes, trailer=b"Host: x\r\n")
        )
        assert [peer.read_answer().values for _ in range(2)] == [[3.0], [3.0]]


@pytest.mark.parametrize("one_packet", [True, False])
def test_a_large_body_may_arrive_in_many_packets(server, one_packet):
    rows = [[number, number, number] for number in range(20_000)]
    data = request(body=body_of(*rows))
    with Peer(server) as peer:
        for start in range(0, len(data), len(data) if one_packet else 5_000):
            peer.send_bytes(data[start : start + (len(data) if one_packet else 5_000)])
        assert peer.read_answer().values == [float(number) for number in range(20_000)]


@pytest.mark.slow
def test_more_requests_than_a_packet_holds_may_be_pipelined(server):
    with Peer(server) as peer:
        peer.send_bytes(READY * 20_000)
        assert sum(peer.read_answer().status == 200 for _ in range(20_000)) == 20_000


def test_a_client_that_expects_100_continue_gets_it(server):
    head, body = request(body=body_of([1, 2, 6]), headers=["Expect: 100-continue"]).split(b"\r\n\r\n")
    with Peer(server) as peer:
        assert peer.send_bytes(head + b"\r\n\r\n").read_answer().status == 100
        assert peer.send_bytes(body).read_answer().values == [3.0]


def test_a_client_with_a_chunked_body_that_expects_100_continue_gets_it(server):
    head = request(method="POST", headers=["Transfer-Encoding: chunked", "Expect: 100-continue"])
    with Peer(server) as peer:
        assert peer.send_bytes(head).read_answer().status == 100
        assert peer.send_bytes(chunked(body_of([1, 2, 6])).partition(b"\r\n\r\n")[2]).read_answer().values == [3.0]


@pytest.mark.parametrize(("coding", "status"), [("gzip", 415), ("identity", 200), ("Identity", 200)])
def test_an_encoded_body_is_refused(server, coding, status):
    answer = ask(server, "/v2/models/flights/infer", body_of([1, 2, 6]), headers=[f"Content-Encoding: {coding}"])
    assert answer.status == status


def test_a_100_continue_follows_the_responses_to_earlier_requests(server):
    head, body = request(body=body_of([1, 2, 6]), headers=["Expect: 100-continue"]).split(b"\r\n\r\n")
    with Peer(server) as peer:
        peer.send_bytes(INFER + head + b"\r\n\r\n")
        assert [peer.read_answer().status for _ in range(2)] == [200, 100]
        assert peer.send_bytes(body).read_answer().status == 200


def test_a_client_that_does_not_wait_for_100_continue_is_answered_once(server):
    with Peer(server) as peer:
        peer.send_bytes(INFER + request(body=body_of([1, 2, 6]), headers=["Expect: 100-continue"]) + READY)
        statuses = [peer.read_answer().status for _ in range(3)]
        assert statuses in ([200, 200, 200], [200, 100, 200])  # 100 only if the head came alone


def test_an_unknown_expectation_is_refused(server):
    assert ask(server, "/v2", b"x", headers=["Expect: 200-ok"]).status == 417


def test_a_body_declared_too_large_is_refused_before_it_arrives():
    with serving(loaded(), limits=ConnectionLimits(body_bytes=100)) as server:
        head = request(method="POST", headers=["Content-Length: 101"])
        with Peer(server) as peer:
            answer = peer.send_bytes(head).read_answer()
            assert (answer.status, answer.json) == (413, {"error": "the body has more than 100 bytes"})
            assert answer.headers["Connection"] == "close" and peer.closed()
        with Peer(server) as peer:
            assert (
                peer.send_bytes(head.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")).read_answer().status
                == 413
            )


@pytest.mark.parametrize("kind", ["declared", "expected", "chunked"])
@pytest.mark.parametrize("route", BOUNDED, ids=lambda route: f"{route.method} {route.path}")
def test_a_body_over_the_limit_of_its_route_is_refused_before_the_rest_of_it_is_sent(server, route, kind):
    limit = route.max_body_bytes
    headers = {
        "declared": [f"Content-Length: {limit + 1}"],
        "expected": [f"Content-Length: {limit + 1}", "Expect: 100-continue"],
        "chunked": ["Transfer-Encoding: chunked"],
    }
    begun = b"%x\r\n%b" % (8 * limit, bytes(limit + 1)) if kind == "chunked" else b""
    with Peer(server) as peer:
        peer.send_bytes(request(route.path.format_map(NAMES), method=route.method, headers=headers[kind]) + begun)
        answer = peer.read_answer()
    assert (answer.status, answer.json) == (413, {"error": f"the body has more than {limit} bytes"})


def test_a_body_at_the_limit_of_its_route_is_read(server):
    for route in BOUNDED:
        body = bytes(route.max_body_bytes)
        assert ask(server, route.path.format_map(NAMES), body, method=route.method).status != 413


def test_no_route_refuses_a_small_body():
    assert min(route.max_body_bytes for route in ROUTES) >= SMALL_BODY_BYTES


def test_a_body_that_grows_too_large_is_refused():
    with serving(loaded(), limits=ConnectionLimits(body_bytes=100)) as server, Peer(server) as peer:
        assert peer.send_bytes(chunked(b"x" * 101, 60)).read_answer().status == 413
    with serving(loaded(), limits=ConnectionLimits(body_bytes=100)) as server, Peer(server) as peer:
        assert peer.send_bytes(request(body=b"x" * 101)).read_answer().status == 413


def test_a_client_that_is_still_sending_can_read_the_refusal():
    with serving(loaded(), limits=ConnectionLimits(body_bytes=100)) as server, Peer(server) as peer:
        peer.send_bytes(request(method="POST", headers=[f"Content-Length: {1 << 22}"]))
        peer.send_bytes(b"x" * (1 << 22))
        assert peer.read_answer().status == 413


@pytest.mark.parametrize("kind", ["length", "chunked", "pipelined"])
def test_a_client_that_reads_only_after_sending_far_too_much_gets_the_refusal_though_its_turn_ended(monkeypatch, kind):
    monkeypatch.setattr(http_connection, "_TURN_S", -1.0)  # every turn ends, as that of a long body does
    far_too_much = 1 << 24
    head = request(method="POST", headers=[f"Content-Length: {far_too_much}"])
    sent = {
        "length": head + bytes(far_too_much),
        "chunked": chunked(bytes(far_too_much), *[1 << 16] * 256),
        "pipelined": INFER + head + bytes(far_too_much) + INFER,
    }
    with serving(loaded(), limits=ConnectionLimits(body_bytes=100_000)) as server, Peer(server) as peer:
        server.stop_clock()  # so no time limit ends the connection
        peer.send_bytes(sent[kind])
        statuses = [peer.read_answer().status for _ in range(2 if kind == "pipelined" else 1)]
        assert statuses == [200, 413][-len(statuses) :]
        assert peer.closed()


def test_a_slow_sender_gets_the_refusal_before_it_sends_the_rest(server):
    with Peer(server) as peer:
        head = request(method="POST", headers=[f"Content-Length: {1 << 40}"])
        for byte in head:
            peer.send_bytes(bytes([byte]))
        assert peer.read_answer().status == 413
        peer.send_bytes(b"x" * 1_000)
        assert peer.closed()


@pytest.mark.parametrize(
    "data",
    [
        b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nA: " + b"x" * 40_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 20_000,
        b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nA: " + b"x" * 40_000,
        chunked(b"{}", trailer=b"A: " + b"x" * 40_000),
    ],
    ids=["one header", "target", "many headers", "no end", "trailer"],
)
def test_headers_past_the_limit_are_refused(server, data):
    with Peer(server) as peer:
        for start in range(0, len(data), 4096):
            peer.send_bytes(data[start : start + 4096])
        assert peer.read_answer().status in (400, 431)


def test_a_head_past_the_limit_in_one_packet_is_refused():
    with serving(loaded(), limits=ConnectionLimits(head_bytes=64)) as server:
        assert ask(server, "/v2", headers=["A: " + "x" * 100]).status == 431


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"nonsense\r\n\r\n",
        b"GET /v2 HTTP/1.1\nHost: localhost\n\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /v2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\n\r\n",
        b"GET /v2 HTTP/1.0\r\n\r\n",
        request("/v2", b"{}", headers=["Connection: Upgrade", "Upgrade: h2c"]),
        b"GET /v2\r\nHost: localhost\r\n\r\n",
        b"GET /v2 HTTP/0.9\r\nHost: localhost\r\n\r\n",
        b"GET /v2 HTTP/2.0\r\nHost: localhost\r\n\r\n",
        b" GET /v2 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_malformed_http_gets_400_and_closes_the_connection(server, data):
    with Peer(server) as peer:
        answer = peer.send_bytes(data).read_answer()
        assert answer.status == 400 and answer.json["error"]
        assert peer.closed()


def test_requests_before_a_malformed_one_are_answered_first(server):
    with Peer(server) as peer:
        peer.send_bytes(INFER + b"nonsense\r\n\r\n" + INFER)
        assert [peer.read_answer().status for _ in range(2)] == [200, 400]
        assert peer.closed()


def test_a_tunnel_is_not_opened(server):
    with Peer(server) as peer:
        tunnel = b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost:1\r\n\r\n"
        assert peer.send_bytes(tunnel + INFER).read_answer().status == 404
        assert peer.closed()
    with Peer(server) as peer:
        peer.send_bytes(INFER + tunnel + INFER)
        assert [peer.read_answer().status for _ in range(2)] == [200, 404]
        assert peer.closed()


def test_an_optional_upgrade_header_is_ignored(server):
    assert ask(server, "/v2/models/flights/infer", body_of([1, 2, 6]), headers=["Upgrade: h2c"]).values == [3.0]


def test_a_connection_close_request_is_answered_and_closed(server):
    with Peer(server) as peer:
        answer = peer.send_bytes(request(body=body_of([1, 2, 6]), headers=["Connection: close"]) + INFER).read_answer()
        assert answer.values == [3.0] and answer.headers["Connection"] == "close"
        assert peer.closed()


def test_http_1_0_is_answered_and_closed(server):
    with Peer(server) as peer:
        assert peer.send_bytes(b"GET /v2 HTTP/1.0\r\nHost: localhost\r\n\r\n").read_answer().status == 200
        assert peer.closed()


def test_head_is_answered_as_get_without_the_body(server):
    with Peer(server) as peer:
        answer = peer.send_bytes(request("/v2", method="HEAD")).read_answer(body=False)
        assert answer.status == 200 and int(answer.headers["Content-Length"]) > 0
        assert peer.send_bytes(READY).read_answer().status == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1", "[::1]", "[::1]:8080"])
def test_loopback_names_are_answered(server, host):
    assert ask(server, "/v2", headers=[f"Host: {host}"]).status == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example", "10.0.0.1"])
def test_dns_rebinding_is_refused(server, host):
    assert ask(server, "/v2", headers=[f"Host: {host}"]).status == 421


def test_beyond_loopback_any_host_is_accepted():
    with serving(loaded(), host="0.0.0.0") as server:
        assert ask(server, "/v2", headers=["Host: model.example"]).status == 200
        with Peer(server) as peer:
            assert peer.send_bytes(b"GET /v2 HTTP/1.0\r\n\r\n").read_answer().status == 200
        with Peer(server) as peer:
            assert peer.send_bytes(b"GET /v2 HTTP/1.1\r\n\r\n").read_answer().status == 400


def test_responses_have_a_date(server):
    date = ask(server, "/v2").headers["Date"]
    assert abs(time.mktime(time.strptime(date, "%a, %d %b %Y %H:%M:%S GMT")) - time.mktime(time.gmtime())) < 60


@pytest.mark.slow
def test_an_incomplete_request_ends_with_408():
    with serving(loaded(), limits=ConnectionLimits(request_s=0.1)) as server:
        for part in (INFER[:20], INFER[:-5]):
            with Peer(server) as peer:
                assert peer.send_bytes(part).read_answer().status == 408
                assert peer.closed()


def test_an_idle_connection_is_closed():
    with serving(loaded()) as server, Peer(server) as peer:
        server.stop_clock()
        assert peer.send_bytes(INFER).read_answer().status == 200
        server.later(74)
        assert peer.send_bytes(INFER).read_answer().status == 200
        server.later(74 + 76)
        assert peer.closed()


def test_a_client_that_keeps_sending_after_a_refusal_is_disconnected():
    with serving(loaded()) as server, Peer(server) as peer:
        server.stop_clock()
        assert peer.send_bytes(b"nonsense\r\n\r\n").read_answer().status == 400
        peer.send_bytes(b"x" * 1000)
        server.later(21)
        with pytest.raises(OSError):
            for _ in range(1_000_000):
                peer.send_bytes(b"x" * 1000)


def unread_bytes(server: Running) -> object:
    """Return how many bytes of responses the server's only connection holds."""
    (connection,) = server.listener._state.connections
    return server.within(connection._transport.get_write_buffer_size)


N_CHOKED = 2_500
"""Requests whose responses, 19 MB, are more than the buffers between server and client hold."""


@pytest.fixture
def choked() -> Iterator[tuple[Running, Peer]]:
    """Return a server whose client has sent so many requests, and has read none of the responses."""
    with serving(loaded()) as server, Peer(server, buffer_bytes=65_536) as peer:
        server.stop_clock()
        peer.send_bytes(request("/metrics") * N_CHOKED)
        wait_until_blocked(server)
        yield server, peer


def wait_until_blocked(server: Running) -> None:
    """Wait until the server has written as much to its only client as that takes without reading."""
    connections = server.listener._state.connections
    server.wait_until(lambda: any(client._blocked and not client._turn_due for client in connections))


@pytest.mark.slow
def test_a_client_that_reads_late_gets_every_response(choked):
    _, peer = choked
    assert sum(peer.read_answer().status == 200 for _ in range(N_CHOKED)) == N_CHOKED


@pytest.mark.slow
def test_a_client_that_does_not_read_is_throttled_then_disconnected(choked):
    server, peer = choked
    server.later(19)
    assert peer.read_answer().status == 200
    wait_until_blocked(server)
    seconds = 19
    while server.listener._state.connections:  # until the buffers between both take no more of what is written
        seconds += 21
        server.later(seconds)
    with pytest.raises((ConnectionError, AssertionError)):
        [peer.read_answer() for _ in range(N_CHOKED)]


@pytest.mark.slow
def test_a_client_that_reads_slowly_is_not_disconnected(choked):
    server, peer = choked
    n_answered = 0
    for seconds in range(15, 75, 15):
        before = unread_bytes(server)
        while unread_bytes(server) == before:
            n_answered += peer.read_answer().status == 200
        wait_until_blocked(server)
        server.later(seconds)
    assert n_answered + sum(peer.read_answer().status == 200 for _ in range(N_CHOKED - n_answered)) == N_CHOKED


def test_a_half_closed_client_still_gets_its_responses(server):
    with Peer(server) as peer:
        peer.send_bytes(INFER + INFER).socket.shutdown(socket.SHUT_WR)
        assert [peer.read_answer().values for _ in range(2)] == [[3.0], [3.0]]
        assert peer.closed()


@pytest.mark.slow
def test_a_client_that_disconnects_early_does_not_affect_others(server):
    rng = random.Random(1)
    with Peer(server) as open_peer:
        for _ in range(200):
            with Peer(server) as leaves:
                leaves.send_bytes((INFER * 3)[: rng.randrange(len(INFER) * 3)])
            assert open_peer.send_bytes(INFER).read_answer().values == [3.0]


@pytest.mark.slow
def test_thousands_of_interleaved_requests_are_never_mixed_up(server):
    rng = random.Random(2)
    peers = [Peer(server) for _ in range(40)]
    waiting: list[list[float]] = [[] for _ in peers]
    for number in range(5_000):
        at = rng.randrange(len(peers))
        peers[at].send_bytes(request(body=body_of([number, number, number], id=str(number))))
        waiting[at].append(float(number))
        if len(waiting[at]) > 20 or number > 4_900:
            answers = [peers[at].read_answer() for _ in waiting[at]]
            assert [answer.values[0] for answer in answers] == waiting[at]
            assert [float(answer.json["id"]) for answer in answers] == waiting[at]
            waiting[at] = []
    for peer, expected in zip(peers, waiting, strict=True):
        assert [peer.read_answer().values[0] for _ in expected] == expected
        peer.__exit__()


def test_a_defect_of_the_server_is_a_500_for_one_caller_only(server, monkeypatch, caplog):
    monkeypatch.setattr(server.plane.metrics, "text", lambda versions: 1 / 0)
    with Peer(server) as peer:
        peer.send_bytes(request("/metrics") + INFER)
        assert [peer.read_answer().status for _ in range(2)] == [500, 200]
    assert "ZeroDivisionError" in caplog.text
