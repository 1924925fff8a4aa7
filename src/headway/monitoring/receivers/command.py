"""Run a command with each alert as JSON on its standard input."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import Annotated

import msgspec
from msgspec import Meta

from headway.core.alerting import Alert
from headway.core.record import Record
from headway.monitoring.alerts.receiver import DeliveryFailed, ReceiverContext

TIMEOUT_S = 30.0


class CommandSettings(Record, frozen=True, kw_only=True):
    """Settings of a command.

    Attributes
    ----------
    command : list of str
        The program and its arguments; no shell reads them.
    """

    command: Annotated[tuple[str, ...], Meta(min_length=1)]


class Command:
    """Run a program in the project's folder; exit code 0 means that the alert was taken."""

    def __init__(self, context: ReceiverContext) -> None:
        self._command = context.read_settings(CommandSettings).command
        self._folder = context.folder

    @property
    def address(self) -> str:
        """Name of the program, without its arguments."""
        return self._command[0]

    def send(self, alert: Alert) -> None:
        """Run the command; it is killed, with what it started, after 30 s."""
        try:
            process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "invalid arguments"
            raise DeliveryFailed(f"{self.address} cannot be run: {reason}") from None
        with process:
            try:
                process.communicate(msgspec.json.encode({"version": 1, **msgspec.to_builtins(alert)}), TIMEOUT_S)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise DeliveryFailed(f"{self.address} did not end within {TIMEOUT_S:g} s") from None
        if process.returncode:
            raise DeliveryFailed(f"{self.address} ended with exit code {process.returncode}")


plugin = Command
