"""A server: its settings and references checked, its sockets bound, and a fleet of processes that answers."""

from __future__ import annotations

import gc
import signal
import socket
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.core.threads import cores
from headway.serving.telemetry.logs import log_to_stderr
from headway.serving.workers import sockets
from headway.serving.workers.supervisor import Supervisor


def serve(config: Config, references: Sequence[str], *, announce: Callable[[str], object]) -> signal.Signals:
    """Serve the releases at `name@pointer` until SIGTERM or SIGINT, then answer what is in flight, and return which.

    A pointer that moves is followed; a digest (`name@0123abcd`) stays. Announces one line when all workers listen.
    Raises Refused, and listens nowhere, where a release does not verify or fails its self-test. For the main thread of
    a process that has no other: it forks.
    """
    names = {reference.partition("@")[0] for reference in references}
    if len(names) < len(references) or not names:
        raise ConfigError(f"a server answers each name with one release, given: {', '.join(references) or 'none'}")
    settings = config.serve
    bound = sockets.bind(settings.host, settings.port, workers=settings.workers or cores())
    where = sockets.address_of(bound[0], "https" if settings.tls_certificate else "http")
    held: list[socket.socket] = []
    if settings.grpc_port >= 0:  # held, and not listened at: gRPC opens sockets of its own in each worker
        (held,) = sockets.bind(settings.host, settings.grpc_port, workers=1, setting="grpc_port")
        where = f"{where} and {sockets.address_of(held, 'grpc')}"
        config = replace(config, serve=replace(settings, grpc_port=held[0].getsockname()[1]))
    gc.collect()
    gc.freeze()  # what is here now is shared by all processes, as long as none of them touches it
    try:
        with log_to_stderr(settings.log_format):
            return Supervisor(config, references, bound).run(
                lambda what: announce(f"listening on {where} serving {what}")
            )
    finally:
        gc.unfreeze()
        sockets.close([*held, *(each for own in bound for each in own)])
