"""HTTP load that reads every answer: load.c, built on first use, on a core of its own.

It is our own because answers must be checked: `wrk` counts answers without reading them, and only in a closed loop. A
Python load took 90 % of a core to keep a server busy that answers 41,000 requests a second; this takes a third. `busy`
is the share of its core that it used: near 1, the load is the limit and not the server.
"""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cache import HERE, folder, made

SOURCE = HERE / "serving/load.c"
LIMITED = 0.95


class Wrong(Exception):
    """A wrong answer of a server; the message shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A request with its correct answers; none, and status 400, for one that must be refused."""

    request: bytes
    answers: tuple[tuple[float, ...], ...] = ()
    status: int = 200

    def written(self) -> bytes:
        """Encode the case for load.c."""
        count = len(self.answers[0]) if self.answers else 0
        numbers = [repr(value) for answer in self.answers for value in answer]
        head = " ".join([f"{self.status} {len(self.request)} {len(self.answers)} {count}", *numbers])
        return head.encode() + b"\n" + self.request


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Load settings: `rate` per second, or 0 for a closed loop; numbers follow `marker` in an answer."""

    connections: int = 32
    seconds: float = 3.0
    rate: float = 0.0
    marker: str = '"data":'
    core: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Result of a run.

    `per_s` and latencies are of the `counted` answers; `total` are all. `right` counts which of its answers a case
    received. `bins` are latencies in ms, within 0.5 %, with the answers that took so long. `resent` are answers to
    requests that were sent again because their connection had been reset: `resets` are the times by the monotonic
    clock. `unreached` are connections that were not accepted.
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
    bins: tuple[tuple[float, int], ...] = ()
    shown: str = ""


def quantile_ms(loads: Sequence[Load], share: float) -> float:
    """Return a quantile of the latencies of several runs together."""
    left = sum(load.counted for load in loads) * share
    for latency_ms, n in sorted(bin for load in loads for bin in load.bins):
        left -= n
        if left <= 0:
            return latency_ms
    raise Wrong("no answer has a latency")


def histogram(loads: Sequence[Load]) -> dict[float, int]:
    """Count the answers of several runs up to each latency in ms, in steps of a factor of two."""
    counts: dict[float, int] = {}
    for latency_ms, n in sorted(bin for load in loads for bin in load.bins):
        edge = 2.0 ** math.ceil(math.log2(latency_ms))
        counts[edge] = counts.get(edge, 0) + n
    return counts


def program() -> Path:
    """Return the built program."""
    directory = made(folder("load", of=[SOURCE.read_text("utf-8")]), _build)
    return directory / "load"


def _build(directory: Path) -> None:
    subprocess.run(["gcc", "-O2", "-o", str(directory / "load"), str(SOURCE), "-lm"], check=True)


def run(port: int, cases: Sequence[Case], plan: Plan) -> Load:
    """Load a server on loopback, and count all answers."""
    pinned = [] if plan.core is None else ["taskset", "-c", str(plan.core)]
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"%d\n" % len(cases) + b"".join(case.written() for case in cases))
        file.flush()
        how = [plan.marker, str(plan.connections), str(plan.rate), str(plan.seconds)]
        command = [*pinned, str(program()), str(port), file.name, *how]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Load(**json.loads(done.stdout), shown=done.stderr.strip())


def measure(port: int, cases: Sequence[Case], plan: Plan) -> Load:
    """Load a server whose answers must all be correct and complete; raises Wrong otherwise."""
    load = run(port, cases, plan)
    bad = load.wrong + load.refused + load.unreached + load.unanswered + len(load.resets)
    if bad or not load.counted:
        raise Wrong(f"{load.wrong} wrong, {load.refused} refused, {load.unanswered} unanswered, "
                    f"{len(load.resets)} reset of {load.total}: {load.shown}")  # fmt: skip
    return load
