"""Random requests, from a seed, that are malformed in HTTP, JSON or raw values.

Each is one or more requests as bytes. Some are valid, and may be answered.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from copy import deepcopy
from typing import Any

INFER = "/v2/models/numbers/infer"
_NUMBERS = [
    {"name": name, "shape": [1], "datatype": "FP64", "data": [value]}
    for name, value in zip("abc", (1, 2, 6), strict=True)
]
_TEXTS = [
    {"name": "size", "shape": [2], "datatype": "INT64", "data": [4, None]},
    {"name": "carrier", "shape": [2], "datatype": "BYTES", "data": ["WN", None]},
]
_FRAME = {"columns": ["a", "b", "c"], "data": [[1, 2, 6], [1, None, 1]]}
# Where a body goes, and a body that is right there.
BODIES: tuple[tuple[str, Any], ...] = (
    (INFER, {"id": "1", "inputs": _NUMBERS, "outputs": [{"name": "probability"}], "parameters": {"key": "k"}}),
    (INFER, {"inputs": [{"name": "rows", "shape": [2, 3], "datatype": "FP32", "data": [[1, 2, 6], [1, 1, 1]]}]}),
    ("/v2/models/texts/infer", {"inputs": _TEXTS}),
    ("/v2/models/numbers/labels", {"labels": [{"key": "k", "label": 1}]}),
    ("/invocations", {"dataframe_split": _FRAME, "params": {"key": "k"}}),
    ("/invocations", {"dataframe_records": [{"a": 1, "b": 2, "c": 6}]}),
    ("/invocations", {"instances": [[1, 2, 6]]}),
    ("/invocations", {"inputs": {"a": [1], "b": [2], "c": [6]}}),
    ("/v2/repository/index", {"ready": True}),
    ("/v2/repository/models/numbers/load", {"parameters": {"config": "{}"}}),
)
_DATATYPES = ("FP64", "FP32", "FP16", "BOOL", "INT8", "INT64", "UINT8", "UINT64", "BYTES", "BF16", "", "fp64")
_SIZES = (-1, 0, 1, 2, 3, 7, 2**31, 2**63 - 1, 2**63, 2**64, 10**30)
_NAMES = ("a", "b", "c", "size", "carrier", "rows", "", "\0", "é" * 40, "probability")
_WORDS = (
    b"null",
    b"NaN",
    b"1e999",
    b"\0",
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
_SCALARS = (None, True, False, 0, -1, 1.5, 1e308, 10**400, 2**64, "", "x", "NaN", "\ud800", "\0", "x" * 5_000, [], {})
_TARGETS = (
    "/",
    "*",
    "/v2",
    "/v2/models/",
    "/v2/models/%00",
    "/v2/models/%ff/infer",
    "/metrics?x=\0",
    "//",
    "/" + "a" * 9000,
)


def posted(path: str, body: bytes, *more: str) -> bytes:
    """Return a request with a body and its length."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", *more, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogatepass") + body


def good(rng: random.Random) -> tuple[bytes, float]:
    """Return a valid request, in JSON or raw, and its expected output."""
    row = [float(rng.randrange(1_000)) for _ in "abc"]
    inputs = [{"name": name, "shape": [1], "datatype": "FP64"} for name in "abc"]
    if rng.random() < 0.5:
        body = {"inputs": [{**tensor, "data": [value]} for tensor, value in zip(inputs, row, strict=True)]}
        return posted(INFER, json.dumps(body).encode()), sum(row) / 3
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": 8}} for tensor in inputs]}).encode()
    raw = struct.pack("<3d", *row)
    return posted(INFER, head + raw, f"Inference-Header-Content-Length: {len(head)}"), sum(row) / 3


