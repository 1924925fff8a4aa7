"""The gRPC transport: the same answers as over HTTP, in the form of the request, and a code for each error."""

from __future__ import annotations

import re
import signal
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import grpc
import numpy as np
import pytest
from running import MIXED, Running, loaded, open_authenticator, project, serving, started

from headway.core.errors import ConfigError, DataError, StoreError
from headway.serving.auth.keys import digest
from headway.serving.grpc import _server
from headway.serving.grpc._server import HEALTH, INFERENCE, GrpcInference, decode_request, encode_response
from headway.serving.grpc.transport import open_grpc

SERVICE, CHECK = "inference.GRPCInferenceService", "grpc.health.v1.Health/Check"
KEY = (("authorization", "Bearer a-key"),)
ROW = (1.0, 2.0, 6.0)


@dataclass(frozen=True)
class Caller:
    """A gRPC client."""

    channel: grpc.Channel

    def raw(self, path: str, content: bytes, **how: object) -> bytes:
        """Return the response to these bytes."""
        return self.channel.unary_unary(f"/{path}")(content, timeout=how.pop("timeout", 10), **how)

    def ask(self, method: str, *, metadata: object = None, timeout: float = 10, **fields: object) -> object:
        """Return the response of a method to a message of these fields."""
        content = INFERENCE[f"{method}Request"](**fields).SerializeToString()
        response = self.raw(f"{SERVICE}/{method}", content, metadata=metadata, timeout=timeout)
        return INFERENCE[f"{method}Response"].FromString(response)

    def infer(self, *, raw: bool, **more: object) -> object:
        """Return the response to one row of the columns a, b and c."""
        return self.ask("ModelInfer", **message(raw=raw), **more)

    def refused(self, method: str, **fields: object) -> tuple[str, str]:
        """Return the code and the message of an error."""
        with pytest.raises(grpc.RpcError) as error:
            self.ask(method, **fields)
        return error.value.code().name, error.value.details()


def message(*, raw: bool, values: tuple[float, ...] = ROW, **more: object) -> dict[str, object]:
    """Return the fields of an infer request for one row."""
    inputs = [{"name": name, "datatype": "FP64", "shape": [1]} for name in "abc"]
    if raw:
        more["raw_input_contents"] = [struct.pack("<d", value) for value in values]
    else:
        inputs = [
            {**tensor, "contents": {"fp64_contents": [value]}} for tensor, value in zip(inputs, values, strict=True)
        ]
    return {"model_name": "flights", "inputs": inputs, **more}


def make_input(name: str, shape: list[int], datatype: str, **contents: object) -> dict[str, object]:
    """Return one input with typed contents."""
    return {"name": name, "shape": shape, "datatype": datatype, **({"contents": contents} if contents else {})}


@pytest.fixture
def opened():
    """Serve two models over gRPC, with an operator's key."""
    with serving(loaded(), loaded(name="mixed", signature=MIXED), key="a-key") as server:
        grpc_server = open_grpc(server.inside, "127.0.0.1", 0)
        with grpc.insecure_channel(grpc_server.address.removeprefix("grpc://")) as channel:
            yield server, grpc_server, Caller(channel)
        grpc_server.close(2)


@pytest.fixture
def caller(opened) -> Caller:
    return opened[2]


@pytest.mark.slow
def test_the_server_and_the_model_are_live_ready_and_described(caller):
    assert caller.ask("ServerLive").live and caller.ask("ServerReady").ready
    assert caller.ask("ModelReady", name="flights").ready
    assert caller.ask("ServerMetadata").name == "headway"
    model = caller.ask("ModelMetadata", name="mixed")
    assert [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in model.inputs] == [
        ("size", "FP64", [-1, 1]),
        ("carrier", "BYTES", [-1, 1]),
    ]
    config = caller.ask("ModelConfig", name="mixed").config
    assert [tensor.data_type for tensor in config.input] == [12, 13] and config.max_batch_size == 1024
    assert [model.name for model in caller.ask("RepositoryIndex").models] == ["flights", "mixed"]


