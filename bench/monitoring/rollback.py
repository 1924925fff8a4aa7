"""The rows `rollback.*` of bench/loop.py: two server processes, 1,000 requests a second, and a rollback.

`rollback.seconds` is the time from the call that moves the pointer to the last answer of the release that was rolled
back, from any server. `rollback.failed_requests` counts answers other than 200, broken connections, and requests that
were never answered.
"""

from __future__ import annotations

import json
import select
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from cache import Absent
from harness import Result, Row
from headway.core.release import version_of
from headway.monitoring import rollout as control
from headway.registry.model_registry import UpdateReason
from headway.registry.project import Project, open_project
from serving.models import FEATURES, by_trees, new_caller, posted, project, rows_of, v2
from serving.processes import READY, ours, started

NAME = "bench"
SERVERS, PER_S, SECONDS, ROLLBACK_AFTER_S, CONNECTIONS, TREES = 2, 1000, 6.0, 3.0, 8, 200
TINY = {"PER_S": 100, "SECONDS": 2.0, "ROLLBACK_AFTER_S": 0.7, "TREES": 5}


@dataclass(slots=True)
class Answers:
    """What the callers received: the time and model version of each answer, and the number of failures."""

    versions: list[tuple[float, str]] = field(default_factory=list)
    failed: int = 0


class Connection:
    """A kept-alive connection with at most one request in flight."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.received = b""

    def read(self, answers: Answers) -> bool:
        """Read what has arrived; return True once the answer is complete, or the connection is closed."""
        part = self.socket.recv(1 << 16)
        self.received += part
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not part:
            answers.failed += 1
            return True
        if not end or len(body) < int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]):
            return False
        self.received = b""
        if head.startswith(b"HTTP/1.1 200"):
            answers.versions.append((time.perf_counter(), json.loads(body)["model_version"]))
        else:
            answers.failed += 1
        return True


def rows() -> Result:
    """Measure one rollback under load."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            seconds, failed, answered = measure_rollback(Path(folder))
    except Absent as reason:
        return [], [f"rollback: {reason}"]
    return [
        Row(
            name="rollback.seconds",
            measured=seconds,
            unit="s",
            target="<= 1",
            ok=seconds <= 1,
            against=f"{SERVERS} server processes, {answered / SECONDS:,.0f} requests/s",
        ),
        Row(name="rollback.failed_requests", measured=failed, unit="", target="= 0", ok=failed == 0),
    ], []


def by_call(opened: Project) -> float:
    """Roll back by a call; return when it began."""
    began = time.perf_counter()
    control.roll_back(opened, from_release=control.release_to_leave(opened), who="benchmark", why="to be measured")
    return began


@contextmanager
def called(_: Project) -> Iterator[Callable[[Project], float]]:
    """Roll back in this process."""
    yield by_call


def measure_rollback(
    folder: Path, prepare: Callable[[Project], AbstractContextManager[Callable[[Project], float]]] = called
) -> tuple[float, int, int]:
    """Return the seconds that a rollback took, the requests that failed, and the requests that were answered.

    `prepare` opens what rolls back, before the load begins; what it gives is called then, and returns when it began.
    """
    project(folder, {NAME: by_trees(TREES)})
    header = f"Authorization: Bearer {new_caller(folder)}"
    opened = open_project(folder)
    with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        stack.callback(opened.registry.state.close)
        stack.callback(opened.state.close)
        second = _publish_second(opened)
        ports = [stack.enter_context(started(ours(folder, NAME), asks=READY)).port for _ in range(SERVERS)]
        roll_back = stack.enter_context(prepare(opened))
        load = pool.submit(_send_load, ports, header)
        time.sleep(ROLLBACK_AFTER_S)
        began = roll_back(opened)
        answers = load.result()
    version = version_of(second)
    last = max((at for at, answered in answers.versions if answered == version), default=began)
    if not any(at > last and answered != version for at, answered in answers.versions):
        raise Absent("no server returned to the previous release")
    return last - began, answers.failed, len(answers.versions)


def _publish_second(opened: Project) -> str:
    """Publish the same model as a second release and point live at it; return its digest."""
    first = opened.registry.resolve(f"{NAME}@live")
    again = replace(first.release, made_at="again")
    digest = opened.registry.publish(again, dict(first.files))
    opened.registry.point(f"{NAME}@live", digest, UpdateReason(who="benchmark", why="again", verdict=again.verdict))
    return digest


def _send_load(ports: Sequence[int], header: str) -> Answers:
    """Send requests at a fixed rate over free connections; a connection that waits for an answer is skipped."""
    answers, body = Answers(), v2(rows_of(1, FEATURES), "FP64")
    request = posted(f"/v2/models/{NAME}/infer", body, [header])
    connections = {connection.socket.fileno(): connection for port in ports for connection in _connect(port)}
    poll = select.epoll()
    for number in connections:
        poll.register(number, select.EPOLLIN)
    began = time.perf_counter()
    waiting = _exchange(connections, poll, request, answers, began)
    answers.failed += waiting
    poll.close()
    for connection in connections.values():
        connection.socket.close()
    return answers


def _connect(port: int) -> list[Connection]:
    return [Connection(port) for _ in range(CONNECTIONS)]


def _exchange(
    connections: Mapping[int, Connection], poll: select.epoll, request: bytes, answers: Answers, began: float
) -> int:
    """Send and read until the time is over; return how many requests were not answered 5 s after the end."""
    free, waiting, sent = list(connections), set[int](), 0
    while (now := time.perf_counter()) < began + SECONDS or waiting:
        if now > began + SECONDS + 5:
            break
        while free and sent < (min(now, began + SECONDS) - began) * PER_S:
            number = free.pop(0)
            connections[number].socket.sendall(request)
            waiting.add(number)
            sent += 1
        for number, _ in poll.poll(0.0005):
            if connections[number].read(answers):
                waiting.discard(number)
                free.append(number)
    return len(waiting)
