"""A server process: verification before it listens, and shutdown."""

from __future__ import annotations

import http.client
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from running import MIXED, body_of, project, release, request, started, with_operator

from headway.core.errors import ConfigError
from headway.core.release import SelfTest
from headway.serving.client import Client
from headway.serving.process import serve, within_memory
from headway.serving.settings.serve import ServeSection

pytestmark = pytest.mark.slow

COLUMNS = {name: [3.0] for name in "abc"}


def model_file(folder: Path) -> Path:
    (file,) = folder.glob(".headway/releases/flights/*/model.echo")
    return file


def served(folder: Path, *references: str, client: Callable[[str], object]) -> tuple[str, object]:
    """Return the announcement of a server process, and the result of a client while it serves."""
    process = started(folder, *references)
    line = process.stdout.readline()
    try:
        return line, client(line.split()[2])
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert process.returncode == 0


def set_in(folder: Path, line: str) -> None:
    """Add a line to [serve], the last section of a project."""
    file = folder / "headway.toml"
    file.write_text(f"{file.read_text()}{line}\n")


def refused(folder: Path, *references: str) -> str:
    """Return the output of a server that does not start and does not listen."""
    process = started(folder, *references)
    out, error = process.communicate(timeout=20)
    assert process.returncode != 0 and out == ""
    return error


def test_a_release_is_served_at_the_announced_address(tmp_path):
    project(tmp_path)

    def ask(address: str) -> float:
        with Client(address) as client:
            return client.infer("flights", COLUMNS)[0, 0]

    line, found = served(tmp_path, "flights@live", client=ask)
    assert line.startswith("listening on http://127.0.0.1:") and " serving flights@live sha256:" in line
    assert found == 3.0


def test_a_release_folder_is_served_and_copied_into_the_store(tmp_path):
    project(tmp_path)
    (release_folder,) = tmp_path.glob(".headway/releases/flights/*")
    folder = shutil.copytree(release_folder, tmp_path / "models")
    shutil.rmtree(tmp_path / ".headway")

    def ask(address: str) -> float:
        with Client(address) as client:
            return client.infer("flights", COLUMNS)[0, 0]

    line, found = served(tmp_path, str(folder), client=ask)
    assert f" serving flights@sha256:{release_folder.name} sha256:{release_folder.name}" in line and found == 3.0
    assert release_folder.is_dir()


def test_a_release_folder_that_was_changed_is_refused(tmp_path):
    project(tmp_path)
    model_file(tmp_path).write_bytes(b"ecHo")
    assert "model.echo was changed" in refused(tmp_path, str(model_file(tmp_path).parent))


def test_several_releases_are_served(tmp_path):
    project(tmp_path, release(), release(name="mixed", signature=MIXED))

    def ask(address: str) -> list[float]:
        with Client(address) as client:
            return [
                client.infer("flights", COLUMNS)[0, 0],
                client.infer("mixed", {"size": [1], "carrier": ["UA"]})[0, 0],
            ]

    line, found = served(tmp_path, "flights@live", "mixed@live", client=ask)
    assert line.count("sha256:") == 2 and found == [3.0, 1.0]


def test_the_limits_are_those_of_the_configuration(tmp_path):
    project(tmp_path)
    set_in(tmp_path, "max_body_bytes = 10")

    def ask(address: str) -> str:
        with Client(address) as client, pytest.raises(Exception, match="more than 10 bytes") as error:
            client.infer("flights", COLUMNS)
        return type(error.value).__name__

    assert served(tmp_path, "flights@live", client=ask)[1] == "DataError"


@pytest.mark.parametrize("references", [(), ("flights@live", "flights@live")])
def test_each_name_has_one_release(tmp_path, references):
    with pytest.raises(ConfigError, match="one release of each name"):
        serve(project(tmp_path), references, announce=print)


def test_an_unknown_pointer_is_an_error_before_the_server_listens(tmp_path):
    project(tmp_path)
    assert "StoreError: no pointer flights@canary" in refused(tmp_path, "flights@canary")


MIB = 1 << 20
FEW = {"max_bodies_mb": 32, "log_buffer_mb": 4, "label_queue_mb": 4, "push_queue_mb": 4}


