"""Connections to Redis and Valkey, with the password from the environment or a file."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from headway.core.errors import ConfigError, StoreUnavailable
from headway.core.urls import without_password

TIMEOUT_S = 2.0


def connect(address: str, *, role: str, retries: int = 0, ping_s: int = 0) -> Any:
    """Return a client of a server, which connects with its first call; threads may share it.

    Parameters
    ----------
    address : str
        URL of the scheme `redis`, or `rediss` for TLS.
    role : str
        Setting of [store] with the address.
    retries : int
        How often a call whose connection was lost runs again, on a new connection.
    ping_s : int
        Idle time after which a connection is tested before it is used, seconds; 0: never.

    Raises
    ------
    ConfigError
        If it is not an address, or the file with the password cannot be read.
    """
    try:
        return redis.Redis.from_url(
            address,
            password=read_password(os.environ, role=role),
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            health_check_interval=ping_s,
            retry=Retry(NoBackoff(), retries),
        )
    except ValueError as error:
        scheme = address.partition("://")[0]
        raise ConfigError(
            f"{without_password(address)!r} is not an address",
            where=f"[store] {role}",
            hint=f"{scheme}://HOST:PORT/DB",
        ) from error


class PackedCommands:
    """Sends commands that are packed already, on connections of a client that it keeps.

    A call of the client itself costs more than a round trip on one machine: it takes a connection from the pool, polls
    its socket, and gives it back. Here a connection that was lost is noticed by the call, which runs again as often as
    `connect` allows. Threads may share it.
    """

    def __init__(self, client: Any) -> None:
        self._pool = client.connection_pool
        self._idle: deque[Any] = deque()

    def run(self, commands: bytes, count: int) -> list[Any]:
        """Return the replies to `count` commands; raises as a call of the client does."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._pool.get_connection()
        try:
            replies: list[Any] = connection.retry.call_with_retry(
                lambda: _replies(connection, commands, count), lambda _: connection.disconnect()
            )
            return replies
        finally:
            self._idle.append(connection)

    def close(self) -> None:
        """Give the connections back to the client."""
        while self._idle:
            self._pool.release(self._idle.pop())


def packed_parts(parts: Iterable[bytes]) -> bytes:
    """Return parts of a command as they are sent, without their number (`*N`), which comes first."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


def _replies(connection: Any, commands: bytes, count: int) -> list[Any]:
    connection.send_packed_command((commands,))
    if count == 1:
        return [connection.read_response()]
    replies, errors = [], []
    for _ in range(count):
        try:
            replies.append(connection.read_response())
        except redis.ResponseError as error:  # the replies behind it must be read too
            errors.append(error)
    if errors:
        raise errors[0]
    return replies


@contextmanager
def reported_errors(address: str, *, role: str) -> Iterator[None]:
    """Raise StoreUnavailable for errors of the server or the connection, without the password."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise StoreUnavailable(
            f"the store for {role} does not answer: {error}",
            role=role,
            where=without_password(address),
            hint=f"check [store] {role}, and the password in {password_variable(role)}",
        ) from error


def password_variable(role: str) -> str:
    """Return the variable with the password of the store of a role."""
    return f"HEADWAY_STORE_{role.upper()}_PASSWORD"


def read_password(environment: Mapping[str, str], *, role: str) -> str | None:
    """Return the password of a store from a variable, or from the file that another names; None without both."""
    variable = password_variable(role)
    file = environment.get(f"{variable}_FILE")
    if not file:
        return environment.get(variable) or None
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the password of the store for {role} cannot be read: "
            f"{getattr(error, 'strerror', None) or 'it is not UTF-8'}",
            where=file,
            hint=f"name a file that this user can read in {variable}_FILE",
        ) from error
