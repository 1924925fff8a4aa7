"""The process of the dashboard: uvicorn on a socket of its own, until a signal."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from getpass import getuser

import uvicorn

from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.dashboard.app import create_app, open_dashboard
from headway.dashboard.security import LOOPBACK
from headway.registry.project import Project
from headway.registry.sign import init_operator_keys
from headway.reporting.console import print_status


def serve(configs: Sequence[Config], *, announce: Callable[[str], object]) -> None:
    """Serve the dashboard of projects until SIGTERM or Ctrl-C; `announce` gets the address that signs in once."""
    settings = configs[0].ui
    expect_names(settings.host, settings.hosts)
    dashboard = open_dashboard(configs)
    try:
        for project in dashboard.projects.values():
            for line in prepare_operator_key(project):
                print_status(line)
        with _listen(settings.host, settings.port) as listening:
            address = f"http://{_shown(settings.host)}:{listening.getsockname()[1]}"
            secret = dashboard.sign_in.create_link(getuser(), "admin")
            announce(f"{address}/sign-in/link?secret={secret}")
            config = uvicorn.Config(
                create_app(dashboard),
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=5,
            )
            uvicorn.Server(config).run(sockets=[listening])
    finally:
        dashboard.close()


def prepare_operator_key(project: Project) -> list[str]:
    """Create the operator's key of this machine if there is none; return what a person must know of it."""
    trust = project.config.trust
    key, listed = project.config.path(trust.operator_key), project.config.path(trust.operator_keys)
    trusted = project.config.path(trust.trusted_keys)
    try:
        made = init_operator_keys(key, listed, trusted_keys=trusted, comment=f"{getuser()} (dashboard)")
    except ConfigError as error:
        return [f"{project.name}: the dashboard cannot roll back or approve: {error.what}; {error.hint}"]
    if not made.pinned:
        return []
    return [
        f"{project.name}: {listed} has the operator key of this machine now: it rolls back and approves, no more",
        f"  servers elsewhere follow it once their list has the line: {made.key} {getuser()}",
    ]


def expect_names(host: str, hosts: Sequence[str]) -> None:
    """Raise ConfigError if others can reach the dashboard, and `[ui] hosts` lists no name for them to use."""
    if host not in LOOPBACK and not hosts:
        raise ConfigError(
            f"[ui] host is {host}, which other machines reach, and [ui] hosts is empty",
            hint='hosts = ["headway.example"], the names in the addresses that people open',
        )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror}", hint="headway ui --port 0 takes a free one"
        ) from error


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
