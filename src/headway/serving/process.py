"""Run a server: check its settings and references, bind its sockets, and start its processes."""

from __future__ import annotations

import gc
import signal
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.core.threads import cores
from headway.serving.http.listener import bind_sockets, close_sockets, socket_address
from headway.serving.telemetry.logs import log_to_stderr
from headway.serving.workers.supervisor import Supervisor


class Listening(NamedTuple):
    """Addresses of a server whose workers all listen, HTTP first, and the releases that it serves."""

    addresses: tuple[str, ...]
    releases: str

    def __str__(self) -> str:
        return f"listening on {' and '.join(self.addresses)} serving {self.releases}"


def serve(config: Config, references: Sequence[str], *, announce: Callable[[Listening], object]) -> signal.Signals:
    """Serve releases until SIGTERM or SIGINT, then answer what is in flight.

    It forks, so call it in the main thread of a process that has no other thread.

    Parameters
    ----------
    config
        The configuration of the project.
    references
        Releases as `name@pointer`, which is followed when it moves, or as `name@DIGEST`, which stays.
    announce
        Called once, when all workers listen.

    Returns
    -------
    signal.Signals
        The signal that stopped the server.

    Raises
    ------
    ConfigError
        If a name occurs twice, or an address is not available.
    Refused
        If a release does not verify or fails its self-test; the server then does not listen.
    """
    names = {reference.partition("@")[0] for reference in references}
    if len(names) < len(references) or not names:
        raise ConfigError(f"a server serves one release of each name, got: {', '.join(references) or 'none'}")
    settings = config.serve
    bound = bind_sockets(settings.host, settings.port, workers=settings.workers or cores())
    addresses = [socket_address(bound[0], "https" if settings.tls_certificate else "http")]
    reserved: list[socket.socket] = []
    if settings.grpc_port >= 0:  # reserves the port: gRPC opens its own sockets in each worker
        (reserved,) = bind_sockets(settings.host, settings.grpc_port, workers=1, setting="grpc_port")
        addresses.append(socket_address(reserved, "grpc"))
        config = replace(config, serve=replace(settings, grpc_port=reserved[0].getsockname()[1]))
    gc.collect()
    gc.freeze()  # the memory of this process is shared by all workers until one of them writes to it
    try:
        with log_to_stderr(settings.log_format):
            return Supervisor(config, references, bound).run(
                lambda releases: announce(Listening(tuple(addresses), releases))
            )
    finally:
        gc.unfreeze()
        close_sockets([*reserved, *(opened for own in bound for opened in own)])
