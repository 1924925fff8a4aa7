"""The clients of KServe, unchanged, against the server at HEADWAY_ADDRESS, and at HEADWAY_GRPC over gRPC."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import httpx
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import InferResponse, RequestedOutput

ADDRESS = os.environ["HEADWAY_ADDRESS"]
GRPC = os.environ["HEADWAY_GRPC"].removeprefix("grpc://")


def run_client(ask: Callable[[InferenceRESTClient], Awaitable[object]]) -> object:
    """Return the answer to a new client."""

    async def run() -> object:
        client = InferenceRESTClient(RESTConfig(protocol="v2"))
        try:
            return await ask(client)
        finally:
            await client.close()

    return asyncio.run(run())


def infer(*inputs: InferInput, model: str = "flights", output: str = "probability", binary: bool = False):
    outputs = [RequestedOutput(output, {"binary_data": binary})]
    request = InferRequest(model, list(inputs), request_id="7", request_outputs=outputs)
    return run_client(lambda client: client.infer(ADDRESS, request, model_name=model))


def make_input(name: str, values: np.ndarray, datatype: str, *, binary: bool) -> InferInput:
    made = InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def test_the_server_and_the_model_are_live_and_ready():
    assert run_client(lambda client: client.is_server_live(ADDRESS)) is True
    assert run_client(lambda client: client.is_server_ready(ADDRESS)) is True
    assert run_client(lambda client: client.is_model_ready(ADDRESS, "flights")) is True


@pytest.mark.parametrize("binary_in", [False, True])
@pytest.mark.parametrize("binary_out", [False, True])
def test_rows_are_answered_in_json_and_raw(binary_in, binary_out):
    columns = [
        make_input(name, np.array([at, 3.0]), "FP64", binary=binary_in)
        for at, name in zip((1, 2, 6), "abc", strict=True)
    ]
    answer = infer(*columns, binary=binary_out)
    assert isinstance(answer, InferResponse) and answer.id == "7"
    np.testing.assert_array_equal(answer.outputs[0].as_numpy(), [[3.0], [3.0]])


@pytest.mark.parametrize("binary", [False, True])
def test_rows_are_answered_over_grpc(binary):
    columns = [
        make_input(name, np.array([at, 3.0]), "FP64", binary=binary) for at, name in zip((1, 2, 6), "abc", strict=True)
    ]

    async def run() -> InferResponse:
        client = InferenceGRPCClient(url=GRPC)
        try:
            assert await client.is_server_ready() and await client.is_model_ready("flights")
            return await client.infer(InferRequest("flights", columns, request_id="7"))
        finally:
            await client.close()

    answer = asyncio.run(run())
    assert answer.id == "7"
    np.testing.assert_array_equal(answer.outputs[0].as_numpy(), [[3.0], [3.0]])


@pytest.mark.parametrize("binary", [False, True])
def test_strings_are_answered(binary):
    inputs = [
        make_input("size", np.array([4, 5]), "INT64", binary=binary),
        make_input("carrier", np.array(["WN", "AA"], dtype=np.object_), "BYTES", binary=binary),
    ]
    answer = infer(*inputs, model="mixed", output="score")
    np.testing.assert_array_equal(answer.outputs[0].as_numpy(), [[3.0], [2.5]])


def test_a_wrong_request_is_a_400():
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        infer(make_input("a", np.array([1.0]), "FP64", binary=True))
