"""The ways in beside HTTP: each is a plug-in of `doors/`, opened where it is configured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from headway.core.doors import Door
from headway.core.plugins import load_door
from headway.core.sections.serve import ServeSection
from headway.serving.auth.authenticator import Authenticator
from headway.serving.batching.data_plane import DataPlane
from headway.serving.http.tls import TlsContext
from headway.serving.repository import ModelRepository


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerContext:
    """A server, as a door sees it. `soon` runs a function on its loop, from any thread (`loop.call_soon_threadsafe`).

    A request has at most `body_bytes`; `draining` says that the server is leaving.
    """

    plane: DataPlane
    authenticator: Authenticator
    repository: ModelRepository
    soon: Callable[..., object]
    draining: Callable[[], bool]
    body_bytes: int
    tls: TlsContext | None


def open_doors(settings: ServeSection, inside: ServerContext) -> list[Door]:
    """The doors that are configured, open; a process forks no more from here on.

    Raises PluginError where a library is absent, ConfigError where an address cannot be had.
    """
    if settings.grpc_port < 0:
        return []
    return [load_door("grpc")(inside, settings.host, settings.grpc_port)]


async def close_doors(doors: Iterable[Door], within_s: float) -> None:
    """Close them side by side, while the loop answers what they wait for."""
    await asyncio.gather(*(asyncio.to_thread(door.close, within_s) for door in doors))