@pytest.mark.parametrize(
    ("settings", "limit_mib", "workers", "buffers"),
    [
        ({}, None, 8, (16, 128, 16)),
        ({}, 8192, 8, (16, 128, 16)),
        ({}, 256, 2, (5, 46, 5)),
        ({"workers": 4}, 256, 4, (2, 23, 2)),
        ({}, 64, 1, (2, 23, 2)),
        ({"workers": 8, **FEW}, 64, 8, (1, 2, 1)),
        ({"workers": 2, **FEW}, 256, 2, (4, 32, 4)),
    ],
)
def test_workers_and_buffers_stay_within_the_memory_limit_of_a_container(settings, limit_mib, workers, buffers):
    limit = limit_mib and limit_mib * MIB
    fitted = within_memory(ServeSection(**settings), limit, cores=8)
    assert fitted.workers == workers
    assert (fitted.log_buffer_mb, fitted.max_bodies_mb, fitted.label_queue_mb) == buffers


def test_a_server_in_a_small_container_says_what_it_reduced(tmp_path):
    project(tmp_path / "project")
    limits = {"cpu.max": "150000 100000\n", "memory.max": f"{96 * MIB}\n"}
    for name, text in limits.items():
        file = tmp_path / "root/sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    process = started(tmp_path / "project", "flights@live", more=f"root=Path({str(tmp_path / 'root')!r})")
    line = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    error = process.communicate(timeout=20)[1]
    assert line.startswith("listening") and process.returncode == 0
    assert "the memory limit is 96 MiB: workers 1, and for each log_buffer_mb 4" in error


def test_a_stopping_server_answers_for_the_delay_while_it_is_not_ready(tmp_path):
    project(tmp_path)
    set_in(tmp_path, "shutdown_delay_s = 1.0")
    process = started(tmp_path, "flights@live")
    port = int(process.stdout.readline().split()[2].rpartition(":")[2])
    process.send_signal(signal.SIGTERM)
    ready = 200
    while ready == 200:
        ready = status_of(port, "/v2/health/ready")
    assert ready == 503 and status_of(port, "/v2/models/flights/infer", body_of([1.0, 2.0, 3.0])) == 200
    process.communicate(timeout=20)
    assert process.returncode == 0


def status_of(port: int, path: str, body: bytes | None = None) -> int:
    """Return the status of a response on a new connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST" if body else "GET", path, body)
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_used_address_is_an_error_with_a_hint(tmp_path):
    config = project(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = occupied.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}") as error:
            serve(config.having(replace(config[ServeSection], port=port)), ["flights@live"], announce=print)
    assert error.value.hint == "HEADWAY_SERVE_PORT=0 takes a free port"


def test_a_release_that_fails_its_self_test_is_not_served(tmp_path):
    project(tmp_path, release(test=SelfTest(rows=((1.0, 1.0, 1.0),), answers=((2.0,),))))
    error = refused(tmp_path, "flights@live")
    assert "Refused: the release fails its self-test" in error and error.count("Traceback") == 1


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
def test_a_tampered_release_is_refused_at_start_with_the_reason(tmp_path, harm):
    project(tmp_path)
    message = harm(tmp_path)
    assert message in refused(tmp_path, "flights@live")


def test_a_terminated_server_answers_requests_in_flight_and_exits_0(tmp_path):
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
        with pytest.raises(ConnectionError):  # as soon as the last worker has heard of it
            while True:
                socket.create_connection(("127.0.0.1", port)).close()
        half.sendall(data[-10:])
        answer = half.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200") and b"Connection: close" in answer and b'"data":[3.0]' in answer
    assert process.communicate(timeout=60) == ("", "") and process.returncode == 0


def test_an_interrupt_ends_the_server_quietly(tmp_path):
    project(tmp_path)
    process = started(tmp_path, "flights@live")
    assert process.stdout.readline().startswith("listening on ")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "") and process.returncode == 0


def test_an_operator_with_the_configured_key_unloads_and_loads(tmp_path):
    project(tmp_path)
    with_operator(tmp_path, "a-key")

    def ask(address: str) -> list[int]:
        connection, statuses = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60), []
        for word, key in (("unload", "no"), ("unload", "a-key"), ("load", "a-key")):
            path, headers = f"/v2/repository/models/flights/{word}", {"Authorization": f"Bearer {key}"}
            for method, target in (("POST", path), ("GET", "/v2/models/flights/ready")):
                connection.request(method, target, headers=headers)
                response = connection.getresponse()
                statuses.append(response.status)
                response.read()
        connection.close()
        return statuses

    assert served(tmp_path, "flights@live", client=ask)[1] == [401, 200, 200, 404, 200, 200]


def test_unreadable_keys_are_an_error_before_the_server_listens(tmp_path):
    project(tmp_path)
    (tmp_path / "keys.toml").write_text("no keys")
    error = refused(tmp_path, "flights@live")
    assert "ConfigError" in error and "keys.toml" in error
