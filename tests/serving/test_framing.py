"""Requests whose body two parsers could end at different positions: all are refused."""

from __future__ import annotations

import pytest
from running import Peer, body_of, request

INFER = request(body=body_of([1, 2, 6]))
CHUNKED = "Transfer-Encoding: chunked"
EMPTY = "\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "rest",
    [
        f"Content-Length: 5\r\n{CHUNKED}\r\n{EMPTY}",
        f"{CHUNKED}\r\nContent-Length: 5\r\n{EMPTY}",
        "Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
        "Content-Length: 1, 1\r\n\r\na",
        "Content-Length: +1\r\n\r\na",
        "Content-Length: -1\r\n\r\na",
        "Content-Length: 0x1\r\n\r\na",
        "Content-Length: \r\n\r\na",
        "Content-Length : 1\r\n\r\na",
        f"Content-Length: {10**23}\r\n\r\na",
        f"Transfer-Encoding : chunked\r\n{EMPTY}",
        f"Transfer-Encoding: identity\r\n{EMPTY}",
        f"Transfer-Encoding: xchunked\r\n{EMPTY}",
        f"Transfer-Encoding: gzip, chunked\r\n{EMPTY}",
        f"Transfer-Encoding: gzip\r\n{CHUNKED}\r\n{EMPTY}",
        f"Transfer-Encoding: chunked, gzip\r\n{EMPTY}",
        f"{CHUNKED}\r\n{CHUNKED}\r\n{EMPTY}",
        f"Transfer-Encoding: \x0bchunked\r\n{EMPTY}",
        f'Transfer-Encoding: "chunked"\r\n{EMPTY}',
        f"Transfer-Encoding:\r\n chunked\r\n{EMPTY}",
        "A: b\r\n c\r\n\r\n",
        "A: b\nContent-Length: 1\r\n\r\na",
        "A: b\rContent-Length: 1\r\n\r\na",
        "A: b\x00c\r\n\r\n",
        "A b\r\n\r\n",
        ": b\r\n\r\n",
        f"{CHUNKED}\r\n\r\n1\na\r\n0\r\n\r\n",
        f"{CHUNKED}\r\n\r\n1;\na\r\n0\r\n\r\n",
        f"{CHUNKED}\r\n\r\n1\r\na\n0\r\n\r\n",
        f"{CHUNKED}\r\n\r\n1\r\naXX0\r\n\r\n",
        f"{CHUNKED}\r\n\r\n-1\r\na\r\n0\r\n\r\n",
        f"{CHUNKED}\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        f"{CHUNKED}\r\n\r\n1 \r\na\r\n0\r\n\r\n",
        f"{CHUNKED}\r\n\r\n{'F' * 17}\r\na\r\n0\r\n\r\n",
        f"{CHUNKED}\r\n\r\n1\r\na\r\n0\r\nContent-Length: 9\r\n\r\n",
    ],
)
def test_requests_with_ambiguous_framing_are_refused(server, rest):
    with Peer(server) as peer:
        peer.send_bytes(b"POST /v2 HTTP/1.1\r\nHost: localhost\r\n" + rest.encode() + INFER)
        assert peer.read_answer().status == 400
        assert peer.closed()


def test_a_chunked_body_is_refused_in_http_1_0(server):
    with Peer(server) as peer:
        peer.send_bytes(f"POST /v2 HTTP/1.0\r\nHost: localhost\r\n{CHUNKED}\r\n{EMPTY}".encode())
        assert peer.read_answer().status == 400
        assert peer.closed()
