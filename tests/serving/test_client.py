"""The client of headway."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from running import MIXED, loaded, serving

from headway.core.errors import ConfigError, DataError, StoreError
from headway.serving.client import Client
from headway.serving.http.connection import ConnectionLimits


@contextmanager
def saying(*answers: bytes) -> Iterator[str]:
    """Yield the address of a server that sends these bytes, one connection each, whatever the request."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            for answer in answers:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(answer)

        thread = threading.Thread(target=run)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join(10)


def http(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def test_predictions_are_an_array_with_nan_for_null(server):
    with Client(server.address) as client:
        answers = client.infer("flights", {"a": [1, 4], "b": [2.0, None], "c": [6, float("nan")]})
    assert answers.dtype == np.float64
    np.testing.assert_array_equal(answers, [[3.0], [np.nan]])


def test_arrays_strings_and_booleans_may_be_sent(server):
    with Client(server.address) as client:
        arrays = {name: np.array([1.5, 2.5], dtype=np.float32) for name in "abc"}
        assert client.infer("flights", arrays).tolist() == [[1.5], [2.5]]
        assert client.infer("mixed", {"size": [True, False], "carrier": ["WN", None]})[0, 0] == 1.5
        assert client.columns("mixed") == client.columns("mixed") == ("size", "carrier")


def test_the_error_has_the_message_of_the_server(server):
    with Client(server.address) as client:
        with pytest.raises(DataError) as error:
            client.infer("flights", {"a": [1], "b": [2]})
        assert error.value.what == "column 'c' is missing; send null where a value is missing"
        with pytest.raises(DataError, match="no model 'other'"):
            client.infer("other", {})


@pytest.mark.slow
def test_a_closed_connection_is_reopened():
    with (
        serving(loaded(), limits=ConnectionLimits(request_s=0.1, idle_s=0.1)) as server,
        Client(server.address) as client,
    ):
        columns = {name: [1] for name in "abc"}
        assert client.infer("flights", columns)[0, 0] == 1
        connection = client._connection.sock
        assert connection.recv(1, socket.MSG_PEEK) == b""  # comes back once the server has closed
        assert client.infer("flights", columns)[0, 0] == 1


def test_an_unreachable_server_is_an_error():
    with saying() as address, Client(address) as client:
        pass
    with pytest.raises(StoreError, match="the server does not answer"):
        client.infer("flights", {})


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", http(200, b"x")[:-1]])
def test_an_invalid_response_is_an_error(answer):
    with saying(answer) as address, Client(address) as client, pytest.raises(StoreError, match="does not answer"):
        client.infer("flights", {})


def test_a_broken_server_is_an_error_of_the_server():
    message = http(500, b'{"error":"a defect"}')
    with saying(message) as address, Client(address) as client, pytest.raises(StoreError, match="a defect"):
        client.infer("flights", {})


def test_an_error_without_a_message_has_its_status():
    message = http(404, b"<html>")
    with saying(message) as address, Client(address) as client, pytest.raises(DataError, match="status 404"):
        client.infer("flights", {})


def test_ready_waits_until_the_server_is_ready():
    with saying(http(503, b'{"ready":false}'), http(200, b'{"ready":true}')) as address, Client(address) as client:
        client.ready()


def test_ready_fails_after_its_time_limit():
    with saying() as address:
        pass
    with Client(address) as client, pytest.raises(StoreError, match=r"not ready after 0\.01 s"):
        client.ready(0.01)


@pytest.mark.parametrize("address", ["127.0.0.1:8080", "ftp://localhost", "http://"])
def test_an_invalid_address_is_rejected(address):
    with pytest.raises(ConfigError, match="invalid server address"):
        Client(address)


def test_a_model_name_may_have_any_characters():
    with serving(loaded(name="my model", signature=MIXED)) as server, Client(server.address) as client:
        assert client.infer("my model", {"size": [4], "carrier": ["AA"]})[0, 0] == 2
