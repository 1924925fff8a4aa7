"""The sockets of a fleet: one for each worker at each address, between which the kernel deals connections."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from headway.core.errors import ConfigError


def bind(host: str, port: int, *, workers: int, setting: str = "port") -> list[list[socket.socket]]:
    """For each worker its sockets, bound to the addresses of a host and not listening yet; port 0 takes a free one.

    A socket belongs to nobody who dies: what waits in it is there for the next one who accepts. Raises ConfigError
    where the address cannot be had.
    """
    bound: list[list[socket.socket]] = [[] for _ in range(workers)]
    try:
        for family, _, _, _, where in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            number = str(where[0])
            port = _free(family, number, port)
            for sockets in bound:
                sockets.append(_bound(family, (number, port), shared=True))
    except OSError as error:
        close([each for sockets in bound for each in sockets])
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            where=f"[serve] host, {setting}",
            hint=f"HEADWAY_SERVE_{setting.upper()}=0 takes a free port",
        ) from error
    return bound


def close(sockets: Sequence[socket.socket]) -> None:
    """Let go of sockets."""
    for each in sockets:
        each.close()


def address_of(sockets: Sequence[socket.socket], scheme: str = "http") -> str:
    """The address of the first as `http://HOST:PORT`."""
    host, port = sockets[0].getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def on_loopback(sockets: Sequence[socket.socket]) -> bool:
    """Whether none of them can be reached from another machine."""
    return all(ipaddress.ip_address(each.getsockname()[0]).is_loopback for each in sockets)


def _free(family: int, host: str, port: int) -> int:
    """The port, or a free one for 0; OSError where another server listens, which the kernel would deal half to."""
    probe = _bound(family, (host, port), shared=False)
    try:
        return int(probe.getsockname()[1])
    finally:
        probe.close()


def _bound(family: int, where: tuple[str, int], *, shared: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(where)
    except OSError:
        made.close()
        raise
    return made
