"""Serve releases over HTTP (Open Inference Protocol v2), verified before they are loaded."""

from __future__ import annotations

from pathlib import Path

from headway.cli.main import ProjectFolder
from headway.cli.server_command import serve
from headway.core import config
from headway.reporting.console import print_result
from headway.serving import process


def plugin(*references: str, project: ProjectFolder = Path("."), port: int | None = None, json: bool = False) -> None:
    """Serve releases until SIGTERM or Ctrl-C; refused (exit 1) if one does not verify.

    Example: headway serve flight-delays@live --project headway-demo --port 8080
    Example: headway serve /mnt/models --project server

    Parameters
    ----------
    references
        Releases, NAME@POINTER or NAME@DIGEST, or the path of a release folder, with a `/`, which is copied into the
        store; default: the project's name at live.
    port
        TCP port in place of [serve] port; 0 takes a free one.
    json
        Print one JSON object per line, the first once the server listens.
    """

    def announce(listening: process.Listening) -> None:
        print_result({"message": str(listening), **listening._asdict()}, str(listening), json=json)

    flags = {} if port is None else {"serve.port": str(port)}
    settings = config.load(project, flags=flags)
    serve(settings, references or (f"{settings.project.name}@live",), announce=announce)
