"""Replace releases, kill workers and mix in malformed requests for minutes at 70 % of capacity: no wrong answer.

usage: python bench/soak.py [--json] [--minutes 10] [--swap-s 5] [--kill-s 20] [--growth 0.02]
Two releases answer every row differently, and each row unlike any other, so that each answer shows its release. A
request whose connection was reset is sent again. Exits with 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import stats

from harness import Row, command_line, parse, report, shown
from headway.registry.model_registry import ModelRegistry
from headway.storage.segments import SUFFIX
from serving.load import Case, Load, Plan, run
from serving.models import APART, CASES, Model, by_trees, new_caller, point, posted, project, publish, rows_of, v2
from serving.processes import LOAD_CORE, READY, Server, ours, started

SHARE, CONNECTIONS, CAPACITY_S, BEATS = 0.7, 64, 2.0, 200
KEPT_LOG_S, NEAR_KILL_S, BLOCKS = 10.0, 1.0, 20
MINUTES, SWAP_S, KILL_S, GROWTH = 10.0, 5.0, 20.0, 0.02
TINY = {"CAPACITY_S": 0.5, "BEATS": 60, "MINUTES": 0.1, "SWAP_S": 1.0, "KILL_S": 2.5, "GROWTH": 10.0}
NAME, PATH = "soak", "/v2/models/soak/infer"


@dataclass(slots=True, kw_only=True)
class Seen:
    """What was done to the server under load, and its memory over time, as seconds and MB."""

    swaps: int = 0
    kills: list[float] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)


def valid_cases(models: Sequence[Model], header: str) -> list[Case]:
    """Return requests of one row; the answers of all rows and releases differ."""
    rows = np.round(rows_of(8_000), 6)
    answers = np.concatenate([model.answers(rows) for model in models], axis=1)
    used, cases = list[float](), list[Case]()
    for row, outputs in zip(rows, answers.tolist(), strict=True):
        others = np.sort([*used, *outputs])
        if len(cases) < CASES and np.min(np.diff(others)) > APART:
            used += outputs
            request = posted(PATH, v2(row[None], "FP64"), [header])
            cases.append(Case(request=request, answers=tuple((output,) for output in outputs)))
    return cases


def malformed(header: str) -> list[Case]:
    """Return requests that must be refused with a 4xx: for their body, address or HTTP."""
    good = v2(rows_of(1), "FP64")
    bodies = [b"", b"{", b"[]", good[:-9], good.replace(b"[1,25]", b"[1,24]"), good.replace(b"FP64", b"FP0")]
    bodies += [good.replace(b'"data":[', b'"data":["a",'), b'{"inputs":' * 400, b"\xff" * 40]
    bodies += [
        good.replace(b"[1,25]", b"[" + b"1," * 40_000 + b"25]"),
        good.replace(b'"rows"', b'"%b"' % (b"x" * 300_000)),
    ]
    bodies += [
        b'{"parameters":{"key":"%b"},' % (b"k" * 100_000) + good[1:],
        b'{"inputs":[%b]}' % b",".join([b'{"name":"a","shape":[1],"datatype":"FP64","data":[1]}'] * 5_000),
    ]
    requests = [posted(PATH, body, [header]) for body in bodies]
    requests += [posted("/v2/models/none/infer", good, [header]), posted(f"{PATH}?" + "a" * 20_000, good, [header])]
    requests += [
        posted(PATH, good),
        posted(PATH, good, [f"{header}x"]),
        posted(PATH, good, [header, "Content-Length: 3"]),
    ]
    requests += [b"GET / HTTP/9\r\n\r\n", b"\x00\x01\r\n\r\n", b"PUT / HTTP/1.1\r\nHost: localhost\r\n\r\n"]
    requests += [posted(PATH, good, [header]).replace(b"Content-Length: ", b"Content-Length: 99999999")]
    return [Case(request=request, status=400) for request in requests]


def mixed(good: Sequence[Case], bad: Sequence[Case]) -> list[Case]:
    """Return all cases, one malformed after all good ones."""
    return [case for case in bad for case in (*good, case)]


class Trouble:
    """Scheduled disturbances: the pointer moves, a worker is killed, old segments of the log are deleted."""

    def __init__(self, server: Server, register: ModelRegistry, digests: Sequence[str], folder: Path) -> None:
        self.seen = Seen()
        self._server = server
        self._register = register
        self._next = itertools.cycle(digests[1:] + digests[:1])
        self._log = folder / ".headway" / "log"

    def swap(self) -> None:
        """Move the pointer to the other release, by a signed update."""
        point(self._register, NAME, next(self._next))
        self.seen.swaps += 1

    def kill(self) -> None:
        """Kill the busiest worker with SIGKILL."""
        workers = self._server.processes()[1:]
        if workers:
            self.seen.kills.append(time.monotonic())
            os.kill(max(workers, key=self._server.cpu_of), signal.SIGKILL)

    def measure_memory(self) -> None:
        """Record the memory, and delete old segments of the log, which would fill the disk."""
        with suppress(OSError):
            self.seen.memory.append((time.monotonic(), self._server.memory_mb))
        old = time.time() - KEPT_LOG_S
        for file in self._log.rglob(f"*{SUFFIX}"):
            if file.stat().st_mtime < old:
                file.unlink()


def soak(cases: Sequence[Case], trouble: Trouble, port: int, plan: Plan, options: argparse.Namespace) -> Load:
    """Run the load with the scheduled disturbances."""
    began = time.monotonic()
    schedule = (
        (options.swap_s, trouble.swap),
        (options.kill_s, trouble.kill),
        (plan.seconds / BEATS, trouble.measure_memory),
    )
    due = [[began + period, period, act] for period, act in schedule]
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(run, port, cases, plan)
        while time.monotonic() < began + plan.seconds:
            first = min(due, key=lambda item: item[0])
            time.sleep(max(0.0, first[0] - time.monotonic()))
            first[2]()
            first[0] += first[1]
        return load.result()


def growth(memory: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Return the relative growth of memory over the run, with its interval: a line, with blocks of time left out."""
    times, sizes = np.array(memory[len(memory) // 4 :]).T
    blocks = np.arange(len(times)) * BLOCKS // len(times)

    def grown(mask: np.ndarray) -> float:
        slope, at = np.polyfit(times[mask] - times[0], sizes[mask], 1)
        return float(slope * (times[-1] - times[0]) / at)

    slopes = np.array([grown(blocks != block) for block in range(BLOCKS)])
    error = float(np.sqrt((BLOCKS - 1) / BLOCKS * np.sum((slopes - slopes.mean()) ** 2)))
    value, reach = grown(blocks >= 0), float(stats.t.ppf(0.975, BLOCKS - 1)) * error
    return value, value - reach, value + reach


def rows_of_soak(load: Load, seen: Seen, plan: Plan, maximum: float) -> list[Row]:
    """Return counts that must be 0, counts of what occurred, and the growth of memory."""
    stray = [at for at in load.resets if not any(0 <= at - kill < NEAR_KILL_S for kill in seen.kills)]
    value, low, high = growth(seen.memory)
    grew = f"{seen.memory[0][1]:.1f} MB at first, {seen.memory[-1][1]:.1f} at last; 95 % [{low:.2%}, {high:.2%}]"
    how = f"{plan.rate:,.0f}/s in open loop, {SHARE:.0%} of what it answers in closed loop, for {plan.seconds:,.0f} s"
    return [
        _none("wrong", load.wrong, "answers that are neither release's to that row, nor a refusal"),
        _none("crossed", load.crossed, "of those, answers to another request"),
        _none("unanswered", load.unanswered, "requests that got no answer, also when they were sent again"),
        _none("unreached", load.unreached, "connections that were not accepted"),
        _none("stray_resets", len(stray), f"requests lost with no kill within {NEAR_KILL_S:g} s before"),
        _some("first", load.right[0], f"right answers of the first release; {how}"),
        _some("second", load.right[1], "right answers of the second release"),
        _some("malformed", load.errors, "malformed requests refused with a 4xx"),
        Row(
            name="soak.memory_growth",
            measured=value,
            unit="share",
            target=f"<= {maximum:g}",
            ok=low <= maximum,
            against=grew,
        ),
        shown("soak.swaps", seen.swaps, "", "moves of the pointer, signed, between two releases"),
        shown("soak.kills", len(seen.kills), "", "workers ended by SIGKILL"),
        shown(
            "soak.resets",
            len(load.resets),
            "",
            f"requests in flight on a killed worker; {load.resent} right when sent again",
        ),
        shown("soak.refused", load.refused, "", "429 and 503"),
        shown("soak.p99_ms", load.p99_ms, "ms", how),
    ]


def _none(name: str, count: int, what: str) -> Row:
    return Row(name=f"soak.{name}", measured=count, unit="", target="= 0", ok=count == 0, against=what)


def _some(name: str, count: int, what: str) -> Row:
    return Row(name=f"soak.{name}", measured=count, unit="", target=">= 1", ok=count > 0, against=what)


def main() -> int:
    """Measure and report; return whether anything was wrong."""
    parser = command_line(__doc__)
    for name in ("minutes", "swap_s", "kill_s", "growth"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, help=f"default: {globals()[name.upper()]:g}")
    options = parse(parser)
    for name, value in vars(options).items():
        if value is None:  # the constants are smaller in tiny mode
            setattr(options, name, globals()[name.upper()])
    models = [by_trees(), by_trees(60)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        register = project(folder, {NAME: models[0]})
        digests = [publish(register, NAME, model) for model in models]
        header = f"Authorization: Bearer {new_caller(folder)}"
        around = {"HEADWAY_SERVE_WORKERS": "2"}
        cases = mixed(valid_cases(models, header), malformed(header))
        with started(ours(folder, NAME), asks=READY, environment=around) as server:
            capacity = run(server.port, cases, Plan(connections=CONNECTIONS, seconds=CAPACITY_S, core=LOAD_CORE)).per_s
            plan = Plan(connections=CONNECTIONS, seconds=options.minutes * 60, rate=SHARE * capacity, core=LOAD_CORE)
            trouble = Trouble(server, register, digests, folder)
            load = soak(cases, trouble, server.port, plan, options)
    rows = rows_of_soak(load, trouble.seen, plan, options.growth)
    report(rows, [f"wrong answers: {load.shown}"] if load.wrong else [], as_json=options.json)
    return int(any(not row.ok for row in rows))


if __name__ == "__main__":
    sys.exit(main())