def test_health_covers_the_server_and_its_service_and_no_other(caller):
    for service in ("", SERVICE):
        content = HEALTH["HealthCheckRequest"](service=service).SerializeToString()
        assert HEALTH["HealthCheckResponse"].FromString(caller.raw(CHECK, content)).status == 1
    with pytest.raises(grpc.RpcError) as error:
        caller.raw(CHECK, HEALTH["HealthCheckRequest"](service="x").SerializeToString())
    assert error.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_draining_server_is_not_ready():
    with serving(loaded()) as server:
        grpc_server = open_grpc(replace(server.inside, draining=lambda: True), "localhost", 0)
        with grpc.insecure_channel(grpc_server.address.removeprefix("grpc://")) as channel:
            assert not Caller(channel).ask("ServerReady").ready
            assert HEALTH["HealthCheckResponse"].FromString(Caller(channel).raw(CHECK, b"")).status == 2
        grpc_server.close(1)


@pytest.mark.parametrize("raw", [False, True])
def test_the_answer_of_several_classes_names_them(raw):
    several = replace(loaded(), classes=("no", "maybe", "yes"))
    [output] = response(several, [0.1, 0.2, 0.7], raw=raw).outputs
    assert output.parameters["classes"].string_param == '["no","maybe","yes"]'
    assert not response(loaded(), [0.1], raw=raw).outputs[0].parameters


@pytest.mark.parametrize("raw", [False, True])
def test_a_request_for_classes_is_answered_by_the_largest_outputs(caller, raw):
    wanted = {"name": "probability", "parameters": {"classification": {"int64_param": 2}}}
    answer = caller.ask("ModelInfer", **message(raw=raw, outputs=[wanted]))
    [output] = answer.outputs
    assert (output.datatype, list(output.shape)) == ("BYTES", [1, 1])
    text = b"3.0:0"
    if raw:
        assert list(answer.raw_output_contents) == [struct.pack("<I", len(text)) + text]
    else:
        assert list(output.contents.bytes_contents) == [text]


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("n", [1, 2, 40])
@pytest.mark.parametrize("id", ["", "a-1"])
def test_a_response_in_parts_is_the_message_that_the_library_encodes(raw, n, id):
    model, values = loaded(), [number / 7 for number in range(n)]
    output = {"name": "probability", "datatype": "FP64", "shape": [n, 1]}
    fields = {"model_name": model.name, "model_version": model.version, "id": id, "outputs": [output]}
    if raw:
        fields["raw_output_contents"] = [struct.pack(f"<{n}d", *values)]
    else:
        output["contents"] = {"fp64_contents": values}
    expected = INFERENCE["ModelInferResponse"](**fields).SerializeToString()
    assert encode_response(model, values, n, id=id, raw=raw) == expected


def response(model: object, values: list[float], *, raw: bool) -> object:
    """Return the response to one row as a client reads it."""
    return INFERENCE["ModelInferResponse"].FromString(encode_response(model, values, 1, id="", raw=raw))