def any_json(rng: random.Random, depth: int = 3) -> Any:
    """Return a random value, sometimes deeply nested."""
    kind = rng.random()
    if depth == 0 or kind < 0.6:
        return rng.choice(_SCALARS)
    if kind < 0.8:
        return [any_json(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {rng.choice((*_NAMES, "inputs", "data", "shape")): any_json(rng, depth - 1) for _ in range(rng.randrange(4))}


def _disturbed(rng: random.Random, node: Any) -> Any:
    """Return a copy with one random change."""
    if isinstance(node, dict) and node and rng.random() < 0.85:
        name = rng.choice(list(node))
        changed = {**node, name: _disturbed(rng, node[name])}
        if rng.random() < 0.15:
            del changed[name]
        return changed
    if isinstance(node, list) and node and rng.random() < 0.85:
        at = rng.randrange(len(node))
        more = [deepcopy(node[at])] * rng.choice((0, 1, 1, 1, 2))
        return [*node[:at], *(_disturbed(rng, item) for item in more), *node[at + 1 :]]
    if isinstance(node, str) and rng.random() < 0.7:
        return rng.choice((*_DATATYPES, *_NAMES))
    return rng.choice(_SIZES) if isinstance(node, int) and rng.random() < 0.7 else any_json(rng)


def wrong_json(rng: random.Random) -> bytes:
    """Return a body whose JSON has up to three random changes, or extreme nesting."""
    path, body = rng.choice(BODIES)
    for _ in range(rng.randint(1, 3)):
        body = _disturbed(rng, body)
    text = json.dumps(body).encode()
    if rng.random() < 0.03:
        deep = rng.choice((40, 900, 60_000))
        text = text.replace(b"1", b"[" * deep + b"1" + b"]" * rng.choice((deep, deep - 1, 0)), 1)
    return posted(path, text)


def wrong_bytes(rng: random.Random) -> bytes:
    """Raw tensors whose sizes, shapes, datatypes or bytes do not agree."""
    raw, inputs = b"", []
    for name in rng.choice(("abc", "ab", "aab", ("rows",), ("size", "carrier"))):
        part = rng.choice(
            (bytes(8), struct.pack("<d", float("inf")), rng.randbytes(rng.randrange(40)), b"\x02\0\0\0WN")
        )
        size = len(part) if rng.random() < 0.8 else rng.choice((*_SIZES, "8", None, 1.5))
        shape = rng.choice(([1], [1, 1], [1, 3], [], [rng.choice(_SIZES)], [2**32, 2**32], [-1, -8]))
        inputs.append(
            {"name": name, "shape": shape, "datatype": rng.choice(_DATATYPES), "parameters": {"binary_data_size": size}}
        )
        raw += part
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": rng.choice((True, False, 1))}}).encode()
    length = rng.choice((len(head), len(head), len(head), len(head) + 1, 0, -1, 10**20, "x"))
    path = rng.choice((INFER, "/v2/models/texts/infer"))
    return posted(path, head + raw, f"Inference-Header-Content-Length: {length}")


def mangled(rng: random.Random) -> bytes:
    """Return a valid request with up to six edits of its bytes, head or body."""
    path, body = rng.choice(BODIES)
    data = bytearray(posted(path, json.dumps(body).encode()))
    for _ in range(rng.randint(0, 6)):
        at, until = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
        edit = rng.randrange(5)
        if edit == 0:
            data[at : at + 1] = rng.randbytes(1)
        elif edit == 1:
            data[at:at] = rng.choice(_WORDS)
        elif edit == 2:
            del data[at : min(until, at + 20)]
        elif edit == 3:
            data[at:at] = data[at : min(until, at + 50)]
        else:
            data[at : at + 4] = rng.choice(_WORDS)
    return bytes(data)


def wrong_head(rng: random.Random) -> bytes:
    """Return a request line and headers that no client should send, with or without a body."""
    method = rng.choice(("GET", "POST", "POST", "HEAD", "PUT", "OPTIONS", "CONNECT", "BREW", "get", "", "G\0T"))
    target = rng.choice((*_TARGETS, INFER, INFER))
    version = rng.choice(("HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.9", "HTTX/1.1", ""))
    lines = [f"{method} {target} {version}", "Host: localhost"]
    lines += rng.sample(_HEADERS, rng.randrange(4))
    if rng.random() < 0.05:
        lines += [f"X-{number}: {'y' * rng.randrange(400)}" for number in range(rng.randrange(200))]
    end = rng.choice(("\r\n", "\r\n", "\n", "\r"))
    return (end.join(lines) + end + end).encode("utf-8", "surrogatepass") + rng.choice((b"", b"{}", rng.randbytes(20)))


_HEADERS = (
    "Content-Length: 2",
    "Content-Length: 3",
    "Content-Length: -1",
    "Content-Length: 99999999999999999999999",
    "Content-Length: 1e3",
    "Content-Length: 8388609",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, identity",
    "Expect: 100-continue",
    "Expect: a miracle",
    "Content-Encoding: gzip",
    "Connection: close",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Host: evil.example",
    "Host: ",
    "Authorization: Bearer ",
    "Authorization: Bearer wrong",
    "Authorization: \0",
    "Inference-Header-Content-Length: 2",
    "X: " + "y" * 20_000,
    " folded: x",
    "no colon",
    ": no name",
    "X\0: y",
)


def wrong_chunks(rng: random.Random) -> bytes:
    """Return a chunked body whose sizes, ends or trailers may be wrong."""
    path, body = rng.choice(BODIES)
    text, parts, at = json.dumps(body).encode(), [], 0
    while at < len(text):
        piece = text[at : at + rng.randint(1, 60)]
        at += len(piece)
        size = f"{len(piece):x}" if rng.random() < 0.9 else rng.choice(("-1", "zz", "", "f" * 30, "0x4", "7;a=b", " 4"))
        parts.append(
            size.encode() + rng.choice((b"\r\n",) * 9 + (b"\n",)) + piece + rng.choice((b"\r\n",) * 19 + (b"",))
        )
    end = rng.choice(
        (b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"0\r\nContent-Length: 4\r\n\r\n", b"", b"0\r\n")
    )
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head.encode() + b"".join(parts) + end


def truncated(rng: random.Random) -> bytes:
    """Return the first bytes of a request."""
    complete = rng.choice((wrong_json, wrong_bytes, wrong_chunks))(rng)
    return complete[: rng.randrange(len(complete))]


def pipelined(rng: random.Random) -> bytes:
    """Return several requests at once, valid and malformed, and noise."""
    kinds = (wrong_json, wrong_bytes, mangled, wrong_chunks, lambda rng: good(rng)[0], lambda rng: rng.randbytes(30))
    return b"".join(rng.choice(kinds)(rng) for _ in range(rng.randint(2, 6)))


KINDS: tuple[Callable[[random.Random], bytes], ...] = (
    wrong_json,
    wrong_json,
    wrong_bytes,
    mangled,
    wrong_head,
    wrong_chunks,
    truncated,
    pipelined,
)
