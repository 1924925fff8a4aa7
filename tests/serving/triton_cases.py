"""The client of Triton over HTTP, unchanged, against the server at HEADWAY_ADDRESS, whose operator has HEADWAY_KEY."""

from __future__ import annotations

import os

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

ADDRESS = os.environ["HEADWAY_ADDRESS"].removeprefix("http://")
OPERATOR = {"Authorization": f"Bearer {os.environ['HEADWAY_KEY']}"}
ROWS = np.array([[1.0, 2.0, 6.0], [3.0, 3.0, 3.0]])


@pytest.fixture
def client():
    made = triton.InferenceServerClient(ADDRESS)
    yield made
    made.close()


def make_input(name: str, values: np.ndarray, datatype: str, *, binary: bool = True) -> triton.InferInput:
    made = triton.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def columns(*, binary: bool = True) -> list[triton.InferInput]:
    return [make_input(name, ROWS[:, at], "FP64", binary=binary) for at, name in enumerate("abc")]


def test_the_server_and_the_model_are_live_ready_and_described(client):
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("flights")
    assert not client.is_model_ready("hotels")
    assert client.get_server_metadata()["name"] == "headway"
    version = client.get_model_metadata("flights")["versions"][0]
    assert client.is_model_ready("flights", version) and client.get_model_metadata("flights", version)
    assert client.get_model_metadata("flights")["outputs"][0]["shape"] == [-1, 1]
    assert client.get_model_config("mixed", "")["input"][1]["data_type"] == "TYPE_STRING"


@pytest.mark.parametrize("binary_in", [False, True])
@pytest.mark.parametrize("binary_out", [False, True])
def test_rows_are_answered_in_json_and_raw(client, binary_in, binary_out):
    outputs = [triton.InferRequestedOutput("probability", binary_data=binary_out)]
    result = client.infer("flights", columns(binary=binary_in), outputs=outputs, request_id="7")
    np.testing.assert_array_equal(result.as_numpy("probability"), [[3.0], [3.0]])
    assert result.get_response()["id"] == "7"


@pytest.mark.parametrize("binary", [False, True])
def test_classes_are_answered_if_they_are_counted(client, binary):
    outputs = [triton.InferRequestedOutput("probability", binary_data=binary, class_count=2)]
    found = client.infer("flights", columns(), outputs=outputs).as_numpy("probability")
    assert [[str(value, "utf-8") if isinstance(value, bytes) else value for value in row] for row in found] == [
        ["3.0:0"],
        ["3.0:0"],
    ]


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "int8", "int64", "uint8", "uint32", "bool"])
def test_a_matrix_of_each_type_is_answered(client, name):
    datatype = {"float": "FP", "int": "INT", "uint": "UINT"}.get(name.rstrip("0123456789"), "BOOL")
    values = np.array([[1, 0, 1]], dtype=name)
    result = client.infer("flights", [make_input("rows", values, datatype + name.lstrip("abcdefghijklmnopqrstuvwxyz"))])
    np.testing.assert_array_equal(result.as_numpy("probability"), [[np.float64(2) / 3]])


@pytest.mark.parametrize("binary", [False, True])
def test_strings_are_answered(client, binary):
    inputs = [
        make_input("size", np.array([4, 5]), "INT64", binary=binary),
        make_input("carrier", np.array(["WN", "AA"], dtype=np.object_), "BYTES", binary=binary),
    ]
    np.testing.assert_array_equal(client.infer("mixed", inputs).as_numpy("score"), [[3.0], [2.5]])


def test_requests_may_be_concurrent(client):
    many = triton.InferenceServerClient(ADDRESS, concurrency=4)
    waiting = [many.async_infer("flights", columns(), request_id=str(number)) for number in range(20)]
    assert [request.get_result().get_response()["id"] for request in waiting] == [str(number) for number in range(20)]
    many.close()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (columns()[:2], "column 'c' is missing"),
        ([make_input("rows", np.ones((1, 2)), "FP64")], "expected [n, 3]"),
        ([make_input("rows", np.ones((1, 3), dtype=np.object_), "BYTES")], "holds the string '1'"),
    ],
)
def test_a_wrong_request_is_an_error_with_the_servers_message(client, inputs, message):
    with pytest.raises(InferenceServerException, match="400") as error:
        client.infer("flights", inputs)
    assert message in str(error.value)


def test_statistics_grow_with_requests(client):
    before = client.get_inference_statistics("flights")["model_stats"][0]
    client.infer("flights", columns())
    after = client.get_inference_statistics("flights")["model_stats"][0]
    assert after["inference_count"] - before["inference_count"] == 2
    assert after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"] == 1
    assert len(client.get_inference_statistics()["model_stats"]) == 2


def test_only_an_operator_loads_and_unloads(client):
    for change in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException, match="401"):
            change("mixed")
    client.unload_model("mixed", headers=OPERATOR)
    assert {model["name"]: model["state"] for model in client.get_model_repository_index()} == {
        "flights": "READY",
        "mixed": "UNAVAILABLE",
    }
    client.load_model("mixed", headers=OPERATOR)
    assert client.is_model_ready("mixed")