@pytest.mark.slow
@pytest.mark.parametrize("raw", [False, True])
def test_rows_are_answered_in_the_form_of_the_request(caller, raw):
    answer = caller.infer(raw=raw, id="7")
    (output,) = answer.outputs
    assert (answer.id, output.name, list(output.shape)) == ("7", "probability", [1, 1])
    assert list(answer.raw_output_contents) == ([struct.pack("<d", 3.0)] if raw else [])
    assert list(output.contents.fp64_contents) == ([] if raw else [3.0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("datatype", "member"),
    [
        ("BOOL", "bool_contents"),
        ("INT8", "int_contents"),
        ("INT64", "int64_contents"),
        ("UINT16", "uint_contents"),
        ("UINT64", "uint64_contents"),
        ("FP32", "fp32_contents"),
    ],
)
def test_a_matrix_of_each_type_is_answered(caller, datatype, member):
    rows = make_input("rows", [2, 3], datatype, **{member: [1, 0, 1, 1, 1, 1]})
    answer = caller.ask("ModelInfer", model_name="flights", inputs=[rows])
    assert list(answer.outputs[0].contents.fp64_contents) == [np.float64(2) / 3, 1.0]


def test_half_floats_and_missing_values_are_raw_contents(caller):
    inputs = [{"name": "rows", "shape": [1, 3], "datatype": "FP16"}]
    content = np.array([1, 2, np.nan], dtype="<f2").tobytes()
    answer = caller.ask("ModelInfer", model_name="flights", inputs=inputs, raw_input_contents=[content])
    assert np.isnan(struct.unpack("<d", answer.raw_output_contents[0])[0])


@pytest.mark.slow
@pytest.mark.parametrize("raw", [False, True])
def test_strings_are_answered(caller, raw):
    size = make_input("size", [2], "FP64", **({} if raw else {"fp64_contents": [4, 5]}))
    carrier = make_input("carrier", [2], "BYTES", **({} if raw else {"bytes_contents": [b"WN", b"AA"]}))
    bytes_of = [struct.pack("<dd", 4, 5), b"\x02\0\0\0WN\x02\0\0\0AA"] if raw else []
    answer = caller.ask("ModelInfer", model_name="mixed", inputs=[size, carrier], raw_input_contents=bytes_of)
    values = struct.unpack("<dd", answer.raw_output_contents[0]) if raw else answer.outputs[0].contents.fp64_contents
    assert list(values) == [3.0, 2.5]


@pytest.mark.parametrize("raw", [False, True])
def test_answers_are_the_same_without_the_extension(caller, monkeypatch, raw):
    fields = {**message(raw=raw), "id": "7", "outputs": [{"name": "probability"}]}
    with_extension = caller.ask("ModelInfer", **fields)
    monkeypatch.setattr(_server, "message_target", None)
    assert caller.ask("ModelInfer", **fields) == with_extension


PARAMETERS = {"key": {"string_param": "a-1"}, "timeout": {"int64_param": 70}}


def test_the_key_is_a_parameter_and_another_release_reads_the_same_rows(opened):
    release = opened[0].plane.find("flights")
    sent = INFERENCE["ModelInferRequest"](**message(raw=True, parameters=PARAMETERS))
    request = decode_request(sent, release.reader)
    assert (request.parameters.key, request.parameters.timeout) == ("a-1", 70)
    for content in (sent, INFERENCE["ModelInferRequest"](**message(raw=True))):
        inference = GrpcInference(content.SerializeToString(), None, "", 0, 0, None)
        assert inference.read_for(release).tolist() == [list(ROW)]


LONG = "é" * 129
ROWS = make_input("rows", [1, 3], "FP64", fp64_contents=ROW)
SHARED = {"shared_memory_region": {"string_param": "x"}}
WRONG = {
    "INPUT is not there": ({"inputs": [ROWS, ROWS]}, "unknown column 'rows'"),
    "value too few": ({"inputs": [make_input("rows", [2, 3], "FP64", fp64_contents=ROW)]}, "has 3 values"),
    "bytes too few": ({**message(raw=True), "raw_input_contents": [b"1", b"2", b"3"]}, "has 1 bytes"),
    "bytes left out": (
        {**message(raw=True), "raw_input_contents": [b"1"]},
        "raw_input_contents holds 1 inputs, and inputs 3",
    ),
    "twice": ({"inputs": [ROWS], "raw_input_contents": [b"1"]}, "has contents and raw_input_contents"),
    "no contents": ({"inputs": [make_input("rows", [1, 3], "FP16")]}, "is FP16, which has no contents"),
    "infinity": ({"inputs": [make_input("rows", [1, 1], "FP32", fp32_contents=[np.inf])]}, "holds an infinity"),
    "out of range": (
        {"inputs": [make_input("rows", [1, 3], "UINT8", uint_contents=[1, 2, 300])]},
        "which does not fit in UINT8",
    ),
    "not UTF-8": ({"inputs": [make_input("rows", [1], "BYTES", bytes_contents=[b"\xff"])]}, "is not UTF-8"),
    "shared memory": ({"inputs": [{**ROWS, "parameters": SHARED}]}, "is in shared memory, which is not supported"),
    "shared output": (message(raw=False, outputs=[{"name": "probability", "parameters": SHARED}]), "in shared memory"),
    "classes": (
        message(raw=False, outputs=[{"name": "probability", "parameters": {"classification": {"int64_param": -1}}}]),
        "-1 classes are requested",
    ),
    "key no text": (message(raw=False, parameters={"key": {"int64_param": 1}}), "parameter 'key' is not string_param"),
    "nothing": ({}, "column 'a' is missing"),
    "dimensions": ({"inputs": [make_input("rows", [2] * 17, "FP64")]}, "has 17 dimensions, at most 16 are allowed"),
    "product": (
        {"inputs": [make_input("rows", [2**40] * 2, "FP64")]},
        "whose number of values does not fit in 64 bits",
    ),
    "a negative size": ({"inputs": [make_input("rows", [-1], "FP64")]}, "has shape [-1], which has no row"),
    "inputs": ({"inputs": [ROWS] * 68}, "the request has more than 67 inputs"),
    "outputs": (message(raw=True, outputs=[{"name": "probability"}] * 17), "the request has more than 16 outputs"),
    "parameters": (
        message(raw=True, parameters={f"{number}": {} for number in range(65)}),
        "the request has more than 64 parameters",
    ),
    "a BOOL of 2": (
        {"inputs": [make_input("rows", [1, 3], "BOOL")], "raw_input_contents": [b"\1\0\2"]},
        "holds 2, which does not fit in BOOL",
    ),
    "a long key": (
        message(raw=True, parameters={"key": {"string_param": LONG}}),
        "the key of the request has more than",
    ),
    "a long id": (message(raw=True, id=LONG), "the id of the request has more than 256 bytes"),
    "a long input": ({"inputs": [make_input(LONG, [1], "FP64")]}, "the name of an input has more than 256 bytes"),
    "a long output": (message(raw=True, outputs=[{"name": LONG}]), "the name of an output has more than 256 bytes"),
    "a long parameter": (message(raw=True, parameters={LONG: {}}), "the name of a parameter has more than 256 bytes"),
    "a long model": ({"model_name": LONG}, "the name of the model has more than 256 bytes"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request_is_an_invalid_argument_with_the_reason(caller, name):
    fields, message = WRONG[name]
    code, words = caller.refused("ModelInfer", **{"model_name": "flights", **fields})
    assert code == "INVALID_ARGUMENT" and message in words


@pytest.mark.parametrize(("datatype", "member"), [("INT64", "int64_contents"), ("UINT64", "uint64_contents")])
def test_the_largest_integers_of_64_bits_are_answered(caller, datatype, member):
    largest = 2**63 - 1 if datatype == "INT64" else 2**64 - 1
    rows = make_input("rows", [1, 3], datatype, **{member: [largest] * 3})
    assert caller.ask("ModelInfer", model_name="flights", inputs=[rows]).outputs[0].contents.fp64_contents == [
        largest + 1
    ]


@pytest.mark.slow
def test_a_defect_is_internal_and_counted_and_its_message_is_only_in_the_log(opened, caplog):
    server, _, caller = opened
    server.within(lambda: server.plane.set_model(replace(server.plane.find("flights"), reader=None)))
    code, words = caller.refused("ModelInfer", **message(raw=True))
    assert (code, words) == ("INTERNAL", "internal server error; see the log of the server")
    assert "NoneType" in caplog.text
    server.turn()
    assert server.plane.metrics.errors[500] == 1


def test_an_unreadable_message_is_an_invalid_argument(caller):
    with pytest.raises(grpc.RpcError) as error:
        caller.raw(f"{SERVICE}/ModelInfer", b"\xff\xff")
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"])
def test_an_unknown_model_or_version_is_not_found(caller, method):
    assert caller.refused(method, name="hotels") == ("NOT_FOUND", "no model 'hotels'; available: flights, mixed")
    assert caller.refused(method, name="flights", version="9")[0] == "NOT_FOUND"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("a defect"), "INTERNAL"),
        (DataError("no"), "INVALID_ARGUMENT"),
        (StoreError("away"), "UNAVAILABLE"),
    ],
)
def test_the_error_of_the_engine_decides_the_code(opened, error, code):
    class Broken:
        def predict(self, rows: object) -> object:
            raise error

    server, _, caller = opened
    server.within(lambda: server.plane.set_model(replace(server.plane.find("flights"), engine=Broken())))
    assert caller.refused("ModelInfer", **message(raw=True))[0] == code


