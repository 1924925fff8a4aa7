"""The command that erases personal data, by key, by age, and while a server logs."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import threading
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from tests.serving.running import project, started

from headway.cli import main as cli
from headway.core.training import ShadowModel, TrainingTask
from headway.core.variant import Artifact, Signature, Variant
from headway.registry.project import open_project
from headway.serving.client import Client
from headway.storage import traffic

pytestmark = pytest.mark.slow

SECRET = "ada-7d1f@example.org"
ROW = {name: [3.0] for name in "abc"}


def run(capsys: pytest.CaptureFixture[str], folder: Path, *words: str, code: int = cli.PASS) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main(["erase", *words, "--project", str(folder)])
    shown = capsys.readouterr()
    assert ended.value.code == code, shown
    return shown.out + shown.err


def logging_project(folder: Path) -> Path:
    """Write a project named flights with its own hash key."""
    project(folder)
    file = folder / "headway.toml"
    own = '[project]\nname = "flights"\n[personal]\nkey = "keys/hash.key"\n'
    file.write_text(f"{own}{file.read_text()}log_flush_s = 0.1\n")
    return folder


def with_bytes(folder: Path, key: str) -> list[str]:
    return subprocess.run(["grep", "-rlaF", key, str(folder)], capture_output=True, text=True).stdout.split()


def answered(address: str, keys: list[str], until: threading.Event | None = None) -> int:
    """Send one request for each key, or repeatedly until the event is set; return the number of answers."""
    count = 0
    with Client(address) as client:
        while not (until and until.is_set()):
            for key in keys:
                assert client.infer("flights", ROW, key=key)[0, 0] == 3.0
                count += 1
            if until is None:
                break
    return count


def test_erasing_while_a_server_logs_removes_every_byte_of_the_key_and_no_other_row(tmp_path, capsys):
    folder = logging_project(tmp_path)
    server = started(folder, "flights@live")
    try:
        address = server.stdout.readline().split()[2]
        own_rows, stop, others = answered(address, [SECRET] * 50), threading.Event(), []
        caller = threading.Thread(target=lambda: others.append(answered(address, ["bob", "eve"], stop)))
        caller.start()
        output = run(capsys, folder, SECRET, "--why", "asked", "--json")
        stop.set()
        caller.join()
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=20)

    result = json.loads(output)
    assert {erased["location"]: erased["rows"] for erased in result["erased"]} == {"log/flights": own_rows}
    assert (result["residuals"], with_bytes(folder, SECRET)) == ([], [])
    rows = [row for path in traffic.all_segments(folder / ".headway") for row in pl.read_ipc_stream(path)["key"]]
    assert others[0] > 100 and Counter(rows) == {"bob": others[0] // 2, "eve": others[0] // 2}


def test_a_key_is_read_from_stdin_and_residual_copies_are_reported(tmp_path, capsys, monkeypatch):
    folder = logging_project(tmp_path)
    variant = Variant(
        artifact=Artifact(digest="sha256:1", format="txt", size_bytes=1), engine="echo", signature=Signature(inputs=())
    )
    task = TrainingTask(features=("hour",), seed=0, half=0)
    open_project(folder).save(ShadowModel(key="sha256:2", task=task, model=variant, seconds=0.1))
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{SECRET}\n"))
    output = run(capsys, folder, "--stdin", "--who", "ann", code=cli.FAIL)
    assert "the key is unknown: nothing in the store had it" in output
    assert "0 rows of the key with hash" in output and "by ann" in output and SECRET not in output
    assert "  no row matched\n  every file of the store was read afterwards: none contains the key\n" in output
    assert "signed releases made before: 1; their models keep what they learned from these rows until" in output
    assert "shadow models of privacy attacks that stay in the store: 1" in output


def test_a_key_that_a_release_contains_remains_and_the_exit_code_is_undecided(tmp_path, capsys):
    output = run(capsys, logging_project(tmp_path), "echo", code=cli.UNDECIDED)
    assert "REMAINS" in output and "in releases: a signed release that can be rolled back to contains it" in output


def test_without_a_key_the_retention_of_the_project_sets_the_age(tmp_path, capsys):
    folder = logging_project(tmp_path)
    assert "no key and no age is given, so nothing is erased" in run(capsys, folder, code=cli.USAGE)
    file = folder / "headway.toml"
    file.write_text(file.read_text().replace("[personal]", '[personal]\nretention = "90d"'))
    assert "0 rows older than 20" in run(capsys, folder)
    assert "1  20" in run(capsys, folder, "--proofs")


def test_proofs_are_empty_without_erasures(tmp_path, capsys):
    assert run(capsys, logging_project(tmp_path), "--proofs") == "nothing has been erased\n"
