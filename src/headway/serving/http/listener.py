"""The HTTP listener: binds sockets, loads the TLS certificate, accepts connections, and drains them at the end."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import resource
import socket
import ssl
import sys
from collections import Counter
from collections.abc import Callable, Collection, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.serving.http.connection import Connection, ConnectionLimits, Request, ServerState

if TYPE_CHECKING:
    from headway.core.contracts import Ints

_SWEEP_S = 0.5
_POLL_S = 0.005
_BACKLOG = 1024
# Mozilla's list for TLS 1.2 without finite-field Diffie-Hellman; the ciphers of TLS 1.3 need no list.
_TLS_1_2_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!PSK"
_SPARE_FILES = 32
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


class TlsContext:
    """TLS context of new connections; with `client_ca`, clients need a certificate that it signed.

    Profile `modern` is TLS 1.3, whose ciphers are all authenticated and have forward secrecy; `intermediate` adds TLS
    1.2 with ciphers that have both. `pem` is the key, the certificate and the client CA (or None), for a transport that
    has its own TLS.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None, *, profile: str = "modern") -> None:
        """Load the files; raises ConfigError if one of them is not valid."""
        self._files = certificate, key
        self._loaded = self._stats()
        self.pem: tuple[bytes, bytes, bytes | None] = (b"", b"", None)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        modern = profile == "modern"
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3 if modern else ssl.TLSVersion.TLSv1_2
        self.context.set_ciphers(_TLS_1_2_CIPHERS)
        self.context.options |= ssl.OP_NO_RENEGOTIATION
        self.context.set_alpn_protocols(["http/1.1"])
        self._load()
        if client_ca is not None:
            self.context.verify_mode = ssl.CERT_REQUIRED
            try:
                self.context.load_verify_locations(client_ca)
                self.pem = (*self.pem[:2], client_ca.read_bytes())
            except (OSError, ssl.SSLError) as error:
                raise _invalid(error, "tls_client_ca", client_ca) from error

    def reload(self) -> None:
        """Load the certificate again if its files have changed, for new connections; keep the old one if invalid."""
        stats = self._stats()
        if stats == self._loaded:
            return
        self._loaded = stats
        try:
            self._load()
            _log.warning("reloaded the certificate from %s", self._files[0])
        except ConfigError as error:
            _log.error("kept the previous certificate: %s", error)

    def _load(self) -> None:
        try:
            # Try it separately first: a certificate whose key is not there yet must not replace the one in use.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*self._files, password=_no_password)
            self.context.load_cert_chain(*self._files, password=_no_password)
            certificate, key = (file.read_bytes() for file in self._files)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise _invalid(error, "tls_certificate, tls_key", self._files[0]) from error
        self.pem = (key, certificate, self.pem[2])

    def _stats(self) -> list[tuple[int, int] | None]:
        return [_stat(file) for file in self._files]


def tls_from_config(config: Config) -> TlsContext | None:
    """Return the TLS context of a project's server, or None without a certificate; raises ConfigError."""
    settings = config.serve
    if not settings.tls_certificate:
        if settings.tls_key or settings.tls_client_ca:
            raise ConfigError(
                "a key or a client CA is set without a certificate", where="[serve]", hint="set tls_certificate too"
            )
        return None
    certificate = config.path(settings.tls_certificate)
    key = config.path(settings.tls_key) if settings.tls_key else certificate
    client_ca = config.path(settings.tls_client_ca) if settings.tls_client_ca else None
    return TlsContext(certificate, key, client_ca, profile=settings.tls_profile)


def _no_password() -> str:
    """Fail instead of prompting: a server has no terminal."""
    raise ValueError("the key has a password")


def _stat(file: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def _invalid(error: Exception, field: str, file: Path) -> ConfigError:
    return ConfigError(
        f"cannot use these files for TLS: {error}",
        where=f"[serve] {field} = {file}",
        hint="PEM files of a certificate and its key",
    )


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
            self._state.overload("open_files", f"no file can be opened: {error.strerror} (ulimit -n)")

    def _tls_arguments(self) -> dict[str, Any]:
        """Return the TLS arguments of a server; a handshake has as much time as a request."""
        if self._tls is None:
            return {}
        return {"ssl": self._tls.context, "ssl_handshake_timeout": self._state.limits.request_s}

    def _sweep_again(self) -> None:
        self.sweep(self._loop.time())
        self._timer = self._loop.call_later(self._period_s, self._sweep_again)
