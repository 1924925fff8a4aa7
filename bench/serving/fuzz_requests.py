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
    kind = [_JSON] if path.endswith("/labels") and _JSON not in more else []
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", *kind, *more, f"Content-Length: {len(body)}", "", ""]
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
    "Content-Type: text/plain",
    "Origin: https://evil.example",
    "Origin: null",
    "Sec-Fetch-Site: cross-site",
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


MOST_BYTES = 8_000_000  # of an extreme, within the limit of a body


def _size(rng: random.Random, limit: int) -> int:
    """Return a size, as often of one order of magnitude as of any other."""
    return int(limit ** rng.random())


def extreme_shape(rng: random.Random) -> bytes:
    """Return a request with many dimensions, or few large ones."""
    size = rng.choice((1, 2, 2**31, 2**62, 2**63 - 1))
    shape = [size] * _size(rng, MOST_BYTES // (len(str(size)) + 2))
    tensor = {"name": rng.choice(("a", "rows")), "shape": shape, "datatype": "FP64"}
    if rng.random() < 0.5:
        return posted(INFER, json.dumps({"inputs": [*_NUMBERS[1:], {**tensor, "data": [1]}]}).encode())
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": 8}}]}).encode()
    return posted(INFER, head + bytes(8), f"Inference-Header-Content-Length: {len(head)}")


def extreme_name(rng: random.Random) -> bytes:
    """Return a request with one long name, key or id."""
    text = rng.choice("xaé\0") * _size(rng, MOST_BYTES // 6)
    at = rng.randrange(7)
    if at == 6:
        return posted("/v2/models/numbers/labels", json.dumps({"labels": [{"key": text, "label": 1}]}).encode(), _JSON)
    if at == 5:
        return posted(f"/v2/models/{'n' * len(text[:15_000])}/infer", b"{}")
    body = {
        "inputs": [*_NUMBERS[:2], {**_NUMBERS[2], "name": text}] if at == 0 else _NUMBERS,
        "outputs": [{"name": text}] if at == 1 else [],
        "parameters": {text: 1} if at == 2 else {"key": text if at == 3 else "k"},
        "id": text if at == 4 else "1",
    }
    return posted(INFER, json.dumps(body).encode())


def extreme_count(rng: random.Random) -> bytes:
    """Return a request with many inputs, outputs, parameters, labels, records or columns."""
    count, kind = _size(rng, 100_000), rng.randrange(9)
    name = rng.choice(("a", "x{}", "{}"))
    names = [name.format(number) for number in range(count)]
    if kind == 0:
        return posted(INFER, json.dumps({"inputs": [{**_NUMBERS[0], "name": item} for item in names]}).encode())
    if kind == 1:
        outputs = [{"name": "probability"}] * count
        return posted(INFER, json.dumps({"inputs": _NUMBERS, "outputs": outputs}).encode())
    if kind == 2:
        parameters = {item: any_json(rng) for item in names}
        return posted(INFER, json.dumps({"inputs": _NUMBERS, "parameters": parameters}).encode())
    if kind == 3:
        labels = [{"key": "k", "label": 1}] * count
        return posted("/v2/models/numbers/labels", json.dumps({"labels": labels}).encode(), _JSON)
    if kind == 4:
        return posted("/invocations", json.dumps({"dataframe_records": [{item: 1} for item in names]}).encode())
    if kind == 5:
        records = [{"a": 1, "b": 2, "c": 6}, *[{}] * count]
        return posted("/invocations", json.dumps({"dataframe_records": records}).encode())
    if kind == 6:
        return posted("/invocations", json.dumps({"inputs": {item: [1] for item in names}}).encode())
    if kind == 7:
        frame = {"columns": names, "data": [[1] * count]}
        return posted("/invocations", json.dumps({"dataframe_split": frame}).encode())
    return posted("/v2/repository/index", json.dumps(dict.fromkeys(names, 1)).encode())


def extreme_rows(rng: random.Random) -> bytes:
    """Return a request with many rows, all valid, or with one value at their end that is not."""
    n, last = _size(rng, 200_000), rng.choice((1, 1, 1, None, "x", 1e300, 2**63))
    values = [rng.choice((1, 0.1, None)), *[1] * (n - 1)]
    kind = rng.randrange(5)
    if kind == 0:
        inputs = [{**_NUMBERS[0], "name": name, "shape": [n], "data": [*values[:-1], last]} for name in "abc"]
        return posted(INFER, json.dumps({"inputs": inputs, "parameters": {"key": "k" * 256}}).encode())
    if kind == 1:
        texts = [rng.choice(("AA", "WN", "é" * 9)) if last != "x" else str(number) for number in range(n)]
        inputs = [
            {"name": "size", "shape": [n], "datatype": "INT64", "data": [*values[:-1], last]},
            {"name": "carrier", "shape": [n], "datatype": "BYTES", "data": texts},
        ]
        return posted("/v2/models/texts/infer", json.dumps({"inputs": inputs}).encode())
    if kind == 2:
        datatype = rng.choice(_DATATYPES)
        tensor = {"name": "rows", "shape": [n, 3], "datatype": datatype, "data": [*[[1, 0, 1]] * (n - 1), [1, 1, last]]}
        return posted(INFER, json.dumps({"inputs": [tensor]}).encode())
    if kind == 3:
        return posted("/invocations", json.dumps({"instances": [*[[1, 2, 6]] * (n - 1), [1, 2, last]]}).encode())
    parts = [
        {"name": name, "shape": [n], "datatype": "FP64", "parameters": {"binary_data_size": 8 * n}} for name in "abc"
    ]
    head = json.dumps({"inputs": parts, "parameters": {"binary_data_output": rng.random() < 0.5}}).encode()
    return posted(INFER, head + bytes(24 * n), f"Inference-Header-Content-Length: {len(head)}")


def extreme_depth(rng: random.Random) -> bytes:
    """Return a request with deep nesting, or with a number of many digits."""
    size = _size(rng, MOST_BYTES // 2)
    inner = rng.choice((b"[" * size + b"]" * size, b'{"a":' * (size // 5) + b"1" + b"}" * (size // 5), b"9" * size))
    path, body = rng.choice(BODIES)
    text = json.dumps(body).encode()
    where = rng.choice((b"1", b'"k"', b"{"))
    return posted(path, text.replace(where, inner if where != b"{" else b'{"more":' + inner + b",", 1))


def extreme_pipeline(rng: random.Random) -> bytes:
    """Return many small requests at once, or one in many small chunks."""
    count = _size(rng, 2_000)
    if rng.random() < 0.3:
        text = json.dumps({"inputs": _NUMBERS, "id": "x" * count}).encode()
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in text)
        head = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        return head.encode() + chunks + b"0\r\n\r\n"
    path = rng.choice(("/metrics", "/v2/models/stats", "/v2/models/numbers", "/v2/health/live", "/none"))
    if rng.random() < 0.5:
        return good(rng)[0] * count
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * min(count, 300)


_JSON = "Content-Type: application/json"
EXTREMES: tuple[Callable[[random.Random], bytes], ...] = (
    extreme_shape,
    extreme_name,
    extreme_count,
    extreme_rows,
    extreme_depth,
    extreme_pipeline,
)
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
