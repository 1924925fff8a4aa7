"""A server process: what it verifies before it listens, and how it leaves."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from running import MIXED, body_of, project, release, request, started, with_operator

from headway.core.config import Config
from headway.core.errors import ConfigError, Refused, StoreError
from headway.core.release import SelfTest
from headway.serve.client import Client
from headway.serve.process import serve

pytestmark = pytest.mark.slow

COLUMNS = {name: [3.0] for name in "abc"}


def model_file(folder: Path) -> Path:
    (file,) = folder.glob(".headway/releases/flights/*/model.echo")
    return file


def served(config: Config, *references: str, meanwhile: Callable[[str], object]) -> tuple[str, list[object]]:
    """What a server announced, and what a thread found that ran while it served."""
    lines: list[str] = []
    found: list[object] = []

    def run(address: str) -> None:
        try:
            found.append(meanwhile(address))
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def announce(line: str) -> None:
        lines.append(line)
        thread.start()

    thread = threading.Thread(target=lambda: run(lines[0].split()[2]))
    serve(config, references, announce=announce)
    thread.join(10)
    return lines[0], found


def test_a_release_is_served_at_the_address_that_is_announced(tmp_path):
    config = project(tmp_path)

    def ask(address: str) -> float:
        with Client(address) as client:
            return client.infer("flights", COLUMNS)[0, 0]

    line, found = served(config, "flights@live", meanwhile=ask)
    assert line.startswith("listening on http://127.0.0.1:") and " serving flights@live sha256:" in line
    assert found == [3.0]


def test_several_releases_are_served_side_by_side(tmp_path):
    config = project(tmp_path, release(), release(name="mixed", signature=MIXED))

    def ask(address: str) -> list[float]:
        with Client(address) as client:
            return [
                client.infer("flights", COLUMNS)[0, 0],
                client.infer("mixed", {"size": [1], "carrier": ["UA"]})[0, 0],
            ]

    line, found = served(config, "flights@live", "mixed@live", meanwhile=ask)
    assert line.count("sha256:") == 2 and found == [[3.0, 1.0]]


def test_the_limits_are_those_of_the_configuration(tmp_path):
    config = project(tmp_path)
    config = replace(config, serve=replace(config.serve, max_body_bytes=10))

    def ask(address: str) -> str:
        with Client(address) as client, pytest.raises(Exception, match="more than 10 bytes") as error:
            client.infer("flights", COLUMNS)
        return type(error.value).__name__

    assert served(config, "flights@live", meanwhile=ask)[1] == ["DataError"]


@pytest.mark.parametrize("references", [(), ("flights@live", "flights@live")])
def test_each_name_is_answered_by_one_release(tmp_path, references):
    with pytest.raises(ConfigError, match="each name with one release"):
        serve(project(tmp_path), references, announce=print)


def test_a_pointer_that_is_not_there_is_an_error_before_anything_listens(tmp_path):
    with pytest.raises(StoreError, match="no pointer flights@canary"):
        serve(project(tmp_path), ["flights@canary"], announce=print)


def test_an_address_that_is_taken_is_an_error_with_the_mend(tmp_path):
    config = project(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}") as error:
            serve(replace(config, serve=replace(config.serve, port=port)), ["flights@live"], announce=print)
    assert error.value.mend == "HEADWAY_SERVE_PORT=0 takes a free port"


def test_a_release_that_fails_its_self_test_is_not_served(tmp_path):
    config = project(tmp_path, release(test=SelfTest(rows=((1.0, 1.0, 1.0),), answers=((2.0,),))))
    with pytest.raises(Refused, match="fails its self-test"):
        serve(config, ["flights@live"], announce=print)


def changed(folder: Path) -> str:
    model_file(folder).write_bytes(b"ecHo")
    return "model.echo was changed"


def missing(folder: Path) -> str:
    model_file(folder).unlink()
    return "model.echo is missing"


def extra(folder: Path) -> str:
    model_file(folder).with_name("more.txt").write_text("x")
    return "'more.txt' is not a file of this release"


def unknown_key(folder: Path) -> str:
    (folder / "trusted_keys.txt").write_text("")
    return "which is not trusted"


@pytest.mark.parametrize("harm", [changed, missing, extra, unknown_key])
def test_a_tampered_release_is_refused_at_start_with_what_is_wrong(tmp_path, harm):
    project(tmp_path)
    says = harm(tmp_path)
    process = started(tmp_path, "flights@live")
    out, error = process.communicate(timeout=20)
    assert process.returncode != 0 and says in error and out == ""


def test_a_server_that_is_told_to_leave_answers_what_is_in_flight_and_exits_0(tmp_path):
    project(tmp_path)
    process = started(tmp_path, "flights@live")
    address = process.stdout.readline().split()[2]
    port = int(address.rpartition(":")[2])
    data = request(body=body_of([1, 2, 6]))
    with socket.create_connection(("127.0.0.1", port)) as half, socket.create_connection(("127.0.0.1", port)) as idle:
        half.sendall(data[:-10])
        with Client(address) as client:
            client.ready()
        process.send_signal(signal.SIGTERM)
        assert idle.recv(1) == b""  # the server is leaving
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        half.sendall(data[-10:])
        answer = half.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200") and b"Connection: close" in answer and b'"data":[3.0]' in answer
    assert process.communicate(timeout=10) == ("", "") and process.returncode == 0


def test_an_interrupt_ends_it_as_quietly(tmp_path):
    project(tmp_path)
    process = started(tmp_path, "flights@live")
    assert process.stdout.readline().startswith("listening on ")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10) == ("", "") and process.returncode == 0


def test_an_operator_with_the_configured_key_unloads_and_loads(tmp_path):
    config = project(tmp_path)
    with_operator(tmp_path, "a-key")

    def ask(address: str) -> list[int]:
        connection, statuses = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10), []
        for word, key in (("unload", "no"), ("unload", "a-key"), ("load", "a-key")):
            path, headers = f"/v2/repository/models/flights/{word}", {"Authorization": f"Bearer {key}"}
            for method, target in (("POST", path), ("GET", "/v2/models/flights/ready")):
                connection.request(method, target, headers=headers)
                response = connection.getresponse()
                statuses.append(response.status)
                response.read()
        connection.close()
        return statuses

    assert served(config, "flights@live", meanwhile=ask)[1] == [[401, 200, 200, 404, 200, 200]]
