"""The HTTP program of a package: it answers as the release does, and no request stops it."""

from __future__ import annotations

import http.client
import json
import random
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.deployment.edge.packages import forest_release, write_sources
from tests.deployment.edge.test_edge_program import FOREST, INPUTS
from tests.engines.made_forests import rows_for

from headway.core.release import version_of
from headway.core.variant import Field, Signature
from headway.engines.compiled.forest import compile_forest
from headway.engines.trees import Trees
from headway.registry.bundle import Bundle

pytestmark = pytest.mark.slow
FLAGS = "CFLAGS=-O1 -Wall -Wextra -Wpedantic -Werror -fsanitize=address,undefined -fno-sanitize-recover=all"
INFER = "/v2/models/my%20flights/infer"
ROW = [0.5, -1.25, 1.0, 0.1, 2.0]


@pytest.fixture(scope="module")
def release() -> Bundle:
    """A release with a category, and names that JSON and paths must escape."""
    return forest_release(
        FOREST, rows_for(FOREST, 8), name="my flights", signature=Signature(inputs=INPUTS, output='the "score"')
    )


@pytest.fixture(scope="module")
def port(release, tmp_path_factory) -> Iterator[int]:
    """The port of the running program, which ends at the first fault that a sanitizer finds."""
    folder = write_sources(release, tmp_path_factory.mktemp("edge")).parent
    yield from served(folder, "my_flights_http")