@pytest.mark.slow
def test_statistics_grow_with_requests_and_errors_are_counted(opened):
    server, _, caller = opened
    for count in range(1, 201):  # each time, who was answered is counted
        caller.infer(raw=True)
        (flights,) = caller.ask("ModelStatistics", name="flights").model_stats
        assert (flights.inference_count, flights.inference_stats.success.count) == (count, count)
    assert len(caller.ask("ModelStatistics").model_stats) == 2
    caller.refused("ModelReady", name="hotels")
    server.turn()
    assert server.plane.metrics.errors[404] == np.sum(server.plane.metrics.errors) == 1


def test_only_an_operator_loads_and_unloads(opened):
    _, _, caller = opened
    for metadata in (None, (("authorization", "Bearer another"),), (("authorization", "Basic a-key"),)):
        assert caller.refused("RepositoryModelUnload", model_name="mixed", metadata=metadata)[0] == "UNAUTHENTICATED"
    caller.ask("RepositoryModelUnload", model_name="mixed", metadata=KEY)
    assert caller.refused("ModelReady", name="mixed")[0] == "NOT_FOUND"
    assert caller.refused("RepositoryModelLoad", model_name="hotels", metadata=KEY)[0] == "NOT_FOUND"
    caller.ask("RepositoryModelLoad", model_name="mixed", metadata=KEY)
    assert caller.ask("ModelReady", name="mixed").ready


