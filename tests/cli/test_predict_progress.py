"""Progress of scoring a file: rows, speed and time left; the summary at the end."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from headway.batch.journal import Receipt, Terms
from headway.batch.scorer import Progress
from headway.cli.commands import predict as command

HALF = Progress(rows=600_000, refused=0, share=0.5, run_rows=400_000, seconds=4.0)
TERMS = Terms(
    name="flights", release="sha256:0a", file="rows.csv", size_bytes=1, changed_ns=1, samples="sha256:1", keep=()
)


def test_progress_shows_rows_speed_of_this_run_and_time_left():
    assert command.progress_line(HALF) == "600,000 rows, 100,000 rows/s, 6 s left"


def test_progress_shows_minutes_and_rejected_rows():
    late = Progress(rows=1000, refused=3, share=0.01, run_rows=1000, seconds=1.0)
    assert command.progress_line(late) == "1,000 rows, 1,000 rows/s, 1 min 39 s left, 3 rejected"


@pytest.mark.parametrize("columns", [{}, {"(row)": 2, "size": 1}])
def test_the_summary_shows_the_release_the_digest_and_the_rejected_rows(columns):
    receipt = Receipt(terms=TERMS, rows=1234, refused=len(columns), columns=columns, digest="sha256:2")
    summary = command.summarize(receipt, Path("scores.csv"))
    assert summary.startswith("1,234 rows of rows.csv scored by flights sha256:0a\nscores.csv has digest sha256:2")
    expected = "\n2 rows rejected, scored as null ((row) 2, size 1): scores.csv.refused.csv" if columns else ""
    assert summary.partition("sha256:2")[2] == expected


def test_a_pipe_gets_a_line_every_ten_seconds():
    lines: list[str] = []
    report = command.in_lines(lines.append)
    for second in range(35):
        report(Progress(rows=1, refused=0, share=0.5, run_rows=1, seconds=second))
    assert len(lines) == 3


def test_a_terminal_gets_a_bar(monkeypatch):
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120)
    monkeypatch.setattr(command, "Console", lambda **_: terminal)
    with command.show_progress() as callback:
        callback(HALF)
    assert "50 % 600,000 rows, 100,000 rows/s" in terminal.file.getvalue()
