"""Listening sockets: one per worker and address, between which the kernel distributes connections."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from headway.core.errors import ConfigError


def bind(host: str, port: int, *, workers: int, setting: str = "port") -> list[list[socket.socket]]:
    """Return for each worker its sockets, bound to the addresses of a host and not listening yet.

    Port 0 takes a free one. The sockets outlive their worker: connections that wait in one are accepted by the next
    worker. Raises ConfigError if the address is not available.
    """
    bound: list[list[socket.socket]] = [[] for _ in range(workers)]
    try:
        for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            number = str(address[0])
            port = _available_port(family, number, port)
            for sockets in bound:
                sockets.append(_bind(family, (number, port), shared=True))
    except OSError as error:
        close([opened for sockets in bound for opened in sockets])
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            where=f"[serve] host, {setting}",
            hint=f"HEADWAY_SERVE_{setting.upper()}=0 takes a free port",
        ) from error
    return bound


def close(sockets: Sequence[socket.socket]) -> None:
    """Close sockets."""
    for opened in sockets:
        opened.close()


def address_of(sockets: Sequence[socket.socket], scheme: str = "http") -> str:
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
