"""Requests mangled at random: never a 5xx, never a crash, and others are answered all the while."""

from __future__ import annotations

import json
import random

import pytest
from running import Peer, Running, body_of, request

BINARY = json.dumps(
    {
        "inputs": [
            {"name": name, "shape": [1], "datatype": "FP64", "parameters": {"binary_data_size": 8}} for name in "abc"
        ],
        "parameters": {"binary_data_output": True},
    }
).encode()
SEEDS = (
    request(body=BINARY + bytes(24), headers=[f"Inference-Header-Content-Length: {len(BINARY)}"]),
    request("/invocations", b'{"dataframe_split": {"columns": ["a", "b", "c"], "data": [[1, 2, 6]]}}'),
    request("/v2/repository/index", b'{"ready": true}'),
    request(body=body_of([1, 2, 6], [None, 1, 1], id="x")),
    request("/v2/models/flights"),
    request(body=body_of([1, 2, 6])).replace(b"Content-Length", b"Transfer-Encoding: chunked\r\nX-Length"),
    request(method="POST", headers=["Transfer-Encoding: chunked"]) + b"2\r\n{}\r\n0\r\n\r\n",
    request(body=body_of([1, 2, 6]), headers=["Expect: 100-continue", "Connection: close"]),
)
WORDS = (
    b"null",
    b"NaN",
    b"1e999",
    b"\x00",
    b"\xff",
    b"[",
    b"{",
    b'"',
    b"-1",
    b"\r\n",
    b"\r\n\r\n",
    b"0",
    b"BYTES",
    b":",
)


def mangled(rng: random.Random) -> bytes:
    """A good request with up to six random edits."""
    data = bytearray(rng.choice(SEEDS))
    for _ in range(rng.randint(0, 6)):
        at, until = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
        edit = rng.randrange(5)
        if edit == 0:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif edit == 1:
            data[at:at] = rng.choice(WORDS)
        elif edit == 2:
            del data[at : min(until, at + 20)]
        elif edit == 3:
            data[at:at] = data[at : min(until, at + 50)]
        else:
            data[at : at + 4] = rng.choice(WORDS)
    return bytes(data)


def statuses(peer: Peer) -> list[int]:
    """The statuses of all that a server says to a client that has nothing more to say."""
    heard = b"".join(iter(lambda: peer.socket.recv(65536), b""))
    return [int(part[:3]) for part in heard.split(b"HTTP/1.1 ")[1:]]


def assault(server: Running, *, seed: int, count: int) -> set[int]:
    """The statuses that were answered to mangled requests; those before the last are cut off by the next."""
    rng, seen = random.Random(seed), set()
    good = request(body=body_of([1, 2, 6]))
    with Peer(server) as stays:
        for number in range(count):
            with Peer(server) as peer:
                peer.say(mangled(rng)).socket.shutdown(1)
                seen |= set(statuses(peer))
            if number % 50 == 0:
                assert stays.say(good).hear().values == [3.0]
    return seen


def test_mangled_requests_get_no_5xx(server):
    seen = assault(server, seed=7, count=1_000)
    assert {200, 400, 404} <= seen <= {100, 200, 400, 404, 405, 413, 417, 421, 422, 431}


@pytest.mark.slow
def test_five_thousand_more_mangled_requests_get_no_5xx(server):
    assert all(status < 500 for status in assault(server, seed=8, count=5_000))
