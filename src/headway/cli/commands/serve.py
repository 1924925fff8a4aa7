"""Serve releases over HTTP (Open Inference Protocol v2), verified before they are loaded."""

from __future__ import annotations

import signal
from pathlib import Path

from headway.core import config
from headway.reporting.console import print_result
from headway.serving import process


def plugin(*references: str, project: Path = Path("."), port: int | None = None, json: bool = False) -> None:
    """Serve releases until the process is told to stop; refused (exit 1) if one does not verify.

    Example: headway serve flight-delays@live --project headway-demo --port 8080

    Parameters
    ----------
    references
        What to serve, NAME@POINTER or NAME@DIGEST; without any, the project's own name at live.
    project
        Folder with headway.toml.
    port
        TCP port in place of [serve] port; 0 takes a free one.
    json
        Print one JSON object for each line, the first once it listens.
    """

    def announce(listening: process.Listening) -> None:
        print_result({"message": str(listening)}, str(listening), json=json)

    flags = {} if port is None else {"serve.port": str(port)}
    settings = config.load(project, flags=flags)
    told = process.serve(settings, references or (f"{settings.project.name}@live",), announce=announce)
    if told is signal.SIGINT:
        raise KeyboardInterrupt("what was in flight was answered, and the prediction log is on disk")
