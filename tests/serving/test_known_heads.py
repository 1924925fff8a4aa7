"""A head that was parsed before comes from the cache: it has the same meaning, and only its body changes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import Peer, Running, body_of, loaded, request, serving

ROWS = [[1, 2, 6], [2, 2, 8], [7, 7, 7]]  # bodies of one length, so that their heads are the same
INFER = [request(body=body_of(row)) for row in ROWS]
MEANS = [3.0, 4.0, 7.0]
READY = request("/v2/health/ready")


@pytest.fixture
def fresh() -> Iterator[Running]:
    """Start a server with an empty cache."""
    with serving(loaded()) as server:
        yield server


def known(server: Running) -> dict[bytes, object]:
    """Return the cached heads of a server."""
    return server.listener._state.known


def test_a_head_is_cached_once_and_each_request_has_its_own_body(fresh):
    with Peer(fresh) as peer:
        assert [peer.send_bytes(part).read_answer().values[0] for part in INFER * 3] == MEANS * 3
        assert peer.send_bytes(READY).read_answer().json == {"ready": True}
    assert list(known(fresh)) == [INFER[0].partition(b"{")[0], READY]


@pytest.mark.slow
@given(st.lists(st.integers(1, len(INFER[0]) * 4), max_size=8))
@settings(max_examples=60, deadline=None)
def test_cached_and_new_heads_may_be_mixed_and_split_over_packets_anywhere(server, cuts):
    other = request(body=body_of([9, 9, 9]), headers=["X-Cuts: " + "-".join(map(str, cuts))])
    data = INFER[0] + INFER[1] + other + INFER[2] + b"\r\n" + INFER[0]
    starts = sorted({0, *(cut for cut in cuts if cut < len(data))})
    with Peer(server) as peer:
        peer.send_bytes(INFER[0]).read_answer()
        for start, end in zip(starts, [*starts[1:], None], strict=True):
            peer.send_bytes(data[start:end])
            server.turn()
        assert [peer.read_answer().values for _ in range(5)] == [[3.0], [4.0], [9.0], [7.0], [3.0]]


@pytest.mark.slow
@pytest.mark.parametrize(
    "head",
    [
        request(body=body_of(ROWS[0]), headers=["Expect: 100-continue"]),
        request(body=body_of(ROWS[0]), headers=["Connection: close"]),
        request(body=body_of(ROWS[0]), headers=["X-Long: " + "x" * 2_048]),
        INFER[0] * 2,
        request(method="POST", headers=["Transfer-Encoding: chunked"]) + b"2\r\n{}\r\n0\r\n\r\n",
        request("/nowhere", headers=["Content-Length: 3", "Transfer-Encoding: chunked"]),
    ],
)
def test_a_head_with_state_is_not_cached(fresh, head):
    with Peer(fresh) as peer:
        peer.send_bytes(head).read_answer()
        fresh.turn()
    assert known(fresh) == {}


def test_a_cached_head_is_not_read_on_a_stopped_connection(fresh):
    with Peer(fresh) as peer:
        peer.send_bytes(INFER[0]).read_answer()
    with Peer(fresh) as peer:
        peer.send_bytes(request("/v2/health/ready", headers=["Connection: close"]) + INFER[0])
        assert peer.read_answer().status == 200 and peer.closed()
    with Peer(fresh) as peer:
        peer.send_bytes(INFER[0][:20])
        peer.send_bytes(b"".join([INFER[0][20:], *INFER]))
        assert [peer.read_answer().values[0] for _ in range(4)] == [3.0, *MEANS]


@pytest.mark.slow
def test_a_full_cache_of_heads_is_cleared(fresh):
    with Peer(fresh) as peer:
        for number in range(1_030):
            assert (
                peer.send_bytes(request("/v2/health/live", headers=[f"X-Number: {number}"])).read_answer().status == 200
            )
    assert len(known(fresh)) == 1_030 - 1_024
