"""Rollback under load: two server processes, 1,000 requests a second, and live moved back; `loop.py` prints the rows.

`rollback.seconds` is from the call that moves the pointer to the last answer of the release that was taken back, of any
server. `rollback.failed_requests` counts answers other than 200, broken connections, and requests never answered.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from harness import Row
from headway.monitoring import rollout as control
from headway.registry.model_registry import UpdateReason
from headway.registry.project import Project, open_project
from load import Line
from serve import project as published

SERVERS, PER_S, SECONDS, BACK_AFTER_S = 2, 1000, 6.0, 3.0
LINES = 8
FEATURES = 25


@dataclass(slots=True)
class Heard:
    """What callers met: answers by when and of which version, and what went wrong."""

    answers: list[tuple[float, str]] = field(default_factory=list)
    failed: int = 0


def rows() -> list[Row]:
    """The rows on rollback."""
    with tempfile.TemporaryDirectory() as folder:
        took_s, failed, answers = measured(Path(folder))
    return [
        Row(
            name="rollback.seconds",
            measured=took_s,
            unit="s",
            target="<= 1",
            ok=took_s <= 1,
            against=f"{SERVERS} server processes, {answers / SECONDS:,.0f} requests/s",
        ),
        Row(name="rollback.failed_requests", measured=failed, unit="", target="= 0", ok=failed == 0),
    ]


def measured(folder: Path) -> tuple[float, int, int]:
    """Seconds that a rollback took, requests that failed, and how many were answered."""
    published(folder)
    project = open_project(folder)
    new = _second(project)
    heard = Heard()
    with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        ports = [stack.enter_context(_server(folder)) for _ in range(SERVERS)]
        load = pool.submit(_load, ports, heard)
        time.sleep(BACK_AFTER_S)
        began = time.perf_counter()
        control.roll_back(project, who="benchmark", why="to be measured")
        load.result()
    project.state.close()
    project.register.state.close()
    version = new.removeprefix("sha256:")[:12]
    last = max((at for at, answered in heard.answers if answered == version), default=began)
    others = {answered for at, answered in heard.answers if at > last} - {version}
    if not others:
        raise SystemExit("no server went back to the release before")
    return last - began, heard.failed, len(heard.answers)


def _second(project: Project) -> str:
    """The same model as another release, made live; returns its digest."""
    first = project.register.resolve("bench@live")
    again = replace(first.release, made_at="again")
    digest = project.register.publish(again, dict(first.files))
    project.register.point("bench@live", digest, UpdateReason(who="benchmark", why="again", verdict=again.verdict))
    return digest


@contextmanager
def _server(folder: Path) -> Iterator[int]:
    """A server process as `headway serve` starts it; gives its port."""
    command = [sys.executable, "-m", "headway.cli", "serve", "bench@live", "--project", str(folder), "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    try:
        line = process.stdout.readline() if process.stdout else ""
        yield int(next(word for word in line.split() if word.startswith("http://")).rpartition(":")[2])
    finally:
        process.terminate()
        process.wait(20)


def _load(ports: Sequence[int], heard: Heard) -> None:
    """Send at a fixed rate over lines that take turns; one that still waits for its answer is passed over."""
    lines = {line.socket.fileno(): line for port in ports for line in (Line(port) for _ in range(LINES))}
    poll = select.epoll()
    for number in lines:
        poll.register(number, select.EPOLLIN)
    free, waiting, sent = list(lines), set[int](), 0
    began = time.perf_counter()
    while (now := time.perf_counter()) < began + SECONDS or waiting:
        if now > began + SECONDS + 5:
            break
        while free and sent < (min(now, began + SECONDS) - began) * PER_S:
            number = free.pop(0)
            lines[number].send(_request(f"k{sent}"))
            waiting.add(number)
            sent += 1
        for number, _ in poll.poll(0.0005):
            whole = _hear(lines[number], heard)
            if whole:
                waiting.discard(number)
                free.append(number)
    heard.failed += len(waiting)
    for line in lines.values():
        line.socket.close()


def _hear(line: Line, heard: Heard) -> bool:
    """Read what has come; True once an answer is whole."""
    part = line.recv(1 << 16)
    line.heard += part
    head, end, body = line.heard.partition(b"\r\n\r\n")
    if not part:
        heard.failed += 1
        return True
    if not end or len(body) < int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]):
        return False
    line.heard = b""
    if head.startswith(b"HTTP/1.1 200"):
        heard.answers.append((time.perf_counter(), json.loads(body)["model_version"]))
    else:
        heard.failed += 1
    return True


def _request(key: str) -> bytes:
    """One row with a key."""
    data = [0.5] * FEATURES
    inputs = [{"name": "rows", "shape": [1, FEATURES], "datatype": "FP64", "data": data}]
    body = json.dumps({"inputs": inputs, "parameters": {"key": key}}, separators=(",", ":")).encode()
    head = f"POST /v2/models/bench/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