def test_a_key_has_the_same_scopes_over_grpc_as_over_http(tmp_path):
    known = (
        '[asks]\nsha256 = "{}"\nscopes = ["predict"]\nmade = ""\nper_s = 0.001\nburst = 1\n',
        digest(b"asks").hex(),
    )
    (tmp_path / "keys.toml").write_text(known[0].format(known[1]))
    with serving(loaded(), authenticator=open_authenticator(tmp_path / "keys.toml")) as server:
        grpc_server = open_grpc(server.inside, "127.0.0.1", 0)
        with grpc.insecure_channel(grpc_server.address.removeprefix("grpc://")) as channel:
            caller, mine = Caller(channel), (("authorization", "Bearer asks"),)
            assert caller.ask("ModelReady", name="flights").ready
            assert caller.refused("ModelInfer", **message(raw=True))[0] == "UNAUTHENTICATED"
            assert caller.refused("RepositoryModelLoad", metadata=mine)[0] == "PERMISSION_DENIED"
            assert caller.infer(raw=True, metadata=mine).outputs
            assert caller.refused("ModelInfer", metadata=mine, **message(raw=True))[0] == "RESOURCE_EXHAUSTED"
        grpc_server.close(2)


def test_a_failed_load_has_the_reason(opened):
    server, _, caller = opened
    del server.inside.repository._watcher.releases["mixed"]
    assert caller.refused("RepositoryModelLoad", model_name="mixed", metadata=KEY)[0] == "INTERNAL"


def hold(server: Running) -> threading.Event:
    """Block the loop of a server until the event is set."""
    until, begun = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        until.wait(10)

    server.loop.call_soon_threadsafe(wait)
    assert begun.wait(10)
    return until


@pytest.mark.slow
def test_a_call_past_its_deadline_is_never_executed(opened):
    server, grpc_server, caller = opened
    until = hold(server)
    assert caller.refused("ModelInfer", timeout=0.2, **message(raw=True))[0] == "DEADLINE_EXCEEDED"
    grpc_server.close(5)
    until.set()
    server.turn()
    counts = server.plane.metrics.of("flights")
    assert server.plane.metrics.errors[504] == np.sum(server.plane.metrics.errors) == 1
    assert (counts.requests, counts.expired) == (0, 1)


def test_calls_in_flight_are_answered_before_the_server_closes(opened):
    server, handed = opened[0], threading.Event()

    def soon(*what: object) -> None:
        server.loop.call_soon_threadsafe(*what)
        handed.set()

    grpc_server = open_grpc(replace(server.inside, soon=soon), "127.0.0.1", 0)
    until = hold(server)
    with grpc.insecure_channel(grpc_server.address.removeprefix("grpc://")) as channel, ThreadPoolExecutor(2) as pool:
        answer = pool.submit(Caller(channel).infer, raw=True)
        assert handed.wait(10)
        closing = pool.submit(grpc_server.close, 5)
        until.set()
        closing.result(60)
        assert answer.result(60).raw_output_contents[0] == struct.pack("<d", 3.0)


@pytest.mark.slow
def test_a_configured_server_opens_grpc_and_shuts_down_in_order(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADWAY_SERVE_GRPC_PORT", "0")
    project(tmp_path)
    process = started(tmp_path, "flights@live")
    line = process.stdout.readline()
    with grpc.insecure_channel(re.search(r"grpc://(\S+)", line)[1]) as channel:
        assert Caller(channel).infer(raw=True).raw_output_contents[0] == struct.pack("<d", 3.0)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=20)
    assert process.returncode == 0, output


def test_it_listens_from_its_creation_until_it_is_closed():
    with serving(loaded()) as server:
        grpc_server = open_grpc(server.inside, "127.0.0.1", 0)
        host, port = grpc_server.address.rpartition("/")[2].split(":")
        socket.create_connection((host, int(port)), timeout=5).close()
        grpc_server.close(1)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=5)


def test_an_address_that_is_not_available_is_an_error_with_a_hint():
    with serving(loaded()) as server, socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        with pytest.raises(ConfigError, match=r"cannot listen on 127.0.0.1:\d+") as caught:
            open_grpc(server.inside, "127.0.0.1", occupied.getsockname()[1])
    assert caught.value.hint
