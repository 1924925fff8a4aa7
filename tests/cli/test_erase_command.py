"""The command that forgets, by a key and by age, and beside a server that logs."""

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
from headway.serving.client import Client
from headway.storage import traffic

pytestmark = pytest.mark.slow

SECRET = "ada-7d1f@example.org"
ROW = {name: [3.0] for name in "abc"}


def run(capsys: pytest.CaptureFixture[str], folder: Path, *words: str, code: int = cli.PASS) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main(["erase", *words, "--project", str(folder)])
    said = capsys.readouterr()
    assert ended.value.code == code, said
    return said.out + said.err


def made(folder: Path) -> Path:
    """A project named flights, whose key of hashes is its own."""
    project(folder)
    file = folder / "headway.toml"
    own = '[project]\nname = "flights"\n[personal]\nkey = "keys/hash.key"\n'
    file.write_text(f"{own}{file.read_text()}log_flush_s = 0.1\n")
    return folder


def with_bytes(folder: Path, key: str) -> list[str]:
    return subprocess.run(["grep", "-rlaF", key, str(folder)], capture_output=True, text=True).stdout.split()


def asked(address: str, keys: list[str], until: threading.Event | None = None) -> int:
    """Ask once with each key, or over and over until told to stop; gives how many answers came."""
    count = 0
    with Client(address) as client:
        while not (until and until.is_set()):
            for key in keys:
                assert client.infer("flights", ROW, key=key)[0, 0] == 3.0
                count += 1
            if until is None:
                break
    return count


def test_beside_a_server_that_logs_no_byte_of_the_key_is_left_and_no_other_row_is_lost(tmp_path, capsys):
    folder = made(tmp_path)
    server = started(folder, "flights@live")
    try:
        address = server.stdout.readline().split()[2]
        mine, stop, others = asked(address, [SECRET] * 50), threading.Event(), []
        caller = threading.Thread(target=lambda: others.append(asked(address, ["bob", "eve"], stop)))
        caller.start()
        said = run(capsys, folder, SECRET, "--why", "asked", "--json")
        stop.set()
        caller.join()
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=20)

    told = json.loads(said)
    assert {each["place"]: each["rows"] for each in told["erased"]} == {"log/flights": mine}
    assert (told["stays"], with_bytes(folder, SECRET)) == ([], [])
    rows = [row for path in traffic.all_segments(folder / ".headway") for row in pl.read_ipc_stream(path)["key"]]
    assert others[0] > 100 and Counter(rows) == {"bob": others[0] // 2, "eve": others[0] // 2}


def test_a_key_may_come_by_stdin_and_what_stays_is_said(tmp_path, capsys, monkeypatch):
    folder = made(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{SECRET}\n"))
    said = run(capsys, folder, "--stdin", "--who", "ann")
    assert "0 rows of the key with hash" in said and "by ann" in said and SECRET not in said
    assert "  no row matched\n  every file of the store was read afterwards: none contains the key\n" in said
    assert "1 signed releases were made before: what a model learned from these rows stays in it until it is" in said


def test_what_a_release_names_is_left_and_the_code_says_so(tmp_path, capsys):
    said = run(capsys, made(tmp_path), "echo", code=cli.UNDECIDED)
    assert "REMAINS" in said and "in releases: a signed release that can be rolled back to contains it" in said


def test_without_a_key_the_retention_of_the_project_says_how_old(tmp_path, capsys):
    folder = made(tmp_path)
    assert "no key and no age is given, so nothing is erased" in run(capsys, folder, code=cli.USAGE)
    file = folder / "headway.toml"
    file.write_text(file.read_text().replace("[personal]", '[personal]\nretention = "90d"'))
    assert "0 rows older than 20" in run(capsys, folder)
    assert "1  20" in run(capsys, folder, "--proofs")


def test_without_erasures_there_is_no_proof(tmp_path, capsys):
    assert run(capsys, made(tmp_path), "--proofs") == "nothing has been erased\n"
