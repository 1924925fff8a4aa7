"""`headway predict`: what it prints, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.batch.scoring import LIVE, number_table, scoring_project, write_table

from headway.batch.scorer import Progress
from headway.cli import main as cli
from headway.cli.commands.predict import name_crash, only_python_writes_errors


def ended(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main(["predict", *map(str, arguments)])
    return int(str(end.value.code))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Return a file of ten rows next to a project."""
    scoring_project(tmp_path)
    return write_table(number_table(10), tmp_path / "rows.csv")


@pytest.mark.slow
def test_it_prints_rows_and_release(rows, capsys):
    assert ended(LIVE, rows, rows.with_name("scores.csv"), "--project", rows.parent, "--keep", "key", "a") == cli.PASS
    assert capsys.readouterr().out.startswith("10 rows of rows.csv scored by flights sha256:")
    assert rows.with_name("scores.csv").read_text().startswith("row,key,a,probability,decision\n0,k-0,")


@pytest.mark.slow
def test_json_is_the_stored_receipt(rows, capsys):
    out = rows.with_name("scores.csv")
    assert ended(LIVE, rows, out, "--project", rows.parent, "--json") == cli.PASS
    receipt = msgspec.json.decode(out.with_name("scores.csv.receipt.json").read_bytes())["record"]
    assert msgspec.json.decode(capsys.readouterr().out) == receipt


@pytest.mark.slow
def test_refused_rows_exit_with_1(rows, capsys):
    rows.write_text("a,b,c\n1,2,3\n1,2,x\n")
    assert ended(LIVE, rows, rows.with_name("scores.csv"), "--project", rows.parent) == cli.FAIL
    assert "1 rows rejected, scored as null (c 1)" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(("words", "message"), [(["--threads", "-1"], "-1 threads"), (["--keep", "no"], "column 'no'")])
def test_invalid_arguments_exit_with_2(words, message, rows, capsys):
    out = rows.with_name("scores.csv")
    assert ended(LIVE, rows, out, "--project", rows.parent, *words) == cli.USAGE
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("of_system", [True, False])
def test_a_backtrace_of_a_library_is_not_printed_and_messages_of_headway_are(of_system, capfd, monkeypatch):
    with open(2, "w", encoding="utf-8", closefd=False) as system:
        monkeypatch.setattr(sys, "stderr", system if of_system else sys.stderr)
        with only_python_writes_errors():
            os.write(2, b"thread '<unnamed>' panicked\n")
            sys.stderr.write("9 rows, 1 s left\n")
        sys.stderr.write("after\n")
        sys.stderr.flush()
    assert capfd.readouterr().err == "9 rows, 1 s left\nafter\n"


@pytest.mark.slow
def test_text_is_made_safe_for_spreadsheets(rows):
    rows.write_text("a,b,c,key\n1,2,3,=1+1\n")
    out = rows.with_name("scores.csv")
    words = ("--keep", "key", "--spreadsheet-safe")
    assert ended(LIVE, rows, out, "--project", rows.parent, *words) == cli.PASS
    assert out.read_text().splitlines()[1].startswith("0,'=1+1,")


CRASH = """
import os, sys
from pathlib import Path
from headway.batch.scorer import Progress
from headway.cli.commands.predict import name_crash
with name_crash(Path("rows.parquet")) as report:
    report(Progress(rows=65536, refused=0, share=0.5, run_rows=65536, seconds=1.0))
    if sys.argv[1] == "abort":
        os.abort()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "message"), [("abort", "the process died while it read rows.parquet, from row 65536 on"), ("end", "")]
)
def test_a_process_that_dies_names_the_file_and_the_row(how, message):
    run = subprocess.run([sys.executable, "-c", CRASH, how], capture_output=True, text=True, check=False)
    assert run.stderr.partition("\n")[0] == message and (run.returncode == 0) == (how == "end")


def test_a_run_ends_although_the_process_that_waits_for_it_was_killed(monkeypatch):
    monkeypatch.setattr("headway.cli.commands.predict._WATCHER", "raise SystemExit")
    with name_crash(Path("rows.parquet")) as report:
        report(Progress(rows=1, refused=0, share=0.5, run_rows=1, seconds=1.0))
