"""The HTTP listener: binds sockets, loads the TLS certificate, accepts connections, and drains them at the end."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import resource
import socket
import sys
from collections import Counter
from collections.abc import Callable, Collection, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from headway.core.errors import ConfigError
from headway.serving.http.connection import Connection, ConnectionLimits, Request, ServerState
from headway.serving.http.tls import TlsContext

if TYPE_CHECKING:
    from headway.core.contracts import Ints

_SWEEP_S = 0.5
_POLL_S = 0.005
_BACKLOG = 1024
_SPARE_FILES = 32
_NO_FILES = (errno.EMFILE, errno.ENFILE)
_log = logging.getLogger(__name__)


def bind_sockets(host: str, port: int, *, workers: int, setting: str = "port") -> list[list[socket.socket]]:
    """Bind the sockets of each worker to the addresses of a host; they do not listen yet.

    The kernel distributes connections between the workers. Port 0 takes a free one. The sockets outlive their worker:
    connections that wait in one are accepted by the next worker. Raises ConfigError if the address is not available.
    """
    bound: list[list[socket.socket]] = [[] for _ in range(workers)]
    try:
        for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            number = str(address[0])
            port = _available_port(family, number, port)
            for sockets in bound:
                sockets.append(_bind(family, (number, port), shared=True))
    except OSError as error:
        close_sockets([opened for sockets in bound for opened in sockets])
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            where=f"[serve] host, {setting}",
            hint=f"HEADWAY_SERVE_{setting.upper()}=0 takes a free port",
        ) from error
    return bound


def close_sockets(sockets: Sequence[socket.socket]) -> None:
    """Close sockets."""
    for opened in sockets:
        opened.close()


def socket_address(sockets: Sequence[socket.socket], scheme: str = "http") -> str:
    """Return the address of the first socket as `http://HOST:PORT`."""
    host, port = sockets[0].getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def on_loopback(sockets: Sequence[socket.socket]) -> bool:
    """Return True if none of them can be reached from another machine."""
    return all(ipaddress.ip_address(bound.getsockname()[0]).is_loopback for bound in sockets)


def _available_port(family: int, host: str, port: int) -> int:
    """Return the port, or a free one for 0; raises OSError if another server listens, which would get half the load."""
    probe = _bind(family, (host, port), shared=False)
    try:
        return int(probe.getsockname()[1])
    finally:
        probe.close()


def _bind(family: int, address: tuple[str, int], *, shared: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made


def allow_files(wanted: int) -> None:
    """Raise the limit of open files of this process, `ulimit -n`, to `wanted` if the system allows that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def usable_files() -> int:
    """Return how many files connections may open: all but a few, which the server itself needs."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft - min(_SPARE_FILES, soft // 8)


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
        overloads: MutableMapping[str, int] | None = None,
        trusted_origins: Collection[str] = (),
        tls: TlsContext | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._tls = tls
        self._state = ServerState(
            application,
            limits=limits,
            errors=errors,
            overloads=Counter() if overloads is None else overloads,
            trusted_origins=trusted_origins,
            now=self._loop.time(),
        )
        self._period_s = min(_SWEEP_S, limits.request_s / 4)
        self._timer = self._loop.call_later(self._period_s, self._sweep_again)

    @property
    def draining(self) -> bool:
        """True once the server shuts down, whether or not it still accepts connections."""
        return self._state.draining

    def overload(self, limit: str, reason: str) -> None:
        """Count and log what a limit refused, as `ServerState.overload` does; on the loop."""
        self._state.overload(limit, reason)

    async def open(self, sockets: Sequence[socket.socket]) -> None:
        """Listen on sockets that are bound already (`bind_sockets`)."""
        self._state.max_file = usable_files()
        self._probed = sockets[0].fileno()
        ports = [bound.getsockname()[1] for bound in sockets]
        self._state.accept_hosts(ports, loopback=on_loopback(sockets))
        self._servers = [
            await self._loop.create_server(
                lambda: Connection(self._state), sock=bound, backlog=_BACKLOG, **self._tls_arguments()
            )
            for bound in sockets
        ]

    def begin_shutdown(self) -> None:
        """Report that the server is not ready, and close each connection after its next response."""
        self._state.draining = True

    async def drain(self, within_s: float) -> None:
        """Accept no more connections, answer what is in flight, and close; abort what takes longer than `within_s`."""
        for server in self._servers:
            server.close()
        self.begin_shutdown()
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
        self._check_files()
        for connection in tuple(self._state.connections):
            connection.check(now)

    def _check_files(self) -> None:
        """Report that no file can be opened: the event loop then closes new connections without a word."""
        try:
            os.close(os.dup(self._probed))
        except OSError as error:
            if error.errno not in _NO_FILES:  # the socket is closed: the server shuts down
                return
            self._state.overload("open_files", f"no file can be opened: {error.strerror} (ulimit -n)")

    def _tls_arguments(self) -> dict[str, Any]:
        """Return the TLS arguments of a server; a handshake has as much time as a request."""
        if self._tls is None:
            return {}
        return {"ssl": self._tls.context, "ssl_handshake_timeout": self._state.limits.request_s}

    def _sweep_again(self) -> None:
        self.sweep(self._loop.time())
        self._timer = self._loop.call_later(self._period_s, self._sweep_again)
