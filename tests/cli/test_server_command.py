"""A server by the command of an image: as by the command line, without the libraries of the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.house.source_tree import ROOT
from tests.serving.running import project

from headway.cli.server_command import read_command

PLAIN, FULL = "-m headway.cli", "-c from headway.cli.main import main; main()"


@pytest.mark.parametrize(
    "words",
    [
        "serve",
        "watch a@live --project b",
        "serve --project b",
        "serve a@live --json --project b",
        "serve a@live --project --help",
        "serve a@live --project b --port x",
        "serve a@live --project b --port",
        "serve a@live --project b --json",
        "serve --help",
        "",
    ],
)
def test_any_other_form_is_left_to_the_command_line(words):
    assert read_command(words.split()) is None


def test_references_project_and_port_are_read():
    command = read_command(["serve", "a@live", "/models", "--project", "b c", "--port", "8080"])
    assert command is not None
    assert (list(command.references), command.project) == (["a@live", "/models"], Path("b c"))
    assert command.flags == {"serve.port": "8080"}


def test_another_command_imports_no_server(tmp_path):
    command = [sys.executable, "-X", "importtime", "-m", "headway.cli", "status", "--project", str(tmp_path)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    imported = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}
    assert "headway.monitoring.overview" in imported
    assert not [name for name in imported if name.startswith("headway.serving.") and ".settings" not in name]


def started(how: str, folder: Path, reference: str = "flights@live") -> subprocess.Popen[str]:
    flag, _, code = how.partition(" ")
    options = ["-X", "importtime"] if how == PLAIN else []
    command = [sys.executable, *options, flag, code, "serve", reference, "--project", str(folder), "--port", "0"]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    around = {**clean, "PYTHONPATH": str(ROOT / "tests/outside")}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=around)


def messages(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("import time:")]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_server_says_the_same_and_ends_with_the_same_code(tmp_path, number, code):
    project(tmp_path)
    printed = {}
    for how in (PLAIN, FULL):
        with started(how, tmp_path) as process:
            assert process.stdout is not None and process.stderr is not None
            first = process.stdout.readline()
            assert first.startswith("listening on http://127.0.0.1:") and " serving flights@live sha256:" in first
            process.send_signal(number)
            text = process.stderr.read()
        assert process.returncode == code
        printed[how] = messages(text)
        if how == PLAIN and number is signal.SIGTERM:
            imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in text.splitlines()}
            assert "numpy" in imported and not imported & {"cyclopts", "rich"}
    assert printed[PLAIN] == printed[FULL]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("none@live", 2), ("flights@live", 1)])
def test_an_error_has_the_message_and_the_code_of_the_command_line(tmp_path, name, code):
    settings = project(tmp_path)
    if code == 1:
        (release,) = (settings.state / "releases/flights").iterdir()
        (release / "model.echo").write_bytes(b"harm")
    ends = []
    for how in (PLAIN, FULL):
        with started(how, tmp_path, name) as process:
            _, text = process.communicate(timeout=60)
        ends.append((process.returncode, messages(text)))
    assert ends[0] == ends[1] and ends[0][0] == code and ends[0][1]
