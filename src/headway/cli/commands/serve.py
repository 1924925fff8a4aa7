"""Serve releases over HTTP (Open Inference Protocol v2), verified before they are loaded."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from headway.cli.main import ProjectFolder
from headway.cli.server_command import serve
from headway.core import config, plugins
from headway.core.settings.project import ProjectSection
from headway.registry.settings.fleet import FleetSection
from headway.reporting.console import print_result
from headway.serving import process
from headway.serving.workers.supervisor import Companion


def plugin(
    *references: str,
    project: ProjectFolder = Path("."),
    port: int | None = None,
    pointer_url: str = "",
    ui: bool = False,
    json: bool = False,
) -> None:
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
    pointer_url
        On a device: the fleet's folder in place of [fleet] url; its agent polls it, and the server follows.
    ui
        Serve the dashboard as well, at the address of [ui]: a process of its own, started again if it dies.
    json
        Print one JSON object per line, the first once the server listens.
    """
    flags = {} if port is None else {"serve.port": str(port)}
    if pointer_url:
        flags["fleet.url"] = pointer_url
    settings = config.load(project, flags=flags)
    with ExitStack() as stack:
        dashboard: list[tuple[str, Companion]] = []
        if ui:
            library = plugins.load_sibling("headway.dashboard.app", "companion", reads="headway serve --ui")
            dashboard.append(stack.enter_context(library.companion([settings])))

        def announce(listening: process.Listening) -> None:
            value = {"message": str(listening), **listening._asdict()}
            lines = [str(listening)]
            for address, _ in dashboard:
                value |= {"dashboard": address}
                lines.append(f"dashboard on {address}")
            print_result(value, "\n".join(lines), json=json, wrap=False)

        serve(
            settings,
            references or (f"{settings[ProjectSection].name}@{settings[FleetSection].pointer}",),
            announce=announce,
            companions=[process for _, process in dashboard],
        )
