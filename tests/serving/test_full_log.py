"""Over HTTP JSON, HTTP binary and gRPC: more rows than the log can take at once are all answered, and all logged."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from running import Peer, Running, loaded, open_authenticator, request, serving
from tests.serving.flushed_log import log_writer, worker_log
from tests.serving.test_grpc import Caller

from headway.monitoring.prediction_log import read_predictions
from headway.serving.auth.keys import digest
from headway.serving.grpc.transport import open_grpc
from headway.serving.settings.serve import ServeSection
from headway.serving.telemetry.prediction_log import LogBuffers

ECHO = loaded()
INFER = "/v2/models/flights/infer"
ROWS, REQUESTS = 32, 40
Send = Callable[[Running, str, int], list[list[float]]]


def by_json(server: Running, caller: str, count: int) -> list[list[float]]:
    """Send requests with JSON bodies, and return the outputs."""
    sent = [request(INFER, body(f"{caller}-{number}")) for number in range(count)]
    with Peer(server) as peer:
        return [peer.send_bytes(content).read_answer().values for content in sent]


def by_binary(server: Running, caller: str, count: int) -> list[list[float]]:
    """Send requests with raw values, and return the outputs."""
    tensor = {"name": "rows", "datatype": "FP64", "shape": [ROWS, 3], "parameters": {"binary_data_size": 24 * ROWS}}
    found = []
    with Peer(server) as peer:
        for number in range(count):
            head = json.dumps({"inputs": [tensor], "parameters": {"key": f"{caller}-{number}"}}).encode()
            headers = [f"Inference-Header-Content-Length: {len(head)}"]
            peer.send_bytes(request(INFER, head + values().tobytes(), headers=headers))
            found.append(peer.read_answer().values)
    return found


def by_grpc(server: Running, caller: str, count: int) -> list[list[float]]:
    """Send requests over gRPC, and return the outputs."""
    opened = open_grpc(server.inside, "127.0.0.1", 0)
    found = []
    with grpc.insecure_channel(opened.address.removeprefix("grpc://")) as channel:
        for number in range(count):
            response = Caller(channel).ask(
                "ModelInfer",
                model_name="flights",
                inputs=[{"name": "rows", "datatype": "FP64", "shape": [ROWS, 3]}],
                raw_input_contents=[values().tobytes()],
                parameters={"key": {"string_param": f"{caller}-{number}"}},
            )
            found.append(np.frombuffer(response.raw_output_contents[0]).tolist())
    opened.close(2)
    return found


def values() -> np.ndarray:
    """Return the rows of a request."""
    return np.arange(3.0 * ROWS).reshape(ROWS, 3)


def body(key: str) -> bytes:
    """Return a JSON body with a key."""
    tensor = {"name": "rows", "datatype": "FP64", "shape": [ROWS, 3], "data": values().ravel().tolist()}
    return json.dumps({"inputs": [tensor], "parameters": {"key": key}}).encode()


def wait_until(server: Running, true: Callable[[], bool]) -> None:
    """Wait until something is true on the server's loop."""
    while not server.within(true):
        pass


@pytest.fixture
def full_log(tmp_path) -> Iterator[tuple[Running, Callable[[], None]]]:
    """Serve with a log of 16 KB whose log writer works until the function is called."""
    buffers, stop = LogBuffers(1, 16_384), threading.Event()
    log, writer = worker_log(buffers), log_writer(tmp_path, buffers)

    def write() -> None:
        while not stop.wait(0.001):
            writer.write()

    thread = threading.Thread(target=write)
    with serving(ECHO, log=log) as server:
        thread.start()

        def finish() -> None:
            stop.set()
            thread.join(10)
            writer.write()

        yield server, finish
        finish()


@pytest.mark.slow
def test_every_row_is_answered_and_logged_over_all_transports_at_once(tmp_path, full_log):
    server, finish = full_log
    kinds = {"json": by_json, "binary": by_binary, "grpc": by_grpc}
    with ThreadPoolExecutor(12) as pool:
        running = {
            f"{kind}{number}": pool.submit(send, server, f"{kind}{number}", REQUESTS)
            for kind, send in kinds.items()
            for number in range(4 if kind != "grpc" else 1)
        }
    expected = values().mean(axis=1).tolist()
    assert all(answers.result() == [expected] * REQUESTS for answers in running.values())
    finish()
    rows = read_predictions(tmp_path, "flights", [ECHO.digest])
    assert len(rows) == len(running) * REQUESTS * ROWS
    assert set(rows["key"]) == {f"{caller}-{number}" for caller in running for number in range(REQUESTS)}
    assert not server.plane.metrics.lost and not server.plane.metrics.dropped


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_a_key_that_floods_a_full_log_gets_429_and_another_key_does_not(tmp_path, transport):
    buffers = LogBuffers(1, 8_192)
    key = '[{0}]\nsha256 = "{1}"\nscopes = ["predict"]\nmade = ""\n'
    keys = "".join(key.format(name, digest(name.encode()).hex()) for name in ("flood", "other"))
    (tmp_path / "keys.toml").write_text(keys)
    auth = open_authenticator(tmp_path / "keys.toml", ServeSection())
    log, writer = worker_log(buffers, log_wait_s=1e9), log_writer(tmp_path, buffers)
    with serving(ECHO, log=log, authenticator=auth, max_queue_rows=10 * ROWS) as server, Peer(server) as flood:
        headers = ["Authorization: Bearer flood"]
        sent = [request(INFER, body(f"f-{number}"), headers=headers) for number in range(60)]
        flood.send_bytes(b"".join(sent[:10]))
        wait_until(server, lambda: server.plane.congested)
        flood.send_bytes(b"".join(sent[10:]))
        wait_until(server, lambda: server.plane._queue.rows == 10 * ROWS)
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(ask_as, "other", server, transport)
            wait_until(server, lambda: len(server.plane._queue._calls) == 2)
            while not other.done():
                writer.write()
            assert other.result() == values().mean(axis=1).tolist()
        while server.within(lambda: server.plane.congested):
            writer.write()
        statuses = [flood.read_answer().status for _ in range(60)]
    writer.write()
    # Answered: 1 to 10 that came before the log was full, and 9 of the queue, of which 1 made room for the other key.
    assert set(statuses) == {200, 429} and 41 <= statuses.count(429) <= 50
    rows = read_predictions(tmp_path, "flights", [ECHO.digest])
    assert len(rows) == ROWS * (statuses.count(200) + 1)


def ask_as(key: str, server: Running, transport: str) -> list[float]:
    """Send one request with an API key, and return its outputs."""
    if transport == "http":
        with Peer(server) as peer:
            peer.send_bytes(request(INFER, body("o"), headers=[f"Authorization: Bearer {key}"]))
            return peer.read_answer().values
    opened = open_grpc(server.inside, "127.0.0.1", 0)
    with grpc.insecure_channel(opened.address.removeprefix("grpc://")) as channel:
        response = Caller(channel).ask(
            "ModelInfer",
            metadata=(("authorization", f"Bearer {key}"),),
            model_name="flights",
            inputs=[{"name": "rows", "datatype": "FP64", "shape": [ROWS, 3]}],
            raw_input_contents=[values().tobytes()],
        )
    opened.close(2)
    return np.frombuffer(response.raw_output_contents[0]).tolist()
