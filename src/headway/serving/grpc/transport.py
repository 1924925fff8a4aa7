"""The gRPC transport, opened next to HTTP if a port is configured; its library is imported only then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from headway.core.plugins import load_sibling
from headway.serving.auth.authenticator import Authenticator
from headway.serving.batching.data_plane import DataPlane
from headway.serving.http.tls import TlsContext
from headway.serving.repository import ModelRepository


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerContext:
    """The parts of a server that the gRPC transport answers from.

    `soon` runs a function on the event loop from any thread (`loop.call_soon_threadsafe`). A request has at most
    `body_bytes`, all together `held_bytes`. `overload` takes the limit and the reason of a refusal, on the loop;
    `draining` is true while the server shuts down.
    """

    plane: DataPlane
    authenticator: Authenticator
    repository: ModelRepository
    soon: Callable[..., object]
    draining: Callable[[], bool]
    body_bytes: int
    held_bytes: int
    max_connections: int
    overload: Callable[[str, str], object]
    tls: TlsContext | None


def open_grpc(context: ServerContext, host: str, port: int) -> Any:
    """Start the gRPC server of this process, a `_server.GrpcServer`; port 0 takes a free one.

    The process must not fork afterwards. Raises PluginError if the library is not installed, ConfigError if the
    address is not available.
    """
    return load_sibling(__name__, "server", reads="gRPC").GrpcServer(context, host, port)
