"""Ctrl-C is heard wherever it comes, and the command line is told of it as of nothing else."""

from __future__ import annotations

import signal
import sys
import threading
import time

import pytest

from headway.cli import main as cli
from headway.cli.main import InterruptGuard
from headway.core.errors import DataError

LONGEST_S = 10.0


class Finalized:
    """Is interrupted while Python lets go of it, where nothing can be raised."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


class Wrapped:
    """Is interrupted in a finalizer of C code, which raises an error of its own in place of the interrupt."""

    def __del__(self) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as interrupt:
            raise SystemError("returned a result with an exception set") from interrupt


class Broken:
    """Fails while Python lets go of it."""

    def __del__(self) -> None:
        raise ZeroDivisionError


def wait() -> None:
    """Work on, until the interrupt comes."""
    until = time.monotonic() + LONGEST_S
    while time.monotonic() < until:
        pass


@pytest.mark.parametrize("dropped", [Finalized, Wrapped])
def test_an_interrupt_that_a_finalizer_drops_is_raised_again(capsys, dropped):
    with pytest.raises(KeyboardInterrupt), InterruptGuard():
        dropped()
        wait()
    assert capsys.readouterr().err == ""


def test_one_that_was_dropped_at_the_end_does_not_come_later():
    with InterruptGuard():
        Finalized()
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(LONGEST_S)
    assert [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)] == []


def test_an_error_that_a_library_makes_of_it_is_the_interrupt():
    with pytest.raises(KeyboardInterrupt) as raised, InterruptGuard():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise DataError("cannot be read") from None
    assert isinstance(raised.value.__cause__, DataError)


def test_an_error_without_an_interrupt_is_itself():
    with pytest.raises(DataError), InterruptGuard():
        raise DataError("cannot be read")


def test_what_else_a_finalizer_drops_is_told_as_ever(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    with InterruptGuard():
        Broken()
    assert [each.exc_type for each in told] == [ZeroDivisionError]


def test_afterwards_all_is_as_it_was():
    before = sys.unraisablehook, signal.getsignal(signal.SIGINT)
    with InterruptGuard():
        assert signal.getsignal(signal.SIGINT) != before[1]
    assert (sys.unraisablehook, signal.getsignal(signal.SIGINT)) == before


def test_in_another_thread_it_listens_to_no_signal():
    def within() -> None:
        with InterruptGuard():
            found.append(signal.getsignal(signal.SIGINT))

    found: list[object] = []
    thread = threading.Thread(target=within)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


def test_a_command_that_is_interrupted_says_what_to_paste(capsys, monkeypatch):
    monkeypatch.setattr(cli, "app", lambda: lambda _: signal.raise_signal(signal.SIGINT))
    with pytest.raises(SystemExit) as ended:
        cli.main(["optimize", "--project", "my flights"])
    assert ended.value.code == cli.INTERRUPTED
    assert (
        capsys.readouterr().err == f"interrupted: {cli.SAVED}\n  to continue: headway optimize --project 'my flights'\n"
    )
