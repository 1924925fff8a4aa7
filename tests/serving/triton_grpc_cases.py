"""The client of Triton over gRPC, unchanged, against the server at HEADWAY_GRPC, whose operator has HEADWAY_KEY."""

from __future__ import annotations

import os
from queue import SimpleQueue

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

OPERATOR = {"authorization": f"Bearer {os.environ['HEADWAY_KEY']}"}
ROWS = np.array([[1.0, 2.0, 6.0], [3.0, 3.0, 3.0]])


@pytest.fixture
def client():
    made = triton.InferenceServerClient(os.environ["HEADWAY_GRPC"].removeprefix("grpc://"))
    yield made
    made.close()


def make_input(name: str, values: np.ndarray, datatype: str) -> triton.InferInput:
    made = triton.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values)
    return made


def columns() -> list[triton.InferInput]:
    return [make_input(name, ROWS[:, at], "FP64") for at, name in enumerate("abc")]


def test_the_server_and_the_model_are_live_ready_and_described(client):
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("flights")
    assert client.get_server_metadata().name == "headway"
    version = client.get_model_metadata("flights").versions[0]
    assert client.is_model_ready("flights", version)
    assert client.get_model_config("mixed", as_json=True)["config"]["input"][1]["data_type"] == "TYPE_STRING"


def test_rows_are_answered(client):
    outputs = [triton.InferRequestedOutput("probability")]
    result = client.infer("flights", columns(), outputs=outputs, request_id="7", parameters={"key": "a-1"})
    np.testing.assert_array_equal(result.as_numpy("probability"), [[3.0], [3.0]])
    assert result.get_response().id == "7"


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "int8", "int64", "uint8", "uint32", "bool"])
def test_a_matrix_of_each_type_is_answered(client, name):
    datatype = {"float": "FP", "int": "INT", "uint": "UINT"}.get(name.rstrip("0123456789"), "BOOL")
    values = np.array([[1, 0, 1]], dtype=name)
    result = client.infer("flights", [make_input("rows", values, datatype + name.lstrip("abcdefghijklmnopqrstuvwxyz"))])
    np.testing.assert_array_equal(result.as_numpy("probability"), [[np.float64(2) / 3]])


def test_strings_are_answered(client):
    inputs = [
        make_input("size", np.array([4, 5]), "INT64"),
        make_input("carrier", np.array(["WN", "AA"], dtype=object), "BYTES"),
    ]
    np.testing.assert_array_equal(client.infer("mixed", inputs).as_numpy("score"), [[3.0], [2.5]])


def test_requests_may_be_concurrent(client):
    answers: SimpleQueue = SimpleQueue()
    for number in range(50):
        variables = {"callback": lambda result, error: answers.put((result, error)), "request_id": str(number)}
        client.async_infer("flights", columns(), **variables)
    results = [answers.get(timeout=60) for _ in range(50)]
    assert {error for _, error in results} == {None}
    assert {result.get_response().id for result, _ in results} == {str(number) for number in range(50)}


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (columns()[:2], "column 'c' is missing"),
        ([make_input("rows", np.ones((1, 2)), "FP64")], "expected [n, 3]"),
        ([make_input("rows", np.ones((1, 3), dtype=np.object_), "BYTES")], "holds the string '1'"),
    ],
)
def test_a_wrong_request_is_an_error_with_the_servers_message(client, inputs, message):
    with pytest.raises(InferenceServerException, match="INVALID_ARGUMENT") as error:
        client.infer("flights", inputs)
    assert message in str(error.value)


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(InferenceServerException, match="NOT_FOUND"):
        client.infer("hotels", columns())


def test_statistics_grow_with_requests(client):
    before = client.get_inference_statistics("flights").model_stats[0]
    client.infer("flights", columns())
    after = client.get_inference_statistics("flights").model_stats[0]
    assert after.inference_count - before.inference_count == 2
    assert after.inference_stats.success.count - before.inference_stats.success.count == 1
    assert len(client.get_inference_statistics().model_stats) == 2


def test_only_an_operator_loads_and_unloads(client):
    for change in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException, match="UNAUTHENTICATED"):
            change("mixed")
    client.unload_model("mixed", headers=OPERATOR)
    assert {model.name: model.state for model in client.get_model_repository_index().models} == {
        "flights": "READY",
        "mixed": "UNAVAILABLE",
    }
    client.load_model("mixed", headers=OPERATOR)
    assert client.is_model_ready("mixed")
