"""What all connections of one listener share: limits, the names it answers to, the clock, and who is connected."""

from __future__ import annotations

import re
from collections.abc import Callable
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Protocol

from headway.core.record import Record
from headway.serving.protocol.errors import response_head

if TYPE_CHECKING:
    from headway.core.contracts import Ints

_LOOPBACK_NAMES = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})
_KNOWN_HEADS = 1_024
_PORT = re.compile(rb":\d+$")


class ConnectionLimits(Record, frozen=True, kw_only=True):
    """What one connection may cost."""

    head_bytes: int = 16_384
    body_bytes: int = 8_388_608
    request_s: float = 20.0
    idle_s: float = 75.0


class Guest(Protocol):
    """A connection, as the site sees it."""

    def check(self, now: float) -> None:
        """End what has taken too long."""
        ...

    def drain(self) -> None:
        """Close now if nothing is in flight."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...


class Note(Protocol):
    """Who writes down what becomes of a request: its API key by name, its id, and its status at the end."""

    key: str
    id: str

    def end(self, status: int) -> None:
        """It is answered now."""
        ...


class ServerState:
    """State that every connection reads; `application` is given each whole request (an `Exchange`).

    `errors`, int64 [600], counts the answers with an error, each at its HTTP status.
    """

    def __init__(
        self, application: Callable[[Any], None], *, limits: ConnectionLimits, errors: Ints, now: float
    ) -> None:
        self.application = application
        self.limits = limits
        self.errors = errors
        self.connections: set[Guest] = set()
        self.hosts: frozenset[bytes | None] = frozenset()
        self.loopback = True
        self.draining = False
        self.known: dict[bytes, Any] = {}
        self.tick(now)

    def tick(self, now: float) -> None:
        """Bring the clock and the `Date` of answers to now."""
        self.now = now
        self._date = formatdate(usegmt=True).encode()
        self._heads: dict[tuple[int, bytes], bytes] = {}

    def learn(self, content: bytes, head: Any) -> None:
        """Keep what a head meant (a `connection.Head`) by its bytes; when there are many, begin anew."""
        if len(self.known) == _KNOWN_HEADS:
            self.known.clear()
        self.known[content] = head

    def answer_to(self, ports: list[int], *, loopback: bool) -> None:
        """Take the names of these ports: on loopback only loopback's own, anywhere else all."""
        self.loopback = loopback
        if loopback:
            self.hosts = frozenset(b"%b:%d" % (name, port) for name in _LOOPBACK_NAMES for port in ports)

    def head(self, status: int, kind: bytes) -> bytes:
        """The head of an answer up to the value of Content-Length, made anew when the date changes."""
        known = self._heads.get((status, kind))
        if known is None:
            known = self._heads[status, kind] = response_head(status, kind=kind, date=self._date)
        return known

    def refuses(self, host: bytes | None, *, version: str) -> tuple[int, str] | None:
        """Why a request with this `Host` is not answered, or None.

        On loopback a page of another site, which had its own name resolve to 127.0.0.1, must not be let in.
        """
        if host == b"" or (host is None and (self.loopback or version != "1.0")):
            return 400, "one header 'Host' is needed"
        if self.loopback and host is not None and _PORT.sub(b"", host).lower() not in _LOOPBACK_NAMES:
            return 421, f"'{host.decode('ascii', 'replace')}' is not served here, only localhost"
        return None
