"""Rows that a device's server forwards to another headway server: who answers, what is kept, and servers that fail."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from answer_plans import selective_model
from running import MIXED, Running, ask, loaded, serving

from headway.evaluation.settings.answer import AnswerSection, RemoteStage
from headway.serving.answering.connections import Endpoint, EndpointConnections
from headway.serving.loading import LoadedModel
from headway.storage import traffic

BOTH = ("remote", "people")
OTHER = f"sha256:{'0' * 64}"
SURE, UNSURE = {"a": 0.9, "b": 0.9, "c": 0.9}, {"a": 0.6, "b": 0.6, "c": 0.6}


def certified_cloud(**fields: object) -> LoadedModel:
    """Load a model that answers every row, with a certificate for those that the device forwards."""
    own = {"forwarded_by": selective_model(stages=BOTH).digest, "thresholds": {"0": 0.0, "1": 0.0}}
    return selective_model(**own | fields)


@contextmanager
def device(folder, url: str, *, model: str = "flights", **settings: object) -> Iterator[Running]:
    """Serve a model that answers rows with a mean of at least .8, and forwards the others to a URL."""
    stage = RemoteStage(url=url, protocol="headway", model=model, deadline_s=20.0)
    section = AnswerSection(**{"remote": stage, **settings})
    with serving(selective_model(stages=BOTH), answer=section, state=folder) as server:
        yield server


def answer(server: Running, row: dict[str, float], key: str = "a-1") -> dict[str, object]:
    found = ask(server, "/v2/models/flights/answer", json.dumps({"row": row, "key": key}).encode())
    assert found.status == 200
    return found.json


def outcome(server: Running, row: dict[str, float]) -> tuple[object, ...]:
    found = answer(server, row)
    return found["answered_by"], found["answer"], found["status"], found.get("remote", "")


def metrics(server: Running) -> str:
    return ask(server, "/metrics").body.decode()


def test_a_row_of_which_the_device_is_not_certain_is_answered_by_the_other_server(tmp_path):
    with serving(certified_cloud()) as cloud, device(tmp_path, cloud.address) as edge:
        assert outcome(edge, SURE) == ("model", "1", "answered", "")
        assert cloud.plane.metrics.total("flights").requests == 0
        assert outcome(edge, UNSURE) == ("remote", "1", "answered", "")
        text = metrics(edge)
    (stored,) = traffic.labels_of(tmp_path, "flights", "a-1")
    assert (stored.label, stored.who) == (1.0, "remote")
    assert 'headway_answer_responses_total{model="flights",answered_by="model",status="answered"} 1' in text
    assert 'headway_answer_responses_total{model="flights",answered_by="remote",status="answered"} 1' in text


@pytest.mark.parametrize("cloud_model", [loaded(), *(certified_cloud(forwarded_by=digest) for digest in ("", OTHER))])
def test_an_answer_without_a_certificate_for_the_forwarded_rows_is_uncertified(tmp_path, cloud_model):
    with serving(cloud_model) as cloud, device(tmp_path, cloud.address) as edge:
        assert outcome(edge, UNSURE) == ("remote", "1", "uncertified", "")
        assert 'status="answered"' not in metrics(edge)
    assert traffic.labels_of(tmp_path, "flights", "a-1") == [], "later it would be taken for an answer"


@pytest.mark.parametrize(("absent", "expected"), [("hold", ("", "held")), ("uncertified", ("1", "uncertified"))])
def test_what_the_other_server_does_not_answer_is_never_counted_as_answered(tmp_path, absent, expected):
    with serving(selective_model()) as cloud, device(tmp_path, cloud.address, absent=absent) as edge:
        assert outcome(edge, UNSURE) == ("people", *expected, "abstained")
        text = metrics(edge)
    assert traffic.labels_of(tmp_path, "flights", "a-1") == []
    assert 'headway_remote_calls_total{result="abstained"} 1' in text
    assert f'answered_by="people",status="{expected[1]}"}} 1' in text and 'status="answered"' not in text


def test_rows_that_the_other_server_refuses_do_not_turn_it_off(tmp_path):
    with serving(loaded(signature=MIXED)) as cloud, device(tmp_path, cloud.address) as edge:
        assert [outcome(edge, UNSURE)[3] for _ in range(6)] == ["refused"] * 6


def test_a_server_that_is_gone_is_asked_five_times_and_the_device_goes_on(tmp_path):
    with serving(certified_cloud()) as cloud:
        pass
    with device(tmp_path, cloud.address) as edge:
        assert [outcome(edge, UNSURE)[3] for _ in range(6)] == ["unreachable"] * 5 + ["circuit_open"]
        assert outcome(edge, SURE) == ("model", "1", "answered", "")


def test_a_server_without_the_model_has_failed(tmp_path):
    with serving(certified_cloud()) as cloud, device(tmp_path, cloud.address, model="other") as edge:
        assert outcome(edge, UNSURE)[3] == "status"


def test_a_connection_is_kept_and_a_new_one_is_made_once_the_server_closed_it(tmp_path):
    with serving(certified_cloud()) as cloud, device(tmp_path, cloud.address) as edge:
        for _ in range(3):
            assert outcome(edge, UNSURE)[0] == "remote"
        assert cloud.within(lambda: len(cloud.listener._state.connections)) == 1
        cloud.later(3600.0)
        assert outcome(edge, UNSURE)[0] == "remote"


def test_rows_that_are_forwarded_at_once_are_answered_each_by_its_own_response(tmp_path):
    with serving(certified_cloud()) as cloud, device(tmp_path, cloud.address) as edge, ThreadPoolExecutor(8) as pool:
        rows = [{"a": mean, "b": mean, "c": mean} for mean in (0.15, 0.7) * 16]
        found = list(pool.map(lambda case: answer(edge, case[1], f"k-{case[0]}"), enumerate(rows)))
    assert [one["answered_by"] for one in found] == ["remote"] * 32
    assert [one["answer"] for one in found] == ["0", "1"] * 16
    assert [one["key"] for one in found] == [f"k-{index}" for index in range(32)]
    assert {traffic.labels_of(tmp_path, "flights", f"k-{index}")[0].label for index in range(0, 32, 2)} == {0.0}


def body(key: str) -> bytes:
    return json.dumps({"answer": "1", "status": "answered", "key": key}).encode()


@contextmanager
def scripted_server(*connections: tuple[bytes, str]) -> Iterator[int]:
    """Answer one request of each connection with these bytes, and end the connection by `close` or `reset`."""
    listening = socket.create_server(("127.0.0.1", 0))

    def answer_request(connection: socket.socket, reply: bytes) -> None:
        with connection.makefile("rb") as stream:
            head = b"".join(iter(stream.readline, b"\r\n"))
            length = next(line for line in head.splitlines() if line.startswith(b"Content-Length"))
            stream.read(int(length.split(b":")[1]))
            connection.sendall(reply)

    def run() -> None:
        for reply, end in connections:
            connection, _ = listening.accept()
            with connection:
                answer_request(connection, reply)
                linger = struct.pack("ii", 1, 0)
                if end == "reset":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        thread.join(10)
        listening.close()


def kept(content: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_kept_connection_that_ended_is_replaced_by_a_new_one(end):
    with scripted_server((kept(b"first"), end), (kept(b"second"), "close")) as port:

        async def run() -> list[tuple[int, bytes]]:
            connections = EndpointConnections(Endpoint("127.0.0.1", port, "/", False), keeps=True)
            found = [await connections.post(b"{}"), await connections.post(b"{}")]
            connections.close()
            return found

        assert asyncio.run(run()) == [(200, b"first"), (200, b"second")]


def test_a_response_to_another_row_is_none(tmp_path):
    with scripted_server((kept(body("other")), "close")) as port, device(tmp_path, f"http://127.0.0.1:{port}") as edge:
        assert outcome(edge, UNSURE) == ("people", "", "held", "malformed")
