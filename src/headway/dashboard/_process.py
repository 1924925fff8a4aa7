"""The process of the dashboard: uvicorn on a socket of its own, until a signal or until its server ends."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from getpass import getuser

import uvicorn

from headway.core.config import Config
from headway.core.errors import ConfigError, HeadwayError
from headway.core.threads import share_one_arena
from headway.dashboard.app import create_app
from headway.dashboard.listening import address_of, listen
from headway.dashboard.resources import Dashboard, open_dashboard
from headway.monitoring.settings.ui import UiSection
from headway.registry.project import Project
from headway.registry.settings.trust import TrustSection
from headway.registry.sign import init_operator_keys
from headway.reporting.console import print_status
from headway.serving.http.tls import TlsContext
from headway.serving.settings.serve import ServeSection
from headway.serving.telemetry.logs import log_to_stderr
from headway.serving.workers.channel import Channel, RemoteError, Shutdown, StartupFailed, WorkerReady

_RELOAD_S = 30
_GRACE_S = 5


def serve(configs: Sequence[Config], *, announce: Callable[[str], object]) -> None:
    """Serve the dashboard of projects until SIGTERM or Ctrl-C; `announce` gets the address that signs in once."""
    logging = log_to_stderr(configs[0][ServeSection].log_format)
    with closing(listen(configs[0])) as listening, logging, _opened(configs) as dashboard:
        server = make_server(dashboard)
        secret = dashboard.sign_in.create_link(getuser(), "admin")
        announce(f"{address_of(configs[0], listening)}/sign-in/link?secret={secret}")
        server.run(sockets=[listening])


def serve_as_child(configs: Sequence[Config], listening: socket.socket, channel: Channel) -> None:
    """Serve the dashboard until the server at the other end of a channel says so, or is gone."""
    try:
        with _opened(configs) as dashboard:
            server = make_server(dashboard)
            threading.Thread(target=_end_with, args=(channel, server), name="server", daemon=True).start()
            channel.send(WorkerReady())
            server.run(sockets=[listening])
    except HeadwayError as error:
        channel.send(StartupFailed(RemoteError.of(error)))


def prepare_operator_key(project: Project) -> list[str]:
    """Create the operator's key of this machine if there is none; return what a person must know of it."""
    trust = project.config[TrustSection]
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


def make_server(dashboard: Dashboard) -> uvicorn.Server:
    """Return the server of a dashboard, with TLS if there is a certificate; raises ConfigError if it is not valid."""
    settings = dashboard.config[UiSection]
    tls = None
    if settings.tls_certificate:
        certificate = dashboard.config.path(settings.tls_certificate)
        key = dashboard.config.path(settings.tls_key) if settings.tls_key else certificate
        tls = TlsContext(certificate, key, section="ui")

    async def reload() -> None:
        if tls:
            tls.reload()

    return uvicorn.Server(
        uvicorn.Config(
            create_app(dashboard),
            loop="asyncio",  # uvloop takes 3 MB, and the few people of a dashboard do not need its speed
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_S,
            ssl_context_factory=(lambda _config, _default: tls.context) if tls else None,
            callback_notify=reload,
            timeout_notify=_RELOAD_S,
        )
    )


@contextmanager
def _opened(configs: Sequence[Config]) -> Iterator[Dashboard]:
    """Open the dashboard of projects, and close it after a signal too: uvicorn raises what it received again."""
    share_one_arena()
    previous = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        dashboard = open_dashboard(configs)
        try:
            for line in (line for project in dashboard.projects.values() for line in prepare_operator_key(project)):
                print_status(line)
            yield dashboard
        finally:
            dashboard.close()
    finally:
        signal.signal(signal.SIGTERM, previous)


def _end_with(channel: Channel, server: uvicorn.Server) -> None:
    """Stop the dashboard once its server says so, or has ended."""
    while (messages := channel.receive()) is not None:
        if any(isinstance(message, Shutdown) for message in messages):
            break
    server.should_exit = True
