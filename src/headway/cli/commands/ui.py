"""Serve the dashboard: what is live and whether it is healthy, with buttons to approve and roll back."""

from __future__ import annotations

from pathlib import Path

from headway.core import config, plugins
from headway.reporting.console import print_result


def plugin(
    *, project: tuple[Path, ...] = (Path("."),), host: str = "", port: int | None = None, json: bool = False
) -> None:
    """Serve the dashboard of projects until SIGTERM or Ctrl-C; the address that it prints signs you in once.

    Example: headway ui --project headway-demo

    Parameters
    ----------
    project
        Folder with headway.toml; repeat for several. The first one has the settings and the people.
    host
        Address to listen on, in place of [ui] host.
    port
        TCP port in place of [ui] port; 0 takes a free one.
    json
        Print one JSON object per line, the first once the dashboard listens.
    """
    flags = ({"ui.host": host} if host else {}) | ({} if port is None else {"ui.port": str(port)})
    settings = [config.load(folder, flags=flags) for folder in project]

    def announce(address: str) -> None:
        text = f"dashboard on {address.partition('/sign-in')[0]}\n  to sign in once: {address}"
        print_result({"message": text, "sign_in": address}, text, json=json, wrap=False)

    plugins.load_sibling("headway.dashboard.app", "process", reads="the dashboard").serve(settings, announce=announce)
