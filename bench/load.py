"""Closed-loop HTTP load from one process: every connection sends its next request when the last is answered.

What comes back must be the same answer every time, or the run fails. `busy` is the share of a core that the load used:
near 1, it is the load that limits and not the server. A latency is from the send to when this process gets to read the
answer, so it holds what the answer waited behind others of the same poll: it is too high at times, never too low.
"""

from __future__ import annotations

import select
import socket
import time
from dataclasses import dataclass

WARM_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a run found: answers a second, all there were, quantiles of latency, and the share of a core it took."""

    per_s: float
    answers: int
    p50_ms: float
    p99_ms: float
    busy: float


class Line:
    """One connection, with the time of its last send and what has come of the answer."""

    __slots__ = ("heard", "length", "recv", "send", "sent_ns", "socket")

    def __init__(self, port: int, length: int = 0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.recv, self.send = self.socket.recv, self.socket.sendall
        self.sent_ns = 0
        self.length, self.heard = length, b""

    def join(self, part: bytes) -> bytes:
        """What has come of an answer that comes in parts."""
        joined = self.heard + part
        self.heard = joined if len(joined) < self.length else b""
        return joined


def probe(port: int, request: bytes) -> tuple[int, bytes]:
    """The length of the answer to a request, and its body, which every later answer must end with."""
    line = Line(port)
    line.send(request)
    heard = line.recv(1 << 20)
    head, _, body = heard.partition(b"\r\n\r\n")
    length = int(next(each for each in head.split(b"\r\n") if each.lower().startswith(b"content-length:"))[15:])
    while len(body) < length:
        body += line.recv(1 << 20)
    line.socket.close()
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"the server answers {head.splitlines()[0].decode()}: {body.decode()}")
    return len(head) + 4 + length, body


def run(port: int, request: bytes, *, connections: int, seconds: float) -> Load:
    """Load a server on loopback; answers before the first half second are not counted."""
    length, body = probe(port, request)
    lines = {line.socket.fileno(): line for line in (Line(port, length) for _ in range(connections))}
    poll = select.epoll()
    for number, line in lines.items():
        poll.register(number, select.EPOLLIN)
        line.sent_ns = time.perf_counter_ns()
        line.send(request)
    warm = time.perf_counter_ns() + int(WARM_S * 1e9)
    until = warm + int(seconds * 1e9)
    latencies: list[int] = []
    answers, now, used = 0, 0, 0.0
    while now < until:
        for number, _ in poll.poll():
            line = lines[number]
            heard = line.recv(length)
            if len(heard) < length and len(heard := line.join(heard)) < length:
                continue
            if not heard.endswith(body):
                raise SystemExit(f"another answer: {heard[-200:]!r}")
            now = time.perf_counter_ns()
            answers += 1
            if now > warm:
                used = used or time.process_time()
                latencies.append(now - line.sent_ns)
            line.sent_ns = now
            line.send(request)
    seconds, ordered = (now - warm) / 1e9, sorted(latencies)
    return Load(
        per_s=len(ordered) / seconds,
        answers=answers,
        p50_ms=ordered[len(ordered) // 2] / 1e6,
        p99_ms=ordered[int(len(ordered) * 0.99)] / 1e6,
        busy=(time.process_time() - used) / seconds,
    )
