"""Load generator: sends each request when it is due, over connections that stay open.

Latency counts from when a request was due, so that a server that holds callers up is not spared (no coordinated
omission). `late_s` is the part that the generator itself added: the request was due and a connection free.
"""

from __future__ import annotations

import math
import re
import selectors
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter, process_time

import numpy as np

from headway.core.arrays import Floats
from headway.core.contracts import Trial

BURST = 0.1
"""The share of each second in which all requests of a burst come."""


def _bursts(share: Floats, seconds: float) -> Floats:
    turns = max(1, round(seconds))
    full, rest = np.divmod(share * turns, 1.0)
    return np.asarray((full + BURST * rest) / turns)


LOAD_SHAPES: dict[str, Callable[[Floats, float], Floats]] = {
    "steady": lambda share, _: share,
    "bursts": _bursts,
    "ramp": lambda share, _: np.sqrt(share),
}
"""`steady` is a constant rate; `bursts` are ten times as fast for a tenth of each second; `ramp` goes from 0 to twice
the rate. Each maps the share of requests that are done to the share of time that has gone."""


def arrival_times(shape: str, *, rate_per_s: float, seconds: float, seed: int = 0) -> Floats:
    """Draw when requests are due, s, in order: Poisson arrivals in a shape of load, seeded."""
    shares = np.sort(np.random.default_rng(seed).random(max(1, round(rate_per_s * seconds))))
    return LOAD_SHAPES[shape](shares, seconds) * seconds


TIMEOUT_S = 10.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(slots=True, kw_only=True)
class LoadCall:
    """One request, number `request` of those to send, with its times in seconds of the run.

    Status 0 without an answer.
    """

    request: int
    due_s: float
    sent_s: float = 0.0
    done_s: float = math.inf
    late_s: float = 0.0
    status: int = 0
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRun:
    """Calls of a run in the order sent, and the share of a core that the generator used."""

    calls: Sequence[LoadCall]
    busy: float


@dataclass(slots=True, eq=False)
class _Connection:
    """A connection, and the call that it waits for."""

    socket: socket.socket
    free_s: float = 0.0
    call: LoadCall | None = None
    buffer: bytearray = field(default_factory=bytearray)

    def receive(self) -> LoadCall | None:
        """Read what has arrived; return the call once its answer is complete.

        Raises ConnectionError if the server closed.
        """
        data = self.socket.recv(1 << 18)
        if not data or self.call is None:
            raise ConnectionError
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        length = _LENGTH.search(self.buffer, 0, end + 2) if end >= 0 else None
        if length is None or len(self.buffer) < end + 4 + int(length[1]):
            return None
        call, self.call = self.call, None
        call.status, call.body = int(self.buffer[9:12]), bytes(self.buffer[end + 4 :])
        self.buffer.clear()
        return call


class LoadGenerator:
    """Sends requests to one server over a number of connections, one run at a time."""

    def __init__(self, trial: Trial, requests: Sequence[bytes], *, connections: int) -> None:
        self._where, self._requests = (trial.host, trial.port), requests
        self._selector = selectors.SelectSelector()  # epoll waits in whole milliseconds
        self._free = [self._open_connection() for _ in range(connections)]
        self._connections = connections

    def close(self) -> None:
        """Close the connections."""
        for key in list(self._selector.get_map().values()):
            key.data.socket.close()
        self._selector.close()

    def open_loop(self, due: Sequence[float]) -> LoadRun:
        """Send each request at its time; a request without an answer ten seconds after the last was due has none."""
        return self._run(iter(due), until_s=due[-1] + TIMEOUT_S)

    def closed_loop(self, seconds: float) -> LoadRun:
        """Send the next request over each connection as soon as it was answered, for `seconds`."""
        self._closes_s = seconds
        return self._run(self._at_once(seconds), until_s=seconds + TIMEOUT_S)

    def _at_once(self, seconds: float) -> Iterator[float]:
        while perf_counter() - self._began < seconds:
            yield -1.0

    def _run(self, due: Iterator[float], *, until_s: float) -> LoadRun:
        self._began, worked = perf_counter(), process_time()
        for connection in self._free:
            connection.free_s = 0.0
        calls: list[LoadCall] = []
        following = next(due, None)
        while (following is not None or len(self._free) < self._connections) and self._now() < until_s:
            while following is not None and self._free and following <= self._now():
                calls.append(self._send(self._free.pop(), following, len(calls)))
                following = next(due, None)
            self._receive(max(0.0, following - self._now()) if following is not None and self._free else 0.5)
        busy = (process_time() - worked) / max(self._now(), 1e-9)
        return LoadRun(calls=calls, busy=busy)

    def _now(self) -> float:
        return perf_counter() - self._began

    def _send(self, connection: _Connection, due_s: float, number: int) -> LoadCall:
        now = self._now()
        call = LoadCall(request=number % len(self._requests), due_s=due_s if due_s >= 0 else now, sent_s=now)
        call.late_s = now - max(call.due_s, connection.free_s)
        connection.call = call
        try:
            connection.socket.sendall(self._requests[call.request])
        except OSError:
            self._reopen(connection)
        return call

    def _receive(self, within_s: float) -> None:
        """Wait for answers; reopen a broken connection, whose call then has no answer."""
        for key, _ in self._selector.select(within_s):
            connection: _Connection = key.data
            try:
                call = connection.receive()
            except OSError:
                self._reopen(connection)
                continue
            if call is not None:
                call.done_s = connection.free_s = self._now()
                self._free.append(connection)

    def _reopen(self, connection: _Connection) -> None:
        self._selector.unregister(connection.socket)
        connection.socket.close()
        new = self._open_connection()
        new.free_s = self._now()
        self._free.append(new)

    def _open_connection(self) -> _Connection:
        connection = _Connection(socket.create_connection(self._where, timeout=TIMEOUT_S))
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        return connection
