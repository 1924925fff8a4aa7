"""A forked process, and the line to it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import monotonic
from typing import NoReturn

from headway.serving.workers.channel import Channel

_DEAF_TO = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True, eq=False)
class ChildProcess:
    """A process of the fleet; its line ends when it does. `number` is that of the worker, None for the log."""

    number: int | None
    pid: int
    line: Channel
    born: float = field(default_factory=monotonic)

    @property
    def name(self) -> str:
        """What it is, for people."""
        return "the log process" if self.number is None else f"worker {self.number}"

    def kill(self) -> None:
        """End it at once; it is there until it was waited for."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> str:
        """Wait for its end, and say how it came."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.line.close()
        return f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def fork(
    number: int | None, run: Callable[[Channel], object], *, drop: Iterable[Channel | socket.socket]
) -> ChildProcess:
    """A child that runs a function, given its end of the line, and then ends; `drop` is what it has no use for."""
    sys.stdout.flush()
    sys.stderr.flush()
    ours, theirs = (Channel(end) for end in socket.socketpair())
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _DEAF_TO)  # no signal meets a child that still listens to it
    pid = os.fork()
    if not pid:
        _be(run, theirs, (ours, *drop))
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    theirs.close()
    return ChildProcess(number, pid, ours)


def _be(run: Callable[[Channel], object], line: Channel, drop: Iterable[Channel | socket.socket]) -> NoReturn:
    """Be the child until its end, which is here: what is on the stack above is the supervisor's.

    It is deaf to the signals that end a fleet: a terminal, and systemd, send them to every process, and the supervisor
    says when to leave.
    """
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for each in _DEAF_TO:
            signal.signal(each, signal.SIG_IGN)
        for left in drop:
            left.close()
        run(line)
        code = 0
    finally:
        if code:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
