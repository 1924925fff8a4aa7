"""Ctrl-C ends a command wherever it arrives, and no other error does."""

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
    """Raise SIGINT in a finalizer, where no exception can propagate."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


class Wrapped:
    """Raise an error in place of an interrupt, as C code does in a finalizer."""

    def __del__(self) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as interrupt:
            raise SystemError("returned a result with an exception set") from interrupt


class Broken:
    """Fail in a finalizer."""

    def __del__(self) -> None:
        raise ZeroDivisionError


def wait() -> None:
    """Run until the interrupt arrives."""
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        pass


@pytest.mark.slow
@pytest.mark.parametrize("dropped", [Finalized, Wrapped])
def test_an_interrupt_that_a_finalizer_drops_is_raised_again(capsys, dropped):
    with pytest.raises(KeyboardInterrupt), InterruptGuard():
        dropped()
        wait()
    assert capsys.readouterr().err == ""


def test_an_interrupt_that_comes_again_before_the_finalizer_ended_is_raised_later(monkeypatch):
    """On a busy machine the timer fired while its thread was still waited for, and the interrupt was lost."""
    start, started = threading.Timer.start, list[threading.Timer]()

    def start_late(timer: threading.Timer) -> None:
        started.append(timer)
        start(timer)
        if len(started) == 1:
            timer.join(LONGEST_S)

    monkeypatch.setattr(threading.Timer, "start", start_late)
    with pytest.raises(KeyboardInterrupt), InterruptGuard():
        Finalized()
        wait()
    assert len(started) == 2


def test_an_interrupt_that_was_dropped_at_the_end_is_not_raised_later():
    before = set(threading.enumerate())
    with InterruptGuard():
        Finalized()
    started = set(threading.enumerate()) - before
    for thread in started:
        thread.join(LONGEST_S)
    assert not any(thread.is_alive() for thread in started)


def test_an_error_that_a_library_raises_on_an_interrupt_becomes_the_interrupt():
    with pytest.raises(KeyboardInterrupt) as raised, InterruptGuard():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise DataError("cannot be read") from None
    assert isinstance(raised.value.__cause__, DataError)


def test_an_error_without_an_interrupt_is_raised_unchanged():
    with pytest.raises(DataError), InterruptGuard():
        raise DataError("cannot be read")


def test_other_errors_in_a_finalizer_reach_the_former_hook(monkeypatch):
    dropped = []
    monkeypatch.setattr(sys, "unraisablehook", dropped.append)
    with InterruptGuard():
        Broken()
    assert [unraisable.exc_type for unraisable in dropped] == [ZeroDivisionError]


def test_the_guard_restores_the_hook_and_the_handler():
    before = sys.unraisablehook, signal.getsignal(signal.SIGINT)
    with InterruptGuard():
        assert signal.getsignal(signal.SIGINT) != before[1]
    assert (sys.unraisablehook, signal.getsignal(signal.SIGINT)) == before


def test_the_guard_installs_no_handler_in_another_thread():
    def guard_in_thread() -> None:
        with InterruptGuard():
            found.append(signal.getsignal(signal.SIGINT))

    found: list[object] = []
    thread = threading.Thread(target=guard_in_thread)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


def test_an_interrupted_command_prints_how_to_continue(capsys, monkeypatch):
    monkeypatch.setattr(cli, "app", lambda _: lambda _: signal.raise_signal(signal.SIGINT))
    with pytest.raises(SystemExit) as ended:
        cli.main(["optimize", "--project", "my flights"])
    assert ended.value.code == cli.INTERRUPTED
    assert (
        capsys.readouterr().err == f"interrupted: {cli.SAVED}\n  to continue: headway optimize --project 'my flights'\n"
    )
