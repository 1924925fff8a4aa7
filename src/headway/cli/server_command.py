"""`headway serve` in the form of an image's command, without the libraries that parse and print for people.

They take a fifth of a server's start. Any other form, and every error, is left to `headway.cli.main`.
"""

from __future__ import annotations

import importlib
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from headway.core import config
from headway.core.config import Config
from headway.registry.settings.fleet import FleetSection
from headway.serving import process
from headway.serving.workers.channel import Channel, Shutdown, WorkerReady
from headway.serving.workers.supervisor import Companion

NAME = "serve"


class ServerCommand(NamedTuple):
    """What a command line asks for: releases, the folder of the project, and settings by their names."""

    references: Sequence[str]
    project: Path
    flags: Mapping[str, str]

    def run(self) -> None:
        """Serve until a signal; the first line that is printed names the addresses."""
        settings = config.load(self.project, flags=self.flags)
        serve(settings, self.references, announce=_announce)


def read_command(arguments: Sequence[str]) -> ServerCommand | None:
    """Return what `serve REFERENCE ... --project FOLDER [--port NUMBER]` asks for; None for any other form.

    >>> read_command(["serve", "/models", "--project", "/opt/project"]).references
    ['/models']
    >>> read_command(["serve", "/models", "--project=/opt/project"])
    """
    match arguments:
        case [command, *references, "--project", project]:
            flags = {}
        case [command, *references, "--project", project, "--port", port] if port.isdecimal():
            flags = {"serve.port": port}
        case _:
            return None
    if command != NAME or not references or any(word.startswith("-") for word in (*references, project)):
        return None
    return ServerCommand(references, Path(project), flags)


def serve(
    config: Config,
    references: Sequence[str],
    *,
    announce: Callable[[process.Listening], object],
    companions: Sequence[Companion] = (),
) -> None:
    """Serve until SIGTERM; raise KeyboardInterrupt, with what was saved, after Ctrl-C.

    A device's agent runs next to the server: it loads what its fleet's pointer names, and the server follows.
    """
    if config[FleetSection].url:
        agent = importlib.import_module("headway.deployment.fleet.agent")  # no other server pays for it
        agent.first_poll(config)

        def run(channel: Channel) -> None:
            ended = threading.Event()
            threading.Thread(target=_end_with, args=(channel, ended), name="server", daemon=True).start()
            channel.send(WorkerReady())
            agent.run_agent(config, ended)

        companions = [*companions, Companion("the agent of the fleet", run)]
    if process.serve(config, references, announce=announce, companions=companions) is signal.SIGINT:
        raise KeyboardInterrupt("requests in flight were answered, and the prediction log is on disk")


def _end_with(channel: Channel, ended: threading.Event) -> None:
    """Set an event once the server at the other end of a channel says so, or is gone."""
    while (messages := channel.receive()) is not None:
        if any(isinstance(message, Shutdown) for message in messages):
            break
    ended.set()


def _announce(listening: process.Listening) -> None:
    sys.stdout.write(f"{listening}\n")
    sys.stdout.flush()
