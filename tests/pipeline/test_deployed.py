"""The container and systemd files of docs/serving.md: their commands run unchanged, and their readers accept them."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.house.pages import code_blocks
from tests.ports import free_port
from tests.serving.running import TESTS, project, release

from headway.serving.auth.keys import create_key

pytestmark = pytest.mark.slow
(DOCKERFILE,) = code_blocks("docs/serving.md", "dockerfile")
(POD,) = code_blocks("docs/serving.md", "yaml")
(UNIT,) = code_blocks("docs/serving.md", "ini")
INSTRUCTIONS = re.findall(r"^([A-Z]+) (.+)$", DOCKERFILE, re.MULTILINE)
ORDER = ["FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "EXPOSE", "HEALTHCHECK", "CMD"]
PROBES = re.findall(r"\w+Probe: \{httpGet: \{path: (\S+), port: 8080\}", POD)


def argument_of(instruction: str) -> str:
    """Return the argument of the only instruction with this name."""
    [found] = [rest for name, rest in INSTRUCTIONS if name == instruction]
    return str(found)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def project_folder(tmp_path: Path) -> Path:
    """Return a project with a live release and a key, as on the page."""
    project(tmp_path, release(name="deliveries"))
    create_key(tmp_path / "keys.toml", "billing", ["predict"])
    return tmp_path


@pytest.fixture
def image_folder(project_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the content of the image, with the store as its volume."""
    folder = tmp_path_factory.mktemp("image")
    *files, _ = argument_of("COPY").split()
    for name in files:
        shutil.copy(project_folder / name, folder)
    shutil.copytree(project_folder / ".headway", folder / ".headway")
    return folder


@contextmanager
def running(words: Sequence[str], folder: Path, port: int, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command of the page that serves; yield its process once it listens."""
    found = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {
        **os.environ,
        **variables,
        "PATH": found,
        "PYTHONPATH": str(TESTS / "outside"),
        "HEADWAY_SERVE_PORT": str(port),
    }
    process = subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and "listening on" in process.stdout.readline()
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def is_healthy(port: int, words: Sequence[str]) -> bool:
    """Return the result of the health check of the image."""
    check = [sys.executable if word == "python" else word.replace("8080", str(port)) for word in words]
    return subprocess.run(check, check=False, capture_output=True).returncode == 0


def test_the_image_holds_no_private_key_and_its_command_serves_until_sigterm(image_folder, port):
    assert [name for name, _ in INSTRUCTIONS] == ORDER and argument_of("RUN").split()[-1] == "headway"
    assert not list(image_folder.glob("**/*.pem"))
    words = json.loads(argument_of("HEALTHCHECK").removeprefix("CMD "))
    name, _, value = argument_of("ENV").partition("=")
    with running(json.loads(argument_of("CMD")), image_folder, port, **{name: value}) as process:
        assert is_healthy(port, words)
    assert process.returncode == 0
    assert not is_healthy(port, words)


def test_the_probes_of_the_pod_return_200(image_folder, port):
    assert len(PROBES) == 2
    with running(json.loads(argument_of("CMD")), image_folder, port):
        for path in PROBES:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
                line.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                assert line.recv(100).startswith(b"HTTP/1.1 200 ")


def test_the_command_of_the_systemd_unit_serves_in_its_folder(project_folder, port):
    words = re.search(r"^ExecStart=/opt/headway/bin/(.+)$", UNIT, re.MULTILINE)[1].split()
    with running(words, project_folder, port) as process:
        pass
    assert process.returncode == 0


def test_the_systemd_unit_is_valid_and_sandboxes_the_server(tmp_path):
    unit = tmp_path / "headway.service"
    unit.write_text(UNIT.replace("/opt/headway/bin/headway", str(Path(sys.executable).parent / "headway")))
    settings = configparser.ConfigParser(strict=True, interpolation=None)
    settings.optionxform = str
    settings.read_string(UNIT)
    assert set(settings) == {"DEFAULT", "Unit", "Service", "Install"}
    assert settings["Service"]["ReadWritePaths"] == settings["Service"]["WorkingDirectory"] + "/.headway"
    # If systemd is installed, it must know every setting and rate the exposure at most 2 of 10.
    for words in (
        (("verify",), ("security", "--offline=yes", "--threshold=20")) if shutil.which("systemd-analyze") else ()
    ):
        run = subprocess.run(["systemd-analyze", *words, str(unit)], check=False, capture_output=True, text=True)
        assert (run.returncode, run.stderr) == (0, ""), run.stdout
