"""Split: a device answers what its plan certifies and forwards the rest, over a slow network, to another server.

Three deployments of two models of the flights of 2013 (is it late, asked when it departs) keep one limit on the share
of wrong answers, certified on the same held-out days: the small model on the device alone, the large one on the server
alone, and both together. Their plans are made by the functions of `headway optimize`. Servers are `headway serve`; a
proxy delays every byte by half of the round trip. Requests come at random, and times count from when a request was due.
In the offline phase server and proxy are killed. Prices are examples, so only ratios of costs mean something.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from ctypes import c_longlong
from functools import partial
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import NamedTuple

import lightgbm
import numpy as np
import polars as pl
from msgspec.structs import replace
from numpy.typing import NDArray

import flight_data
import headway
from harness import Result, Row, shown
from headway import pipeline
from headway.core.evidence import Measurement
from headway.core.selective import AnswerPlan
from headway.evaluation.answer_plan import LabeledAnswers, make_plan
from headway.evaluation.selective import measure_risk
from headway.evaluation.settings.answer import AnswerSection
from headway.evaluation.statistics.intervals import mean_over_repeats
from headway.registry.bundle import open_release
from headway.registry.model_registry import UpdateReason
from headway.registry.project import open_project
from serving.processes import LOAD_CORE, READY, SERVER_CORE, Server, free_port, ours, started

LIMIT, ROUND_TRIP_S = 0.11, 0.040
DAYS = {"train": 90, "validation": 75, "test": 145, "fresh": 55}
STEP = 4  # of the flights of a day, one is used
ROUNDS, REQUESTS, PER_S = 20, 250, 100.0
OFFLINE = 500
PER_VCPU_HOUR, UTILISATION, PER_GB = 0.0425, 0.5, 0.09
DEVICE_PRICE, LIFE_H, KW, PER_KWH = 80.0, 5 * 8766.0, 0.005, 0.25
DEVICE_PER_S = 10.0
TINY = {"ROUNDS": 2, "REQUESTS": 40, "OFFLINE": 40}
COLUMNS = (
    *("dep_delay", "carrier", "origin", "dest", "dep_minute", "arr_minute", "weekday", "distance", "plane_age"),
    *(
        "seats",
        "engines",
        "temp",
        "dewp",
        "humid",
        "wind_dir",
        "wind_speed",
        "wind_gust",
        "precip",
        "pressure",
        "visib",
    ),
)
COMMON = {
    "objective": "binary",
    "min_data_in_leaf": 300,
    "lambda_l2": 20,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "num_threads": 1,
    "verbose": -1,
}
SMALL, LARGE = ({"num_leaves": 4, "learning_rate": 0.2}, 10), ({"num_leaves": 31, "learning_rate": 0.05}, 300)
PROJECT = """
[project]
name = "{name}"
state = "../store"
[trust]
publisher_key = "../keys/publisher.pem"
trusted_keys = "../keys/trusted.txt"
[policy]
floor = "none"
[serve]
workers = 1
"""
REMOTE = """
[answer.remote]
url = "http://127.0.0.1:{port}"
protocol = "headway"
model = "behind"
deadline_s = 1.0
"""


class _Rows(NamedTuple):
    """Rows of some days: values (n, d), labels (n,), and day of each row."""

    values: NDArray[np.float64]
    labels: NDArray[np.int64]
    days: NDArray[np.int64]


class _Outcome(NamedTuple):
    """A response: its row, seconds, who answered, the answer, its status, and why the other server has none."""

    row: int
    seconds: float
    answered_by: str
    answer: str
    status: str
    remote: str


def _read() -> dict[str, _Rows]:
    """Return the rows of each part, by whole days at random."""
    table = flight_data.load().filter(pl.col("late").is_not_null()).sort("departs_at").gather_every(STEP)
    table = table.with_columns(pl.col(name).rank("dense") for name in ("carrier", "origin", "dest"))
    day = table["date"].dt.ordinal_day().to_numpy().astype(np.int64) - 1
    parts = np.repeat(list(DAYS), list(DAYS.values()))[np.random.default_rng(0).permutation(365)][day]
    values = table.select(pl.col(name).cast(pl.Float64) for name in COLUMNS).to_numpy()
    labels = table["late"].to_numpy().astype(np.int64)
    return {part: _Rows(values[parts == part], labels[parts == part], day[parts == part]) for part in DAYS}


def _release(folder: Path, name: str, rows: dict[str, _Rows], size: tuple[dict[str, float], int]) -> None:
    """Train, optimize and release a model that answers every row."""
    (folder / name).mkdir()
    (folder / name / "headway.toml").write_text(PROJECT.format(name=name))
    train, other = rows["train"], rows["validation"]
    data = lightgbm.Dataset(train.values, train.labels, feature_name=list(COLUMNS))
    model = lightgbm.train({**COMMON, **size[0]}, data, size[1])
    table = pl.DataFrame(other.values, schema=list(COLUMNS))
    headway.optimize(model, table, other.labels, groups=other.days, budget="5s", folder=folder / name)
    project = open_project(folder / name)
    pipeline.release(project, pipeline.find_search(project, ""), who="bench", why="", override="a benchmark")


def _answers(folder: Path, name: str, rows: _Rows) -> LabeledAnswers:
    release = open_project(folder / name).registry.resolve(f"{name}@live")
    return LabeledAnswers(
        classes=release.release.class_names,
        probabilities=open_release(release).predict(rows.values),
        labels=rows.labels,
        groups=rows.days,
        threshold=0.5,
    )


def _publish(folder: Path, of: str, name: str, plan: AnswerPlan) -> str:
    """Release a model with an answer plan under a name; return its digest."""
    registry = open_project(folder / of).registry
    bundle = registry.resolve(f"{of}@live")
    release = replace(bundle.release, name=name, answers=plan, threshold=0.5)
    digest = registry.publish(release, bundle.files)
    registry.point(f"{name}@live", digest, UpdateReason(who="bench", why="a plan", verdict=release.verdict))
    return digest


def _deploy(folder: Path, rows: dict[str, _Rows]) -> dict[str, AnswerPlan]:
    """Release both models with the plans of the three deployments."""
    for name, size in (("small", SMALL), ("large", LARGE)):
        _release(folder, name, rows, size)
    section = AnswerSection(limit=LIMIT, rule="probability", stages=("remote", "people"))
    small, large = (
        [_answers(folder, name, rows[part]) for part in ("validation", "test")] for name in ("small", "large")
    )
    device = make_plan(*small, section)
    people = replace(section, stages=("people",))
    behind = [answers.behind(of_device, device) for answers, of_device in zip(large, small, strict=True)]
    digest = _publish(folder, "small", "device", device)
    plans = {"edge": device, "cloud": make_plan(*large, people), "split": make_plan(*behind, people)}
    _publish(folder, "large", "cloud", plans["cloud"])
    _publish(folder, "large", "behind", replace(plans["split"], forwarded_by=digest))
    return plans


async def _relay(port: int, to: int, traffic: Synchronized[int]) -> None:
    async def delayed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while part := await reader.read(1 << 16):
                with traffic.get_lock():
                    traffic.value += len(part)
                loop.call_later(ROUND_TRIP_S / 2, writer.write, part)
        loop.call_later(ROUND_TRIP_S / 2, writer.close)

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(ROUND_TRIP_S)  # the handshake of TCP
        try:
            answers, asks = await asyncio.open_connection("127.0.0.1", to)
        except OSError:
            writer.close()
            return
        await asyncio.gather(delayed(reader, asks), delayed(answers, writer))

    await (await asyncio.start_server(meet, "127.0.0.1", port)).serve_forever()


def _run_relay(port: int, to: int, traffic: Synchronized[int]) -> None:
    os.sched_setaffinity(0, {LOAD_CORE})
    asyncio.run(_relay(port, to, traffic))


@contextmanager
def _network(port: int, to: int, traffic: Synchronized[int]) -> Iterator[multiprocessing.Process]:
    """Run the proxy."""
    process = multiprocessing.get_context("fork").Process(target=_run_relay, args=(port, to, traffic))
    process.start()
    try:
        yield process  # type: ignore[misc]
    finally:
        process.kill()
        process.join()


class _Client:
    """Sends rows at random times over kept connections."""

    def __init__(self, rows: _Rows, model: str, port: int) -> None:
        self._rows, self._model, self._port = rows, model, port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    def send(self, chosen: Sequence[int], seed: int) -> list[_Outcome]:
        """Send rows, and return the outcomes."""
        return asyncio.run(self._send(chosen, seed))

    async def _send(self, chosen: Sequence[int], seed: int) -> list[_Outcome]:
        self._idle = [await asyncio.open_connection("127.0.0.1", self._port) for _ in range(32)]
        gaps = np.random.default_rng(seed).exponential(1 / PER_S, len(chosen))
        began = time.perf_counter() + 2 * ROUND_TRIP_S
        work = [self._ask(row, began + due) for row, due in zip(chosen, np.cumsum(gaps), strict=True)]
        found = await asyncio.gather(*work)
        for _, writer in self._idle:
            writer.close()
        return found

    async def _ask(self, row: int, due: float) -> _Outcome:
        values = self._rows.values[row]
        named = {name: None if np.isnan(value) else value for name, value in zip(COLUMNS, values, strict=True)}
        body = json.dumps({"row": named, "key": f"r-{row}"}).encode()
        head = (
            f"POST /v2/models/{self._model}/answer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        await asyncio.sleep(due - time.perf_counter())
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(head.encode() + body)
        answered = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in answered.lower().split(b"\r\n") if line.startswith(b"content-length"))
        content = json.loads(await reader.readexactly(int(length.split(b":")[1])))
        seconds = time.perf_counter() - due
        self._idle.append((reader, writer))
        if b" 200 " not in answered[:16]:
            raise ValueError(f"{answered[:40]!r}: {content}")
        return _Outcome(
            row, seconds, content["answered_by"], content["answer"], content["status"], content.get("remote", "")
        )


class _Round(NamedTuple):
    """A round of one deployment: outcomes, CPU seconds of the server, and bytes over the network."""

    outcomes: list[_Outcome]
    server_cpu_s: float
    traffic: int


def _kill(server: Server) -> None:
    for pid in server.processes():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _measure(folder: Path, rows: _Rows) -> tuple[dict[str, list[_Round]], list[_Outcome]]:
    """Return the rounds of each deployment in turn, and the outcomes of the offline phase."""
    random, traffic, port = np.random.default_rng(1), multiprocessing.Value(c_longlong, 0), free_port()
    for name in ("device", "behind"):
        (folder / name).mkdir()
        (folder / name / "headway.toml").write_text(PROJECT.format(name=name))
    with ExitStack() as stack:
        start = partial(started, asks=READY)
        alone = stack.enter_context(start(ours(folder / "device", "device"), core=SERVER_CORE))
        cloud = stack.enter_context(start(ours(folder / "behind", "cloud", "behind"), core=LOAD_CORE))
        network = stack.enter_context(_network(port, cloud.port, traffic))
        (folder / "device/headway.toml").write_text(PROJECT.format(name="device") + REMOTE.format(port=port))
        device = stack.enter_context(start(ours(folder / "device", "device"), core=SERVER_CORE))
        clients = {
            "edge": _Client(rows, "device", alone.port),
            "cloud": _Client(rows, "cloud", port),
            "split": _Client(rows, "device", device.port),
        }
        for client in clients.values():
            client.send(random.choice(len(rows.labels), 40), 0)
        found = {name: list[_Round]() for name in clients}
        for number in range(ROUNDS):
            chosen = random.choice(len(rows.labels), REQUESTS, replace=False)
            for name, client in clients.items():
                cpu_s, sent = cloud.cpu_s, traffic.value
                outcomes = client.send(chosen, number)
                found[name].append(_Round(outcomes, cloud.cpu_s - cpu_s, traffic.value - sent))
        network.kill()
        _kill(cloud)
        chosen = random.choice(len(rows.labels), OFFLINE, replace=False)
        return found, clients["split"].send(chosen, ROUNDS)


def _over_rounds(values: Sequence[float]) -> Measurement:
    return mean_over_repeats("", np.array(values), what="rounds")


def _interval(found: Measurement, digits: str = ".3g") -> str:
    return f"95 % interval {found.low:{digits}} to {found.high:{digits}}"


def _cost(name: str, measured: _Round) -> float:
    """Return the cost of a million requests: device, server and traffic."""
    n = len(measured.outcomes)
    server = measured.server_cpu_s / 3600 / UTILISATION * PER_VCPU_HOUR + measured.traffic / 1e9 * PER_GB
    device = (DEVICE_PRICE / LIFE_H + KW * PER_KWH) / (DEVICE_PER_S * 3600)
    return (0.0 if name == "edge" else server / n * 1e6) + (0.0 if name == "cloud" else device * 1e6)


def _rows_of(name: str, plan: AnswerPlan, rounds: list[_Round], rows: _Rows) -> list[Row]:
    outcomes = [outcome for one in rounds for outcome in one.outcomes]
    ms = [[outcome.seconds * 1e3 for outcome in one.outcomes] for one in rounds]
    index = np.array([outcome.row for outcome in outcomes])
    answered = np.array([outcome.status == "answered" for outcome in outcomes])
    wrong = np.array([outcome.answer for outcome in outcomes]) != rows.labels[index].astype(str)
    coverage, risk = measure_risk(answered, wrong.astype(np.float64), groups=rows.days[index])
    by = Counter(outcome.answered_by for outcome in outcomes if outcome.status == "answered")
    p50, p99 = (_over_rounds([float(np.quantile(one, share)) for one in ms]) for share in (0.5, 0.99))
    cost = _over_rounds([_cost(name, one) for one in rounds])
    n = f"{len(outcomes):,} requests in {len(rounds)} rounds, {PER_S:g}/s"
    promised = plan.certificate.coverage
    certified = f"{promised.value:.3f} on {promised.n_groups} days"
    who = f"{by['model']:,} where they were sent, {by['remote']:,} forwarded"
    basis = f"{DEVICE_PER_S:g}/s a device of {DEVICE_PRICE:g} for 5 years, {PER_VCPU_HOUR} a vCPU hour, {PER_GB} a GB"
    return [
        shown(f"split.p50_ms.{name}", p50.value, "ms", f"{n}; {_interval(p50)}"),
        shown(f"split.p99_ms.{name}", p99.value, "ms", f"{n}; {_interval(p99)}"),
        shown(f"split.cost.{name}", cost.value, "USD", f"a million requests; {_interval(cost)}; {basis}"),
        shown(
            f"split.answered.{name}", coverage.value, "share", f"{_interval(coverage)}; {who}; certified: {certified}"
        ),
        Row(
            name=f"split.wrong.{name}",
            measured=risk.value,
            unit="share",
            target=f"<= {LIMIT}",
            ok=risk.value <= LIMIT,
            against=f"{int(answered.sum()):,} answers on {risk.n_groups} fresh days; upper end {risk.high:.3f}",
        ),
    ]


def rows() -> Result:
    """Return p50, p99, cost, answered share and share of wrong answers of each deployment, and of the offline phase."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = _read()
        plans = _deploy(folder, data)
        fresh = data["fresh"]
        found, offline = _measure(folder, fresh)
    short = [f"no threshold is certified for {name}" for name, plan in plans.items() if not plan.thresholds]
    lines = [row for name, plan in plans.items() for row in _rows_of(name, plan, found[name], fresh)]
    own = [one for one in offline if one.status == "answered"]
    wrong = sum(one.answer != str(fresh.labels[one.row]) for one in own)
    codes = ", ".join(f"{code} {n:,}" for code, n in Counter(one.remote for one in offline if one.remote).most_common())
    elsewhere = sum(one.answered_by == "remote" for one in own) + sum(
        one.status not in ("answered", "held") for one in offline
    )
    p99 = float(np.quantile([one.seconds * 1e3 for one in offline], 0.99))
    against = f"{len(own):,} of {len(offline):,} requests; {wrong:,} wrong; held: {codes}"
    lines += [
        shown("split.offline.answered", len(own) / max(len(offline), 1), "share", against),
        shown("split.offline.p99_ms", p99, "ms", f"{len(offline):,} requests, the server and the network killed"),
        Row(
            name="split.offline.uncertified",
            measured=float(elsewhere),
            unit="answers",
            target="0",
            ok=not elsewhere,
            against=f"{len(offline):,} requests while the server is away",
        ),
    ]
    return lines, short


if __name__ == "__main__":
    sys.exit("bench/edge.py split")
