"""Run a server: check its settings and references, bind its sockets, and start its processes."""

from __future__ import annotations

import gc
import logging
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.core.threads import cores, memory_limit, return_freed_memory
from headway.registry.model_registry import ModelRegistry
from headway.serving.http.listener import bind_sockets, close_sockets, socket_address
from headway.serving.settings.serve import ServeSection
from headway.serving.telemetry.logs import log_to_stderr
from headway.serving.workers.supervisor import Companion, Supervisor

_MIB = 1 << 20
_SERVER_MIB, _WORKER_MIB = 64, 32  # without buffers and models: measured 60 and 12, rounded up
_BUFFERS_SHARE = 0.5  # of a memory limit; models and requests in progress have the rest
_BUFFERS = ("log_buffer_mb", "max_bodies_mb", "label_queue_mb", "push_queue_mb")
_log = logging.getLogger(__name__)


class Listening(NamedTuple):
    """Addresses of a server whose workers all listen, HTTP first, and the releases that it serves."""

    addresses: tuple[str, ...]
    releases: str

    def __str__(self) -> str:
        return f"listening on {' and '.join(self.addresses)} serving {self.releases}"


def within_memory(settings: ServeSection, limit_bytes: int | None, *, cores: int) -> ServeSection:
    """Return the settings of a server in a container: the number of workers, and buffers within the memory limit.

    `workers = 0` starts no more workers than there is memory for. The buffers of all workers together have at most half
    of the memory; larger ones are reduced in proportion, which is logged.
    """
    workers = settings.workers or cores
    if limit_bytes is None:
        return replace(settings, workers=workers)
    limit = limit_bytes / _MIB
    if not settings.workers:
        workers = max(1, min(workers, int((limit * (1 - _BUFFERS_SHARE) - _SERVER_MIB) / _WORKER_MIB)))
    sizes = {name: getattr(settings, name) for name in _BUFFERS}
    part = limit * _BUFFERS_SHARE / workers / sum(sizes.values())
    fitted = {name: max(1, int(size * min(part, 1))) for name, size in sizes.items()}
    if workers < (settings.workers or cores) or fitted != sizes:
        described = ", ".join(f"{name} {size}" for name, size in fitted.items())
        _log.warning("the memory limit is %.0f MiB: workers %d, and for each %s", limit, workers, described)
    return replace(settings, workers=workers, **fitted)


def serve(
    config: Config,
    references: Sequence[str],
    *,
    announce: Callable[[Listening], object],
    companions: Sequence[Companion] = (),
    root: Path = Path("/"),
) -> signal.Signals:
    """Serve releases until SIGTERM or SIGINT, then answer what is in flight.

    It forks, so call it in the main thread of a process that has no other thread.

    Parameters
    ----------
    config
        The configuration of the project.
    references
        Releases as `name@pointer`, which is followed when it moves, as `name@DIGEST`, which stays, or as the path of a
        release folder, which is copied into the store.
    announce
        Called once, when all workers listen.
    companions
        Processes of other kinds, such as the dashboard, that are started, started again and ended with the workers.
    root
        Root of the system's files, which hold the limits of the container.

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
    references = _with_folders_added(config, references)
    names = {reference.partition("@")[0] for reference in references}
    if len(names) < len(references) or not names:
        raise ConfigError(f"a server serves one release of each name, got: {', '.join(references) or 'none'}")
    with log_to_stderr(config[ServeSection].log_format):
        settings = within_memory(config[ServeSection], memory_limit(root), cores=cores(root))
        return _serve(config.having(settings), references, announce, companions)


def _serve(
    config: Config,
    references: Sequence[str],
    announce: Callable[[Listening], object],
    companions: Sequence[Companion],
) -> signal.Signals:
    """Bind the sockets, and run the supervisor."""
    settings = config[ServeSection]
    bound = bind_sockets(settings.host, settings.port, workers=settings.workers)
    addresses = [socket_address(bound[0], "https" if settings.tls_certificate else "http")]
    reserved: list[socket.socket] = []
    if settings.grpc_port >= 0:  # reserves the port: gRPC opens its own sockets in each worker
        (reserved,) = bind_sockets(settings.host, settings.grpc_port, workers=1, setting="grpc_port")
        addresses.append(socket_address(reserved, "grpc"))
        config = config.having(replace(settings, grpc_port=reserved[0].getsockname()[1]))
    return_freed_memory()
    gc.freeze()  # the memory of this process is shared by all workers until one of them writes to it
    try:
        return Supervisor(config, references, bound, companions).run(
            lambda releases: announce(Listening(tuple(addresses), releases))
        )
    finally:
        gc.unfreeze()
        close_sockets([*reserved, *(opened for own in bound for opened in own)])


def _with_folders_added(config: Config, references: Sequence[str]) -> Sequence[str]:
    """Copy the releases that are given as folders into the store; return all references by name."""
    if not any("/" in reference for reference in references):
        return references
    registry = ModelRegistry.from_config(config)
    with closing(registry.state):
        added = {path: registry.add(Path(path)) for path in references if "/" in path}
    names = {path: f"{bundle.release.name}@{bundle.digest}" for path, bundle in added.items()}
    return [names.get(reference, reference) for reference in references]
