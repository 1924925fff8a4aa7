"""Bounds inside well-formed requests: over HTTP in JSON and in raw bytes, and over gRPC.

Each is refused with the reason and counted, and none occupies the event loop.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import numpy as np
import pytest
from msgspec.structs import replace
from running import MIXED, NUMBERS, Peer, Running, ask, body_of, bundle, loaded, release, request, serving

from headway.core.variant import Field, Signature
from headway.data.contract.discovery import observed_contract
from headway.serving.grpc._server import INFERENCE
from headway.serving.grpc.transport import open_grpc
from headway.serving.loading import load_model
from headway.serving.protocol.admission import RequestLimits
from headway.serving.settings.serve import ServeSection

MAX_LOOP_MS = 20.0
ATTEMPTS = 3  # what a request causes is in each of them, what cold caches of busy cores add is not
LONG = "é" * 129
INFER = "/v2/models/flights/infer"
SERVICE = "inference.GRPCInferenceService"
CONTRACT = observed_contract(np.array([[0.0] * 3, [10.0] * 3]), NUMBERS, margin=0.1)
TRANSPORTS = ("json", "raw", "grpc")


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Running, grpc.Channel]]:
    """Serve two models, one of them with a contract, over HTTP and gRPC."""
    held = load_model(bundle(replace(release(), contract=CONTRACT)))
    with serving(held, loaded(name="mixed", signature=MIXED), contract="count") as running:
        grpc_server = open_grpc(running.inside, "127.0.0.1", 0)
        with grpc.insecure_channel(grpc_server.address.removeprefix("grpc://")) as channel:
            yield running, channel
        grpc_server.close(2)


def tensor(name: str, value: float = 1.0, **fields: object) -> dict[str, object]:
    """Return one input of one row."""
    return {"name": name, "shape": [1], "datatype": "FP64", "data": [value], **fields}


ROW = [tensor(name) for name in "abc"]


def send(
    server: tuple[Running, grpc.Channel], transport: str, inputs, *, model="flights", **more
) -> tuple[object, str]:
    """Send a request of float64 inputs; return the status or code, and the message of the error."""
    running, channel = server
    path = f"/v2/models/{model.replace('é', '%C3%A9')}/infer"
    if transport == "json":
        answer = ask(running, path, json.dumps({"inputs": inputs, **more}).encode())
        return answer.status, answer.json.get("error", "")
    raw = [np.array(item["data"], dtype="<f8").tobytes() for item in inputs]
    if transport == "raw":
        heads = [
            {**item, "data": None, "parameters": {"binary_data_size": len(content)}}
            for item, content in zip(inputs, raw, strict=True)
        ]
        head = json.dumps({"inputs": heads, **more}).encode()
        header = f"Inference-Header-Content-Length: {len(head)}"
        answer = ask(running, path, head + b"".join(raw), headers=[header])
        return answer.status, answer.json.get("error", "")
    if "parameters" in more:
        more["parameters"] = {
            name: {"string_param": value} if isinstance(value, str) else {"int64_param": value}
            for name, value in more["parameters"].items()
        }
    bare = [{name: value for name, value in item.items() if name != "data"} for item in inputs]
    message = INFERENCE["ModelInferRequest"](model_name=model, inputs=bare, raw_input_contents=raw, **more)
    try:
        channel.unary_unary(f"/{SERVICE}/ModelInfer")(message.SerializeToString(), timeout=20)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


CASES = {
    "17 dimensions": ({"inputs": [*ROW[:2], tensor("c", shape=[1] * 17)]}, "16"),
    "40,000 dimensions": ({"inputs": [*ROW[:2], tensor("c", shape=[2**62] * 40_000)]}, "16"),
    "a product beyond 64 bits": (
        {"inputs": [tensor("rows", shape=[2**40] * 2)]},
        "input 'rows' has shape [1099511627776",
    ),
    "a negative dimension": ({"inputs": [*ROW[:2], tensor("c", shape=[-1])]}, "input 'c' has shape [-1]"),
    "a key": ({"inputs": ROW, "parameters": {"key": LONG}}, "the key of the request has more than 256 bytes"),
    "an id": ({"inputs": ROW, "id": LONG}, "the id of the request has more than 256 bytes"),
    "a name of an input": ({"inputs": [*ROW[:2], tensor(LONG)]}, "the name of an input has more than 256 bytes"),
    "a name of a matrix": ({"inputs": [tensor(LONG, shape=[1, 1])]}, "the name of an input has more than 256 bytes"),
    "a name of an output": ({"inputs": ROW, "outputs": [{"name": LONG}]}, "name of an output has more than 256 bytes"),
    "a name of a parameter": ({"inputs": ROW, "parameters": {LONG: 1}}, "name of a parameter has more than 256 bytes"),
    "a name of a model": ({"inputs": ROW, "model": LONG}, "the name of the model has more than 256 bytes"),
    "inputs": ({"inputs": [*ROW, tensor("d")]}, ""),
    "outputs": ({"inputs": ROW, "outputs": [{"name": "probability"}] * 17}, "16"),
    "parameters": (
        {"inputs": ROW, "parameters": {f"{at}": at for at in range(65)}},
        "64",
    ),
    "rows": (
        {"inputs": [tensor("rows", shape=[65_537, 3], data=[1.0] * (3 * 65_537))]},
        "the request has 65537 rows, more than 65536",
    ),
}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("case", CASES)
def test_a_request_beyond_a_bound_is_refused_with_the_reason_and_counted(server, case, transport):
    fields, message = CASES[case]
    before = int(server[0].plane.metrics.errors[400])
    status, error = send(server, transport, **fields)
    assert status in (400, grpc.StatusCode.INVALID_ARGUMENT) and message in error, error
    assert len(error) <= 2_000
    server[0].turn()
    assert server[0].plane.metrics.errors[400] == before + 1


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_is_exactly_at_a_bound_is_answered(server, transport):
    name = "é" * 128
    more = {"id": name, "parameters": {"key": name, name: 1}}
    matrix = tensor(name, shape=[2, 3], data=[1.0] * 6)
    assert send(server, transport, [matrix], **more)[0] in (200, grpc.StatusCode.OK)


def test_the_bound_of_names_and_rows_can_be_set():
    limits = RequestLimits.of(ServeSection(max_name_bytes=3, max_request_rows=2))
    with serving(load_model(bundle(release()), limits=limits), max_name_bytes=7) as running:
        assert ask(running, INFER, body_of([1, 2, 6], id="1234")).status == 400
        assert ask(running, INFER, body_of(*[[1, 2, 6]] * 3)).status == 400
        assert ask(running, INFER, body_of(*[[1, 2, 6]] * 2, id="123")).status == 200
        assert ask(running, "/v2/models/a-name-of-14").status == 400
        assert ask(running, "/v2/models/another").status == 404


SHARED = {"shared_memory_region": "r"}


@pytest.mark.parametrize("fields", [{"parameters": SHARED}, {"parameters": SHARED, "data": None}])
@pytest.mark.parametrize("inputs", ["columns", "matrix"])
def test_shared_memory_over_http_is_refused_by_the_name_of_the_input(server, fields, inputs):
    sent = [tensor("rows", shape=[1, 3], data=[1, 2, 3])] if inputs == "matrix" else ROW
    name = sent[-1]["name"]
    last = {key: value for key, value in {**sent[-1], **fields}.items() if value is not None}
    body = json.dumps({"inputs": [*sent[:-1], last]}).encode()
    for headers in ((), (f"Inference-Header-Content-Length: {len(body)}",)):
        answer = ask(server[0], INFER, body, headers=headers)
        assert answer.status == 400
        assert answer.json["error"] == f"input '{name}' is in shared memory, which is not supported; send its values"


class LoopWatch:
    """Measures the longest time of its thread's CPU that a server's loop takes before it comes to its timers."""

    def __init__(self, server: Running) -> None:
        self._loop = server.loop
        self._last = self.longest_ms = 0.0
        self._running = True

    @classmethod
    @contextmanager
    def over(cls, server: Running) -> Iterator[LoopWatch]:
        """Measure within the block."""
        watch = cls(server)
        server.within(watch.begin)
        yield watch
        server.within(watch.end)

    def begin(self) -> None:
        """Begin, on the loop."""
        self._last = time.thread_time()
        self._loop.call_later(0.001, self._beat)

    def end(self) -> None:
        """End, on the loop."""
        self._measure()
        self._running = False

    def _measure(self) -> None:
        now = time.thread_time()
        self.longest_ms = max(self.longest_ms, 1e3 * (now - self._last))
        self._last = now

    def _beat(self) -> None:
        if self._running:
            self._measure()
            self._loop.call_later(0.001, self._beat)


def expect_no_stall(server: Running, run: Callable[[], object]) -> None:
    """Run up to three times, until the loop is not occupied for long."""
    found = list[float]()
    while len(found) < ATTEMPTS and not any(stall_ms <= MAX_LOOP_MS for stall_ms in found):
        with LoopWatch.over(server) as watch:
            run()
        found.append(watch.longest_ms)
    assert min(found) <= MAX_LOOP_MS, found


def long_rows(value: float) -> bytes:
    return body_of(*[[value, 2.5, 3.5]] * 60_000)


def column_of_texts() -> bytes:
    columns = [
        tensor("size", shape=[60_000], data=[1] * 60_000),
        tensor("carrier", shape=[60_000], datatype="BYTES", data=["WN", "never seen"] * 30_000),
    ]
    return json.dumps({"inputs": columns}).encode()


def sent(*inputs: dict[str, object], **more: object) -> bytes:
    return json.dumps({"inputs": inputs, **more}).encode()


EXTREMES = {
    "a name of 7 MB": (lambda: sent(tensor("n" * 7_000_000)), 400),
    "a name like the columns": (lambda: sent(tensor("abc" * 85)), 400),
    "100,000 inputs": (lambda: sent(*(tensor(f"x{at}") for at in range(100_000))), 400),
    "100,000 equal inputs": (lambda: sent(*ROW[:2], *ROW[2:] * 100_000), 400),
    "100,000 outputs": (lambda: sent(*ROW, outputs=[{"name": "probability"}] * 100_000), 400),
    "100,000 parameters": (lambda: sent(*ROW, parameters=dict.fromkeys(map(str, range(100_000)), 1)), 400),
    "2,500,000 dimensions": (lambda: sent(tensor("a", shape=[1] * 2_500_000)), 400),
    "depth": (lambda: b'{"inputs":' + b"[" * 8_000_000, 400),
    "60,000 rows": (lambda: long_rows(1.5), 200),
    "60,000 rows outside the contract": (lambda: long_rows(99.5), 200),
    "60,000 strings": (column_of_texts, 200),
    "an index request": (lambda: b'{"x":"' + b"y" * 7_000_000 + b'"}', 413),
}
PATHS = {"60,000 strings": "/v2/models/mixed/infer", "an index request": "/v2/repository/index"}


@pytest.mark.slow
@pytest.mark.parametrize("case", EXTREMES)
def test_no_request_occupies_the_loop(server, case):
    make, status = EXTREMES[case]
    path, body = PATHS.get(case, INFER), make()

    def run():
        answer = ask(server[0], path, body)
        assert answer.status == status, answer.body[:300]

    expect_no_stall(server[0], run)


RECORDS = {
    "names": ({"dataframe_records": [{f"x{at}": 1} for at in range(100_000)]}, "unknown column 'x0'"),
    "left out": (
        {"dataframe_records": [{"a": 1, "b": 1, "c": 1}, *[{}] * 60_000]},
        "the records leave out 180000 values",
    ),
    "rows": ({"instances": [[1, 2, 3]] * 70_000}, "the request has 70000 rows"),
    "a key": ({"inputs": [[1, 2, 3]], "params": {"key": LONG}}, "the key of the request has more than 256 bytes"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", RECORDS)
def test_no_request_in_the_form_of_mlflow_occupies_the_loop(case):
    body, message = RECORDS[case]
    with serving(loaded()) as running:

        def run():
            answer = ask(running, "/invocations", json.dumps(body).encode())
            assert answer.status == 400 and message in answer.json["error"]

        expect_no_stall(running, run)
        rows = ask(running, "/invocations", json.dumps({"instances": [[1, 2, 6]] * 50_000}).encode())
        assert rows.json["predictions"] == [3.0] * 50_000


@pytest.mark.slow
@pytest.mark.parametrize(("width", "count"), [(3, 21_000), (400, 240)])
def test_short_records_that_leave_out_values_do_not_occupy_the_loop(width, count):
    names = [f"x{at}" for at in range(width)]
    records = [dict.fromkeys(names, 2), *[{}] * count]
    body = json.dumps({"dataframe_records": records}, separators=(",", ":")).encode()
    assert len(body) < 65_536
    with serving(loaded(signature=Signature(inputs=tuple(Field(name=name) for name in names)))) as running:

        def run():
            answer = ask(running, "/invocations", body)
            assert answer.json["predictions"] == [2.0, *[None] * count]

        expect_no_stall(running, run)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [[1] * 1_000_000, [2**62] * 16])
def test_no_message_of_grpc_occupies_the_loop(server, shape):
    many = [tensor("x" * 1_000_000, shape=shape) for _ in range(3)]

    def run():
        assert send(server, "grpc", many)[0] is grpc.StatusCode.INVALID_ARGUMENT
        assert send(server, "grpc", [tensor("a")] * 100_000)[0] is grpc.StatusCode.INVALID_ARGUMENT

    expect_no_stall(server[0], run)


@pytest.mark.slow
def test_a_large_body_is_answered_in_order_and_like_a_small_one(server):
    body = body_of(*[[1, 2, 6]] * 10_000, id="large")
    assert len(body) > 65_536
    with Peer(server[0]) as peer:
        peer.send_bytes(request(body=body) + request(body=body_of([4, 4, 4], id="small")))
        large, small = peer.read_answer(), peer.read_answer()
    assert (large.json["id"], large.values) == ("large", [3.0] * 10_000)
    assert (small.json["id"], small.values) == ("small", [4.0])


@pytest.mark.slow
@pytest.mark.parametrize("binary", [False, True])
def test_many_outputs_are_encoded_like_few(server, binary):
    rows = np.arange(90_000, dtype="<f8").reshape(30_000, 3)
    head = {"name": "rows", "shape": [30_000, 3], "datatype": "FP64", "parameters": {"binary_data_size": rows.nbytes}}
    wanted = {"binary_data_output": binary, "key": "k"}
    content = json.dumps({"inputs": [head], "parameters": wanted, "id": "x"}).encode()
    header = f"Inference-Header-Content-Length: {len(content)}"
    answer = ask(server[0], INFER, content + rows.tobytes(), headers=[header])
    if binary:
        length = int(answer.headers["Inference-Header-Content-Length"])
        values = list(struct.unpack("<30000d", answer.body[length:]))
    else:
        values = answer.values
    np.testing.assert_array_equal(values, rows.mean(axis=1))


@pytest.mark.slow
def test_a_defect_of_the_decoder_is_500_and_logged(caplog):
    with serving(loaded()) as running:
        running.plane.find("flights").reader._read = lambda *_: 1 / 0
        assert ask(running, INFER, b" " * 70_000).status == 500
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.slow
def test_many_outputs_are_answered_over_grpc(server):
    rows = tensor("rows", shape=[20_000, 3], data=[4.0] * 60_000)
    assert send(server, "grpc", [rows])[0] is grpc.StatusCode.OK


@pytest.mark.slow
@pytest.mark.parametrize(
    ("message", "count"),
    [
        (request("/metrics"), 300),
        (request("/none"), 3_000),
        (request(body=body_of([1, 2, 6])), 2_000),
        (request(body=body_of([1, 2, 6]), headers=["traceparent: none"]), 2_000),
    ],
)
def test_many_requests_at_once_do_not_occupy_the_loop(server, message, count):
    def run():
        with Peer(server[0]) as peer, ThreadPoolExecutor(1) as pool:
            sending = pool.submit(peer.send_bytes, message * count + request("/v2/health/live"))
            answers = [peer.read_answer() for _ in range(count + 1)]
            sending.result()
        assert answers[-1].json == {"live": True}
        assert len({answer.status for answer in answers[:-1]}) == 1

    expect_no_stall(server[0], run)


@pytest.mark.slow
def test_a_body_in_many_small_chunks_does_not_occupy_the_loop(server):
    head = request(method="POST", headers=["Transfer-Encoding: chunked"])
    body = body_of([1, 2, 6], id="x" * 250) + b" " * 100_000
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)

    def run():
        with Peer(server[0]) as peer:
            assert peer.send_bytes(head + chunks + b"0\r\n\r\n").read_answer().values == [3.0]

    expect_no_stall(server[0], run)


@pytest.mark.parametrize("endpoint", ["load", "unload"])
def test_the_body_of_a_load_or_unload_is_bounded(endpoint):
    with serving(loaded(), key="a-key") as running:
        body = b'{"x":"' + b"y" * 70_000 + b'"}'
        path = f"/v2/repository/models/flights/{endpoint}"
        assert ask(running, path, body, headers=["Authorization: Bearer a-key"]).status == 413
        assert running.plane.find("flights")
