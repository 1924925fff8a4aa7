"""Repeat tasks: start each when it is due, in a process of its own, one at a time, until a signal ends it.

When a task was last begun is read from the store, so that schedulers on several machines take turns: a task holds a
lease while it runs, and the second scheduler finds it done. However many starts were missed, it is caught up once.
"""

from __future__ import annotations

import logging
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Literal

from headway.core.errors import HeadwayError, StoreError
from headway.monitoring.alerts.deliver import AlertLoop, deliver_until_done
from headway.monitoring.settings.schedule import ScheduleSection
from headway.monitoring.task_runs import due_at, last_run, save_run
from headway.registry.project import Project

TaskEnd = Literal["ended", "held", "stopped"]
HELD = 3
"""Exit code of a task that another process does, or that was not due any more."""
GRACE_S, ALERTS_END_S, ALERTS_SENT_S = 30.0, 5.0, 60.0
MAX_WAIT_S, RETRY_S = 60.0, 2.0
_STOPS = (signal.SIGTERM, signal.SIGINT)
_log = logging.getLogger(__name__)


class Scheduler:
    """Runs tasks of a project; `command` returns the arguments of the process that runs one.

    With `silent`, what that process prints as its result is dropped; its progress is not.
    """

    def __init__(
        self, project: Project, tasks: Sequence[str], command: Callable[[str], Sequence[str]], *, silent: bool = False
    ) -> None:
        self._project = project
        self._tasks = tasks
        self._command = command
        self._output = subprocess.DEVNULL if silent else None
        self._limit_s = project.config[ScheduleSection].task_hours * 3600
        self._held_until: dict[str, float] = {}
        self._stopping = False

    def run(self) -> None:
        """Run each task when it is due, and judge alerts in between, until SIGTERM or SIGINT."""
        with self._receiving_signals():
            alerts = AlertLoop(self._project, every_s=self._project.config[ScheduleSection].alerts_s)
            try:
                while not self._stopping:
                    self._wait(self._next(alerts))
            finally:
                alerts.close(within_s=ALERTS_END_S)

    def run_once(self) -> None:
        """Run every task once, one after the other, then send alerts."""
        with self._receiving_signals():
            for task in self._tasks:
                if not self._stopping:
                    self._run_task(task)
            if not self._stopping:
                deliver_until_done(self._project, within_s=ALERTS_SENT_S)

    def _next(self, alerts: AlertLoop) -> float:
        """Run the first task that is due and have alerts judged; return the seconds until the next may be due."""
        now = datetime.now(UTC)
        try:
            due = {task: due_at(self._project, task, now=now) for task in self._tasks}
        except HeadwayError as error:
            _log.error("the schedule cannot be read now, and it is tried again: %s", error)
            return RETRY_S
        for task in self._tasks:
            if due[task] <= now and time.monotonic() >= self._held_until.get(task, 0.0):
                if self._run_task(task) == "held":
                    self._held_until[task] = time.monotonic() + RETRY_S
                alerts.wake()
                return 0.0
        seconds = [max((at - now).total_seconds(), RETRY_S) for at in due.values()]
        return min([MAX_WAIT_S, *seconds])

    def _run_task(self, task: str) -> TaskEnd:
        """Run a task in a process, and return how that ended; one that did not record its run has failed."""
        started_at = datetime.now(UTC)
        try:
            before = last_run(self._project, task)
            process = subprocess.Popen(
                self._command(task), stdin=subprocess.DEVNULL, stdout=self._output, start_new_session=True
            )
        except (OSError, HeadwayError) as error:
            _log.error("the task %s cannot be started: %s", task, error)
            return "held"
        problem = self._wait_for(process)
        if self._stopping:
            return "stopped"
        if process.returncode == HELD:
            return "held"
        try:
            if problem or last_run(self._project, task) == before:
                message = problem or _describe_end(process.returncode)
                save_run(self._project, task, started_at=started_at, outcome="failed", message=message)
        except StoreError as error:
            _log.error("how the task %s ended cannot be saved: %s", task, error)
            return "held"
        return "ended"

    def _wait_for(self, process: subprocess.Popen[bytes]) -> str:
        """Wait for the end of a process, and return the problem if it took too long; a signal interrupts it."""
        ends, problem = time.monotonic() + self._limit_s, ""
        while process.poll() is None:
            if self._stopping or time.monotonic() >= ends:
                problem = f"the task did not end within {timedelta(seconds=self._limit_s)}"
                _end(process)
            else:
                self._wait(min(MAX_WAIT_S, ends - time.monotonic()))
        return problem

    def _wait(self, seconds: float) -> None:
        """Wait for a signal, or the end of a child, at most so long."""
        if select.select([self._signals], [], [], max(0.0, seconds))[0]:
            self._stopping |= any(number in _STOPS for number in self._signals.recv(64))

    @contextmanager
    def _receiving_signals(self) -> Iterator[None]:
        self._signals, writer = socket.socketpair()
        writer.setblocking(False)
        wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        handlers = {number: signal.signal(number, lambda *_: None) for number in (*_STOPS, signal.SIGCHLD)}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup)
            self._signals.close()
            writer.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt a task as Ctrl-C does, so that finished work is saved, and kill it if it does not end."""
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)
        return
    process.kill()
    process.wait()


def _describe_end(code: int) -> str:
    return f"its process was ended by signal {-code}" if code < 0 else f"its process ended with exit code {code}"
