"""HTTP load that reads every answer: load.c, built when it is first wanted, on a core of its own.

It is our own because what is measured must be right: `wrk` counts answers and reads none of them, and in closed loop
alone. In Python the load took 90 % of a core to keep a server busy that answers 41,000 requests a second; this takes
a third. `busy` is the share of its core that it used: near 1, it is the load that limits and not the server.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cache import HERE, folder, made

SOURCE = HERE / "serving/load.c"
LIMITED = 0.95


class Wrong(Exception):
    """A server gave an answer that is not right; the message shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A request with each of the answers that are right; none, and status 400, for one that is to be refused."""

    request: bytes
    answers: tuple[tuple[float, ...], ...] = ()
    status: int = 200

    def written(self) -> bytes:
        """The case as load.c reads it."""
        count = len(self.answers[0]) if self.answers else 0
        numbers = [repr(value) for answer in self.answers for value in answer]
        head = " ".join([f"{self.status} {len(self.request)} {len(self.answers)} {count}", *numbers])
        return head.encode() + b"\n" + self.request


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the load is made: `rate` a second, or 0 for closed loop; numbers stand behind `marker` in an answer."""

    connections: int = 32
    seconds: float = 3.0
    rate: float = 0.0
    marker: str = '"data":'
    core: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a run found.

    `per_s` and latencies are of the `counted` answers; `total` are all. `right` counts by which of its answers a case
    was given; `resent` are those that came when a request was sent again, for its connection had been closed: `resets`
    says when, by the monotonic clock. `unreached` are connections that nobody took.
    """

    per_s: float
    total: int
    counted: int
    busy: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    right: tuple[int, ...]
    errors: int
    refused: int
    wrong: int
    crossed: int
    resent: int
    unreached: int
    unanswered: int
    resets: tuple[float, ...]
    shown: str = ""


def program() -> Path:
    """The built program."""
    directory = made(folder("load", of=[SOURCE.read_text("utf-8")]), _build)
    return directory / "load"


def _build(directory: Path) -> None:
    subprocess.run(["gcc", "-O2", "-o", str(directory / "load"), str(SOURCE), "-lm"], check=True)


def run(port: int, cases: Sequence[Case], plan: Plan) -> Load:
    """Load a server on loopback; whatever the answers are, they are counted."""
    pinned = [] if plan.core is None else ["taskset", "-c", str(plan.core)]
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"%d\n" % len(cases) + b"".join(case.written() for case in cases))
        file.flush()
        how = [plan.marker, str(plan.connections), str(plan.rate), str(plan.seconds)]
        command = [*pinned, str(program()), str(port), file.name, *how]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Load(**json.loads(done.stdout), shown=done.stderr.strip())


def measure(port: int, cases: Sequence[Case], plan: Plan) -> Load:
    """The same where every answer must be right and every request answered; raises Wrong otherwise."""
    load = run(port, cases, plan)
    bad = load.wrong + load.refused + load.unreached + load.unanswered + len(load.resets)
    if bad or not load.counted:
        raise Wrong(f"{load.wrong} wrong, {load.refused} refused, {load.unanswered} unanswered, "
                    f"{len(load.resets)} reset of {load.total}: {load.shown}")  # fmt: skip
    return load
