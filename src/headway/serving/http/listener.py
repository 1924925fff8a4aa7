"""The HTTP listener: accepts connections, ends those that take too long, and drains them at the end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from headway.serving.http.connection import Connection, ConnectionLimits, Request, ServerState
from headway.serving.http.tls import TlsContext
from headway.serving.workers.sockets import on_loopback

if TYPE_CHECKING:
    from headway.core.contracts import Ints

_SWEEP_S = 0.5
_POLL_S = 0.005
_BACKLOG = 1024


class Listener:
    """Accepts connections and passes each complete request to `application`, which answers it now or later.

    Create it in the running event loop that will serve.
    """

    def __init__(
        self,
        application: Callable[[Request], None],
        *,
        limits: ConnectionLimits,
        errors: Ints,
        tls: TlsContext | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._tls = tls
        self._state = ServerState(application, limits=limits, errors=errors, now=self._loop.time())
        self._period_s = min(_SWEEP_S, limits.request_s / 4)
        self._timer = self._loop.call_later(self._period_s, self._sweep_again)

    @property
    def draining(self) -> bool:
        """True once no more connections are accepted."""
        return self._state.draining

    async def open(self, sockets: Sequence[socket.socket]) -> None:
        """Listen on sockets that are bound already (`workers.sockets.bind`)."""
        ports = [bound.getsockname()[1] for bound in sockets]
        self._state.accept_hosts(ports, loopback=on_loopback(sockets))
        self._servers = [
            await self._loop.create_server(
                lambda: Connection(self._state), sock=bound, backlog=_BACKLOG, **self._tls_arguments()
            )
            for bound in sockets
        ]

    async def drain(self, within_s: float) -> None:
        """Accept no more connections, answer what is in flight, and close; abort what takes longer than `within_s`."""
        for server in self._servers:
            server.close()
        self._state.draining = True
        await asyncio.sleep(0)  # one iteration of the loop: requests that have arrived are read first
        for connection in tuple(self._state.connections):
            connection.drain()
        deadline = self._loop.time() + within_s
        while self._state.connections and self._loop.time() < deadline:
            await asyncio.sleep(_POLL_S)
        for connection in tuple(self._state.connections):
            connection.abort()
        self._timer.cancel()

    def sweep(self, now: float) -> None:
        """End connections that have taken too long at `now`, a time of the loop's clock."""
        self._state.tick(now)
        if self._tls:
            self._tls.reload()
        for connection in tuple(self._state.connections):
            connection.check(now)

    def _tls_arguments(self) -> dict[str, Any]:
        """Return the TLS arguments of a server; a handshake has as much time as a request."""
        if self._tls is None:
            return {}
        return {"ssl": self._tls.context, "ssl_handshake_timeout": self._state.limits.request_s}

    def _sweep_again(self) -> None:
        self.sweep(self._loop.time())
        self._timer = self._loop.call_later(self._period_s, self._sweep_again)
