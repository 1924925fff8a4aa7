"""Progress of a search: a line in the terminal or the notebook, nothing in a pipe, and the caller's own callback."""

from __future__ import annotations

import io
import sys
import types

import pytest
from rich.console import Console

from headway.reporting import console
from headway.reporting.console import progress


class Cell:
    """The output of a notebook cell: every text that was displayed or replaced the last one."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def display(self, data: dict[str, str], *, raw: bool, display_id: bool) -> Cell:
        assert raw and display_id
        self.shown.append(data["text/plain"])
        return self

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.shown.append(data["text/plain"])


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Cell:
    """A kernel as `IPython` shows it; the line is rewritten at every step."""
    cell, shell = Cell(), types.SimpleNamespace(kernel=object())
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython, display.display = lambda: shell, cell.display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    ticks = iter(range(1000))
    monkeypatch.setattr(console.time, "monotonic", lambda: float(next(ticks)))
    return cell


def test_a_notebook_has_one_line_with_the_last_step_and_in_the_end_the_total(notebook: Cell) -> None:
    with progress() as report:
        report("measure [trees]")
    assert notebook.shown == ["headway", "headway, 1 s: measure [trees]", "headway: 1 steps in 2 s"]


def test_an_error_in_a_notebook_is_raised_and_the_line_ended(notebook: Cell) -> None:
    with pytest.raises(ZeroDivisionError), progress():
        raise ZeroDivisionError
    assert notebook.shown[-1] == "headway: 0 steps in 1 s"


def test_ipython_in_a_terminal_is_no_notebook(notebook: Cell) -> None:
    sys.modules["IPython"].get_ipython().kernel = None
    with progress() as report:
        report("measure")
    assert notebook.shown == []


def test_a_terminal_has_a_line_that_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    terminal = Console(file=written, force_terminal=True, width=60, markup=False)
    monkeypatch.setattr(console, "Console", lambda **_: terminal)
    with progress() as report:
        report("measure [trees]")
    assert "s  measure [trees]" in written.getvalue() or "s  headway" in written.getvalue()
    assert written.getvalue().endswith("\x1b[2K")


def test_a_pipe_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as report:
        report("measure")
    assert capsys.readouterr() == ("", "")


def test_a_callback_gets_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    steps: list[str] = []
    with progress(steps.append) as report:
        report("measure")
    assert steps == ["measure"] and capsys.readouterr() == ("", "")