def served(folder: Path, program: str) -> Iterator[int]:
    """Build a program of a package and run it; yield its port."""
    subprocess.run(["make", "-s", "-C", folder, program, FLAGS], check=True)
    with subprocess.Popen([folder / program, "0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield int(process.stdout.readline().split()[-1])
        assert process.poll() is None, "the program ended"
        process.kill()


def ask(port: int, body: bytes | None, *, path: str = INFER) -> tuple[int, dict[str, object]]:
    """Send a request; return status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST" if body is not None else "GET", path, body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def tensor(name: str, value: object, datatype: str = "FP64") -> dict[str, object]:
    """One input of a row."""
    return {"name": name, "shape": [1], "datatype": datatype, "data": [value]}


def inputs(values: list[float]) -> list[dict[str, object]]:
    """The inputs of a row whose third value is the number of a category."""
    names = [field.name for field in INPUTS]
    found = [tensor(name, None if value != value else value) for name, value in zip(names, values, strict=True)]
    category = None if values[2] != values[2] else INPUTS[2].categories[int(values[2])]
    found[2] = tensor(names[2], category, "BYTES")
    return found


def request(values: list[float] = ROW, **more: object) -> bytes:
    """The body of a request."""
    return json.dumps({"inputs": inputs(values), **more}).encode()


def test_a_row_has_the_score_of_the_kernel_in_the_json_of_the_server(port, release):
    for values in (ROW, [np.nan, 3.0, 0.0, -1e300, np.nan], [0.1, 0.2, np.nan, 1 / 3, 5e-324]):
        status, body = ask(port, request(values, id='a "name" ü\n', parameters={"deep": [{"a": [None, True, -1e-3]}]}))
        score = Trees(compile_forest(FOREST), {"level": "portable"}).predict(np.array([values]))[0, 0]
        output = {"name": 'the "score"', "datatype": "FP64", "shape": [1, 1], "data": [score]}
        expected = {
            "model_name": "my flights",
            "model_version": version_of(release.digest),
            "id": 'a "name" ü\n',
            "outputs": [output],
        }
        assert (status, body) == (200, expected)


def test_health_is_answered(port):
    assert ask(port, None, path="/v2/health/live") == (200, {"live": True})
    assert ask(port, None, path="/v2/health/ready") == (200, {"ready": True})
    assert ask(port, None, path="/v2/models/my%20flights/ready") == (200, {"name": "my flights", "ready": True})
    assert ask(port, None, path="/v2/models/other/ready")[0] == 404
    assert ask(port, b"{}", path="/v2/models/other/infer")[0] == 404


def test_escapes_and_orders_of_keys_are_read(port):
    plain = ask(port, request())
    turned = [dict(reversed(entry.items())) for entry in reversed(inputs(ROW))]
    assert ask(port, json.dumps({"inputs": turned}, indent=1).encode()) == plain
    text = "".join(f"\\u{ord(character):04x}" for character in INPUTS[2].categories[1])
    escaped = json.dumps({"inputs": inputs(ROW)}).replace(json.dumps(INPUTS[2].categories[1]), f'"{text}"')
    assert ask(port, escaped.encode()) == plain


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "'{' is missing"),
        (b"{}", "'\"' is missing"),
        (request()[:-1], "'}' is missing"),
        (request() + b"x", "something follows"),
        (b"\xff" + request(), "not UTF-8"),
        (request().replace(b"0.5", b"NaN"), "not a number"),
        (request().replace(b"0.5", b"0.5.1"), "other values than its shape"),
        (request().replace(b"0.5", b"0x5"), "malformed"),
        (request().replace(b"0.5", b"1e999"), "beyond float64"),
        (request().replace(b"0.5", b'"0.5"'), "not a number"),
        (request().replace(b'"shape": [1]', b'"shape": [2]', 1), "must have one row"),
        (request().replace(b"0.5", b"0.5, 1"), "other values than its shape"),
        (request().replace(b"FP64", b"FP16", 1), "datatype 'FP16' is not supported"),
        (request().replace(b"FP64", b"INT64", 1), "does not hold exactly"),
        (request().replace(b"FP64", b"BYTES", 1), "its datatype is BYTES"),
        (request().replace(b"BYTES", b"FP64", 1), "send strings with datatype BYTES"),
        (request().replace(b'"a"', b'"nothing"', 1), "unknown column 'nothing'"),
        (json.dumps({"inputs": inputs(ROW)[1:]}).encode(), "column 'a' is missing"),
        (json.dumps({"inputs": inputs(ROW) + inputs(ROW)[:1]}).encode(), "column 'a' occurs twice"),
        (request(deep=json.loads("[" * 40 + "]" * 40)), "nested more than"),
        (request(id="x" * 300), "the id is longer"),
        (request([1.0, 1.0, 1.0, np.nan, 1.0]), "does not answer this row"),
    ],
)
def test_a_request_that_cannot_be_answered_gets_a_reason(port, body, message):
    status, answer = ask(port, body)
    assert status == 400 and message in answer["error"]


def test_headers_are_bounded(port):
    def raw(content: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(1000), b""))

    start = f"POST {INFER} HTTP/1.1\r\n".encode()
    assert b" 411 " in raw(start + b"\r\n")
    chunked = b"Transfer-Encoding: chunked\r\n"
    assert b" 411 " in raw(start + chunked + b"\r\n1\r\n{\r\n0\r\n\r\n")
    assert b"'{' is missing" in raw(start + chunked + b"Content-Length: 1\r\n\r\n1\r\n{\r\n0\r\n\r\n")
    assert b"nested more than" in raw(start + b"Content-Length: 60000\r\n\r\n" + b'{"a":' * 12000)
    assert b" 413 " in raw(start + b"Content-Length: 99999999\r\n\r\n")
    for length in (b"-1", b"", b"1x", b"9" * 30, b"1\r\ncontent-LENGTH: 1", b"12\r\nA: b\r\ncontent-LENGTH: 12"):
        assert b"Content-Length is invalid" in raw(start + b"Content-Length: " + length + b"\r\n\r\n{")
    assert b"'\\\"' is missing" in raw(start + b"Content-Length: 1\r\n\r\n{\r\nContent-Length: 2\r\n\r\n")
    assert b" 400 " in raw(start + b"a" * 9000)
    assert b" 400 " in raw(start + b"a\x00b\r\n")
    assert b" 400 " in raw(start + b"Content-Length: 50\r\n\r\n{")
    assert raw(b"") == b""


def test_changed_requests_never_stop_the_program(port):
    source = random.Random(0)
    whole = request(id="a\\u00e9", parameters={"a": [1, {"b": None}]})
    pieces = [
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b"\\u",
        b"\\ud800",
        b"\xc3",
        b"null",
        b"-",
        b"1e5",
        b"\x00",
        whole[:80],
    ]
    for _ in range(300):
        body = bytearray(whole)
        for _ in range(source.randint(1, 4)):
            first = source.randrange(len(body) + 1)
            body[first : first + source.choice([0, 0, 1, 5, 60])] = source.choice(
                [*pieces, bytes([source.randrange(256)])]
            )
        assert ask(port, bytes(body))[0] in (200, 400)
    assert ask(port, request())[0] == 200


def test_a_matrix_of_numbers_is_a_row(tmp_path):
    release = forest_release(
        FOREST, rows_for(FOREST, 8), signature=Signature(inputs=tuple(Field(name=name) for name in "abcde"))
    )
    folder = write_sources(release, tmp_path).parent
    for port in served(folder, "flights_http"):
        matrix = {"name": "rows", "shape": [1, 5], "datatype": "FP64", "data": [0.5, None, 1, 2, -3.5]}
        status, body = ask(port, json.dumps({"inputs": [matrix]}).encode(), path="/v2/models/flights/infer")
        expected = Trees(compile_forest(FOREST), {"level": "portable"}).predict(np.array([[0.5, np.nan, 1, 2, -3.5]]))
        assert status == 200 and body["outputs"][0]["data"] == expected[0].tolist()
