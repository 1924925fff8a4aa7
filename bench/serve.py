"""Compare the server on one core with others, an echo server, ONNX Runtime, its earlier code, and itself with less on.

usage: python bench/serve.py [--json] [PART...]
The load runs on another core. LightGBM of 200 trees x 31 leaves and 25 features, and a dense network of 67 MB. Ours
serves the trees by its own kernels, as a release of `headway optimize` does, and the network by ONNX Runtime; the
others have ONNX Runtime for both, and the trees as onnxmltools converts them. Servers are measured in turns, and a
ratio is the median over the turns, with its range: the turns are short, because a virtual machine changes its speed
within seconds. Every answer is read, and must be correct.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from statistics import median
from urllib.request import Request, urlopen

from cache import HERE, Absent
from harness import Result, Row, command_line, parse, report, show_progress, shown
from serving import before, grpc_load
from serving.load import LIMITED, Case, Load, Plan, Wrong, histogram, measure, quantile_ms
from serving.models import (
    Model,
    Question,
    by_converter,
    by_trees,
    larger,
    mlp,
    new_caller,
    posted,
    project,
    question,
    v2,
)
from serving.peer_servers import PEERS, Peer, serving
from serving.processes import CORES, LOAD_CORE, READY, SERVER_CORE, Server, free_port, ours, started
from serving.relay import certificate

ROUNDS, SECONDS, LOOK_S, STARTS = 9, 0.75, 0.75, 5
OPEN_PER_S, OPEN_ROUNDS, BEHIND_P99 = 2_000, 5, 662
ECHO_P99_MS = 1.0  # with a slower echo server, the machine is too busy to compare tails
DELAYED_ACK_MS = (32.0, 64.0)
KINDS = {"one_row": ("trees", 1), "rows32": ("trees", 32), "mlp": ("mlp", 1)}
# Ratios of docs/benchmarks.md when the goals were set, on two cores of an AMD EPYC; None is shown without a goal.
AT_LEAST: dict[str, dict[str, float | None]] = {
    "fastapi": {"one_row": 5.66, "rows32": 4.85, "mlp": 6.17},
    "fastapi_model": {"one_row": None, "rows32": None},
    "mlserver": {"one_row": 18.06, "rows32": 9.85, "mlp": 2.65},
    "kserve": {"one_row": 24.18, "rows32": 15.46, "mlp": 8.58},
    "bentoml": {"one_row": 36.74, "rows32": 22.16, "mlp": 3.43},
    "litserve": {"one_row": 37.67, "rows32": 22.0, "mlp": 4.55},
    "mosec": {"one_row": 2.2, "rows32": 3.93, "mlp": 1.33},
}
# What is on in a server as it comes, and the environment that turns each off.
OFF: dict[str, Mapping[str, str]] = {
    "keys": {"HEADWAY_SERVE_KEYS": "none.toml"},
    "log": {"HEADWAY_SERVE_LOG_MODE": "off"},
    "contract": {"HEADWAY_SERVE_CONTRACT": "off"},
}
ON = f"{', '.join(OFF)} on"
FAILURES = (Absent, Wrong, RuntimeError, subprocess.CalledProcessError)
TINY = {"ROUNDS": 1, "SECONDS": 0.2, "LOOK_S": 0.1, "STARTS": 1, "OPEN_PER_S": 200, "OPEN_ROUNDS": 1, "BEHIND_P99": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A load, and the CPU time of the server per answer, in us."""

    load: Load
    cpu_us: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bench:
    """A project with the live models, an API key, and a file of each model for servers that read ONNX."""

    folder: Path
    models: Mapping[str, Model]
    key: str

    @cache  # noqa: B019 - one of these lives as long as the process
    def question(self, name: str, rows_each: int) -> Question:
        """Return the rows of a model's requests."""
        return question(self.models[name], rows_each)

    def cases(self, name: str, rows_each: int = 1, *, of: str = "", key: str = "", columns: int = 1) -> list[Case]:
        """Return requests to our server; `of` is another form of the model with the same predictions."""
        question = self.question(name, rows_each)
        address, headers = f"/v2/models/{of or name}/infer", [f"Authorization: Bearer {key or self.key}"]
        ask = [posted(address, v2(rows, "FP64"), headers) for rows in question.parts()]
        return question.cases(ask, columns=columns)

    def echoed(self, name: str) -> list[Case]:
        """Return the same requests of one row, to which an echo server answers with the row."""
        parts = [tuple(rows.ravel().tolist()) for rows in self.question(name, 1).parts()]
        return [Case(request=case.request, answers=(row,)) for case, row in zip(self.cases(name), parts, strict=True)]

    def file(self, name: str) -> Path:
        """Return the model as the other servers read it."""
        return self.folder / f"{name}.onnx"

    @contextmanager
    def serving(
        self,
        *names: str,
        off: Sequence[str] = (),
        more: Mapping[str, str] | None = None,
        asks: bytes = READY,
        core: int | str = SERVER_CORE,
    ) -> Iterator[Server]:
        """Start our server with some features off and more settings."""
        around = {key: value for part in off for key, value in OFF[part].items()} | (more or {})
        command = ours(self.folder, *(names or self.models))
        with started(command, asks=asks, environment=around, core=core) as server:
            yield server


@contextmanager
def project_of(models: Mapping[str, Model], files: Mapping[str, bytes]) -> Iterator[Bench]:
    """Sign models and make them live; `files` are those that other servers read, by name."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project(folder, models)
        for model, content in files.items():
            (folder / f"{model}.onnx").write_bytes(content)
        yield Bench(folder=folder, models=models, key=new_caller(folder))


@contextmanager
def project_of_models() -> Iterator[Bench]:
    """Serve the trees and the network; the trees also as the other servers read them, as `ort`."""
    models = {"trees": by_trees(), "mlp": mlp(), "ort": by_converter()}
    with project_of(models, {"trees": models["ort"].content, "mlp": models["mlp"].content}) as bench:
        yield bench


@contextmanager
def echo_server(bench: Bench) -> Iterator[Server]:
    """Start the echo server on the core of the servers."""
    command = [sys.executable, "-c", "from serving import echo; echo.main()"]
    asks = bench.cases("trees")[0].request
    with started(command, asks=asks, environment={"PYTHONPATH": str(HERE)}) as server:
        yield server


def timed(server: Server, cases: Sequence[Case], plan: Plan) -> Timed:
    """Run the load once; raises Wrong if an answer is not correct."""
    before = server.cpu_s
    load = measure(server.port, cases, plan)
    return Timed(load=load, cpu_us=(server.cpu_s - before) / load.total * 1e6)


def plan(**overrides: float) -> Plan:
    """Return the load plan of our server."""
    return Plan(**{"seconds": SECONDS, "core": LOAD_CORE, **overrides})  # type: ignore[arg-type]


def against(name: str, bench: Bench) -> Result:
    """Compare requests per second with another server, for each kind of request."""
    rows, short = [], []
    with bench.serving() as server:
        for kind in AT_LEAST[name]:
            try:
                rows += _raced(bench, server, PEERS[name], kind)
            except FAILURES as reason:
                short.append(f"{name}.{kind}: {reason}")
    return rows, short


def _raced(bench: Bench, server: Server, peer: Peer, kind: str) -> list[Row]:
    name, rows_each = KINDS[kind]
    mine, theirs = bench.cases(name, rows_each), peer.cases(bench.question(name, rows_each))
    start = partial(serving, peer, bench.file(name), asks=theirs[0].request)
    setting = _best_setting(peer, start, theirs)
    turns: list[tuple[Timed, Timed]] = []
    with start(setting=setting) as other:
        for _ in range(ROUNDS):
            best = max(
                (timed(server, mine, plan(connections=connections)) for connections in peer.connections), key=_rate
            )
            turns.append((best, _best_of(peer, other, theirs, SECONDS)))
    ratio, turned = _median_and_range([_rate(mine) / _rate(theirs) for mine, theirs in turns])
    rates = [_format_rates([turn[index] for turn in turns]) for index in (0, 1)]
    at_best = f" at the best of {peer.connections} connections" if len(peer.connections) > 1 else ""
    words = f"{peer.package} {peer.version()} ({setting}) {rates[1]}, ours {rates[0]}{at_best}; {turned}"
    goal = AT_LEAST[peer.name][kind]
    name = f"{peer.name}.{kind}"
    return [shown(name, ratio, "x", words) if goal is None else row(name, ratio, "x", f">= {goal:g}", words)]


def _best_setting(peer: Peer, start: Callable[..., object], cases: Sequence[Case]) -> str:
    """Return the setting with the highest rate; a setting that fails is skipped, unless all fail."""
    if len(peer.settings) == 1:
        return next(iter(peer.settings))
    rates, reasons = {}, []
    for setting in peer.settings:
        try:
            with start(setting=setting) as other:  # type: ignore[attr-defined]
                rates[setting] = _rate(_best_of(peer, other, cases, LOOK_S))
        except (Absent, Wrong) as reason:
            reasons.append(f"{setting}: {reason}")
    if not rates:
        raise Absent("; ".join(reasons))
    return max(rates, key=rates.__getitem__)


def _best_of(peer: Peer, other: Server, cases: Sequence[Case], seconds: float) -> Timed:
    return max(
        (timed(other, cases, peer.plan(seconds, connections, LOAD_CORE)) for connections in peer.connections), key=_rate
    )


def _rate(found: Timed) -> float:
    return found.load.per_s


def _median_and_range(ratios: Sequence[float]) -> tuple[float, str]:
    return median(ratios), f"{len(ratios)} turns from {min(ratios):.3g} to {max(ratios):.3g}"


def _format_rates(found: Sequence[Timed]) -> str:
    return f"{median(map(_rate, found)):,.0f}/s at {median(run.cpu_us for run in found):,.1f} us of CPU"


def of_raw(bench: Bench) -> Result:
    """Compare requests and rows per second with calls and rows of ONNX Runtime alone in a process."""
    turns: dict[str, list[tuple[Timed, float]]] = {kind: [] for kind in ("one_row", "rows32")}
    with bench.serving("trees") as server:
        for kind in [*turns] * ROUNDS:
            name, rows_each = KINDS[kind]
            turns[kind].append((timed(server, bench.cases(name, rows_each), plan()), _raw(bench.file(name), rows_each)))
        n_rows = sum(mine.load.total * KINDS[kind][1] for kind, found in turns.items() for mine, _ in found)
        words = f"of {n_rows:,} rows, most of them 32 to a request, with both cores at their limit"
        lost = row("log.dropped", _dropped(server, bench.key) / n_rows, "share", "<= 0", words)
    rows = []
    for kind, minimum in (("one_row", 0.5), ("rows32", 1.5)):
        ratio, turned = _median_and_range([_rate(mine) / raw for mine, raw in turns[kind]])
        rows_each = KINDS[kind][1]
        raw = f"ONNX Runtime in its process: {median(raw for _, raw in turns[kind]) * rows_each:,.0f} rows/s"
        words = f"{raw}; ours {_format_rates([mine for mine, _ in turns[kind]])} a request; {turned}"
        rows.append(row(f"raw_ort.{kind}", ratio, "share", f">= {minimum:g}", words))
    return [*rows, lost], []


def _raw(model: Path, rows_each: int) -> float:
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-c", "import session; session.main()"]
    around = {**os.environ, "MODEL": str(model), "PYTHONPATH": str(HERE / "peers")}
    run = subprocess.run([*command, str(rows_each), "1"], env=around, check=True, stdout=subprocess.PIPE, text=True)
    return float(run.stdout)


def _dropped(server: Server, key: str) -> float:
    """Return the rows that did not reach the log, by the server's own counters."""
    request = Request(f"http://127.0.0.1:{server.port}/metrics", headers={"Authorization": f"Bearer {key}"})
    with urlopen(request) as response:
        lines = response.read().decode().splitlines()
    counters = tuple(f"headway_log_{kind}_rows_total{{" for kind in ("dropped", "lost"))
    return sum(float(line.split()[-1]) for line in lines if line.startswith(counters))


def of_ours(bench: Bench) -> Result:
    """Measure rate, latency and memory of our server, and of the same model on ONNX Runtime."""
    starts = []
    for _ in range(STARTS):
        with bench.serving("trees") as server:
            starts.append(server.start_s)
    with bench.serving("trees") as server, bench.serving("ort") as by_ort:
        turns = [
            (timed(server, bench.cases("trees"), plan()), timed(by_ort, bench.cases("trees", of="ort"), plan()))
            for _ in range(ROUNDS)
        ]
        memory = server.memory_mb - len(bench.models["trees"].content) / 2**20
    mine, other = [found for found, _ in turns], [found for _, found in turns]
    how = f"{ON}; {_format_rates(mine)}; 32 connections"
    rows = [
        row("absolute.one_row_per_s", median(map(_rate, mine)), "1/s", ">= 60,000", how),
        row("absolute.p99_ms", median(run.load.p99_ms for run in mine), "ms", "<= 2", _behind(mine)),
        shown(
            "absolute.one_row_per_s_by_ort",
            median(map(_rate, other)),
            "1/s",
            f"the same by ONNX Runtime: {_format_rates(other)}",
        ),
        row("start_seconds", median(starts), "s", "<= 0.6", f"{min(starts):.2f} to {max(starts):.2f}"),
        row("memory_mb", memory, "MB", "<= 90", f"PSS of one worker, without the model; {ON}"),
    ]
    busy = median(run.load.busy for run in mine)
    return rows, [f"the load used {busy:.0%} of its core and may have limited the rate"] if busy > LIMITED else []


def of_open_loop(bench: Bench) -> Result:
    """Compare the tail of the latency at 2,000 requests per second with that of an echo server on the same loop."""
    at = plan(rate=OPEN_PER_S, seconds=3.0)
    with (
        bench.serving("trees") as server,
        echo_server(bench) as other,
        bench.serving("trees", off=("log",)) as quiet,
    ):
        arms = ((server, bench.cases("trees")), (other, bench.echoed("trees")), (quiet, bench.cases("trees")))
        turns = [[timed(arm_server, arm_cases, at) for arm_server, arm_cases in arms] for _ in range(OPEN_ROUNDS)]
    mine, theirs, without = ([turn[arm] for turn in turns] for arm in range(len(arms)))
    p99_ms = [median(run.load.p99_ms for run in found) for found in (mine, theirs, without)]
    p999_ms = [quantile_ms([run.load for run in found], 0.999) for found in (mine, theirs)]
    counts = histogram([run.load for run in mine])
    late = sum(n for edge, n in counts.items() if DELAYED_ACK_MS[0] < edge <= DELAYED_ACK_MS[1])
    words = f"an echo server {p99_ms[1]:.3f} ms, ours {p99_ms[0]:.3f} ms, {ON}; {_behind(mine)}"
    of_all = f"an echo server {p999_ms[1]:.3f} ms, ours {p999_ms[0]:.3f} ms, of all rounds together"
    shape = "answers up to a latency: " + ", ".join(f"{edge:g} ms {n:,}" for edge, n in counts.items())
    cpu_us = [median(run.cpu_us for run in found) for found in (mine, theirs)]
    rows = [
        shown(
            "open_loop.p99_over_echo_without_log", p99_ms[2] / p99_ms[1], "x", f"ours with log off {p99_ms[2]:.3f} ms"
        ),
        shown("open_loop.cpu_us", cpu_us[0], "us", f"CPU of a request; of the echo server {cpu_us[1]:.1f} us"),
    ]
    compared = [
        row("open_loop.p99_over_echo", p99_ms[0] / p99_ms[1], "x", "<= 1.5", words),
        row("open_loop.p999_over_echo", p999_ms[0] / p999_ms[1], "x", "<= 3", of_all),
        row("open_loop.delayed_acks", late, "answers", "<= 0", f"in {DELAYED_ACK_MS} ms; {shape}"),
    ]
    if p99_ms[1] > ECHO_P99_MS:
        return rows, [f"open_loop: void, because the p99 of the echo server is {p99_ms[1]:.2f} ms"]
    return [*compared, *rows], []


def of_echo(bench: Bench) -> Result:
    """Compare requests per second with an echo server, which receives the same bytes."""
    with bench.serving("trees") as server, echo_server(bench) as other:
        turns = [
            (timed(server, bench.cases("trees"), plan()), timed(other, bench.echoed("trees"), plan()))
            for _ in range(ROUNDS)
        ]
    share, turned = _median_and_range([_rate(mine) / _rate(theirs) for mine, theirs in turns])
    mine, theirs = (_format_rates([turn[arm] for turn in turns]) for arm in (0, 1))
    words = f"an echo server {theirs}; ours {mine}; {turned}"
    return [row("echo.one_row", share, "share", ">= 0.6", words)], []


def of_before(bench: Bench) -> Result:
    """Compare with the code of an earlier commit, for each kind of request of the trees."""
    rows = []
    with bench.serving("trees") as server, before.serving() as earlier:
        for kind, target in (("one_row", ">= 1.4"), ("rows32", "")):
            mine, theirs = bench.cases(*KINDS[kind]), bench.cases(*KINDS[kind], key=earlier.key)
            turns = [(timed(server, mine, plan()), timed(earlier.server, theirs, plan())) for _ in range(ROUNDS)]
            ratio, turned = _median_and_range([_rate(turn[0]) / _rate(turn[1]) for turn in turns])
            rates = [
                f"{_format_rates(found)}, p99 {median(run.load.p99_ms for run in found):.2f} ms"
                for found in ([turn[0] for turn in turns], [turn[1] for turn in turns])
            ]
            words = f"commit {before.COMMIT} {rates[1]}; ours {rates[0]}; {turned}"
            name = f"before.{kind}"
            rows.append(row(name, ratio, "x", target, words) if target else shown(name, ratio, "x", words))
    return rows, []


def of_larger(name: str, kind: str, _: Bench) -> Result:
    """Measure one row of a model with many columns or classes, next to other servers with the same trees."""
    model, graph = larger(name)
    columns = model.classes if model.classes > 2 else 1
    words, short = [], []
    with project_of({name: model}, {name: graph}) as bench, bench.serving() as server:
        mine = [timed(server, bench.cases(name, columns=columns), plan()) for _ in range(ROUNDS)]
        for peer in (PEERS["fastapi"], PEERS["mosec"]):
            try:
                words.append(_peer_rate(bench, peer, name, columns))
            except FAILURES as reason:
                short.append(f"{name}.{kind}: {peer.name}: {reason}")
    words.append(f"ours {_format_rates(mine)}, p99 {median(run.load.p99_ms for run in mine):.2f} ms")
    return [shown(f"{name}.{kind}", median(map(_rate, mine)), "1/s", "; ".join(words))], short


def _peer_rate(bench: Bench, peer: Peer, name: str, columns: int) -> str:
    """Return the rate of another server with its best setting, for requests of one row."""
    cases = peer.cases(bench.question(name, 1), columns=columns)
    start = partial(serving, peer, bench.file(name), asks=cases[0].request)
    setting = _best_setting(peer, start, cases)
    with start(setting=setting) as other:
        found = [_best_of(peer, other, cases, SECONDS) for _ in range(ROUNDS)]
    return f"{peer.name} {peer.version()} ({setting}) {_format_rates(found)}"


def of_workers(bench: Bench) -> Result:
    """Compare two workers with one on two cores; the load has a core of its own if there is a third."""
    cores = f"{CORES[0]},{CORES[min(1, len(CORES) - 1)]}"
    load = plan(core=LOAD_CORE if len(CORES) > 2 else None, connections=64)
    with (
        bench.serving("trees", more={"HEADWAY_SERVE_WORKERS": "1"}, core=cores) as one,
        bench.serving("trees", more={"HEADWAY_SERVE_WORKERS": "2"}, core=cores) as two,
    ):
        turns = [
            (timed(two, bench.cases("trees"), load), timed(one, bench.cases("trees"), load)) for _ in range(ROUNDS)
        ]
    ratio, turned = _median_and_range([_rate(turn[0]) / _rate(turn[1]) for turn in turns])
    where = "on another core" if len(CORES) > 2 else "on the same two cores"
    of_two, of_one = (_format_rates([turn[arm] for turn in turns]) for arm in (0, 1))
    words = f"one {of_one}, two {of_two}; load {where}; {turned}"
    return [shown("two_workers.scaling", ratio, "x", words)], []


def of_features(bench: Bench) -> Result:
    """Compare the server with one without features, and measure each feature's cost for requests of 1 and 32 rows."""
    turns: dict[str, list[list[Timed]]] = {kind: [] for kind in ("one_row", "rows32")}
    with ExitStack() as stack:
        servers = [
            stack.enter_context(bench.serving("trees", off=off)) for off in ((), tuple(OFF), *((name,) for name in OFF))
        ]
        for kind in [*turns] * ROUNDS:
            cases = bench.cases(*KINDS[kind])
            turns[kind].append([timed(server, cases, plan()) for server in servers])
    one = turns["one_row"]
    share, turned = _median_and_range([_rate(turn[0]) / _rate(turn[1]) for turn in one])
    rates = [_format_rates([turn[arm] for turn in one]) for arm in (0, 1)]
    words = f"with all off {rates[1]}; {ON} {rates[0]}; {turned}"
    rows = [row("bare.one_row", share, "share", ">= 0.75", words)]
    for index, name in enumerate(("all", *OFF), start=1):
        cost, of_many = (median(turn[0].cpu_us - turn[index].cpu_us for turn in turns[kind]) for kind in turns)
        rows.append(shown(f"cost.{name}", cost, "us", f"CPU of a request of one row; of 32 rows {of_many:.2f} us"))
    return rows, []


def of_tls(bench: Bench) -> Result:
    """Measure the cost of TLS per request: the load passes through relays, one of which speaks TLS to its server."""
    pem = certificate(bench.folder / "tls.pem")
    secured = {"HEADWAY_SERVE_TLS_CERTIFICATE": str(pem)}
    relay = partial(
        started, [sys.executable, "-c", "from serving import relay; relay.main()"], asks=READY, core=LOAD_CORE
    )
    with bench.serving("trees") as server, bench.serving("trees", more=secured, asks=b"") as over_tls:
        to = {"PYTHONPATH": str(HERE), "TO": str(server.port)}
        to_tls = {**to, "TO": str(over_tls.port), "CERTIFICATE": str(pem)}
        with relay(environment=to) as near, relay(environment=to_tls) as near_tls:
            arms = ((near, server), (near_tls, over_tls))
            turns = [[_through(bench, *arm) for arm in arms] for _ in range(ROUNDS)]
    cost = median(secret.cpu_us - plain.cpu_us for plain, secret in turns)
    without, with_tls = (_format_rates([turn[arm] for turn in turns]) for arm in (0, 1))
    words = f"through a relay: without {without}, over TLS {with_tls}"
    return [shown("cost.tls", cost, "us", words)], []


def _through(bench: Bench, relay: Server, server: Server) -> Timed:
    before = server.cpu_s
    load = measure(relay.port, bench.cases("trees"), plan())
    return Timed(load=load, cpu_us=(server.cpu_s - before) / load.total * 1e6)


def of_grpc(bench: Bench) -> Result:
    """Measure one row over gRPC with Python's client, and with perf_analyzer, which is not as busy as the server."""
    port, row_bytes = free_port(), bench.question("trees", 1).rows[0].astype("<f8").tobytes()
    more = {"HEADWAY_SERVE_GRPC_PORT": str(port)}
    with bench.serving("trees", more=more) as server:
        load, cost = _grpc_load(server, port, row_bytes, bench.key)
    words = f"32 callers, {ON}; p99 {load.p99_ms:.2f} ms; the client is as busy as the server"
    rows = [
        shown("grpc.one_row_per_s", load.per_s, "1/s", words),
        shown("grpc.cpu_us", cost, "us", "CPU of a call"),
    ]
    try:
        rows += _grpc_over_before(bench, row_bytes)
    except FAILURES as reason:
        return rows, [f"grpc.one_row: {reason}"]
    return rows, []


def _grpc_load(server: Server, port: int, row_bytes: bytes, key: str) -> tuple[grpc_load.GrpcLoad, float]:
    """Return the load from Python's client, and the CPU time of the server per call, in us."""
    before_s = server.cpu_s
    os.sched_setaffinity(0, {LOAD_CORE})
    message = grpc_load.message("trees", row_bytes)
    load = grpc_load.run(f"127.0.0.1:{port}", message, key=key, callers=32, seconds=3 * SECONDS)
    os.sched_setaffinity(0, CORES)
    return load, (server.cpu_s - before_s) / load.answers * 1e6


def _grpc_over_before(bench: Bench, row_bytes: bytes) -> list[Row]:
    """Compare with the code of an earlier commit: calls per second by perf_analyzer, and CPU per call."""
    ports = free_port(), free_port()
    settings = [{"HEADWAY_SERVE_GRPC_PORT": str(port)} for port in ports]
    with bench.serving("trees", more=settings[0]) as server, before.serving(more=settings[1]) as earlier:
        arms = ((server, ports[0], bench.key), (earlier.server, ports[1], earlier.key))
        costs = [[_grpc_load(arm, port, row_bytes, key)[1] for arm, port, key in arms] for _ in range(ROUNDS)]
        found = [
            [
                grpc_load.by_perf_analyzer(port, "trees", key=key, core=LOAD_CORE, seconds=3 * SECONDS)
                for _, port, key in arms
            ]
            for _ in range(max(1, ROUNDS // 3))
        ]
    rates = [median(turn[arm].per_s for turn in found) for arm in (0, 1)]
    p99_ms = [median(turn[arm].p99_ms for turn in found) for arm in (0, 1)]
    words = "; ".join(
        f"{name} {rates[arm]:,.0f}/s, p99 {p99_ms[arm]:.2f} ms"
        for arm, name in enumerate(("ours", f"commit {before.COMMIT}"))
    )
    ratio = median(turn[0].per_s / turn[1].per_s for turn in found)
    matrix = f"one row as a matrix: {median(turn[0] for turn in costs):.1f} us of CPU a call"
    return [
        row("grpc.one_row", ratio, "x", ">= 1.8", f"perf_analyzer, an input a column, 32 callers: {words}"),
        shown("grpc.cpu_over_before", median(turn[1] / turn[0] for turn in costs), "x", matrix),
    ]


def _behind(found: Sequence[Timed]) -> str:
    counted = min(run.load.counted for run in found)
    if counted < BEHIND_P99:
        raise Wrong(f"only {counted} answers behind a p99")
    return f"{counted:,} or more answers behind each p99"


def row(name: str, measured: float, unit: str, target: str, against: str) -> Row:
    """Build a row with its target: `>= 15` or `<= 2`."""
    comparison, limit = target.split()
    value = float(limit.replace(",", ""))
    ok = measured >= value if comparison == ">=" else measured <= value
    return Row(name=name, measured=measured, unit=unit, target=target, ok=ok, against=against)


PARTS: dict[str, Callable[[Bench], Result]] = {
    **{name: partial(against, name) for name in AT_LEAST},
    "raw_ort": of_raw,
    "ours": of_ours,
    "open_loop": of_open_loop,
    "echo": of_echo,
    "before": of_before,
    "wide": partial(of_larger, "wide", "rows1"),
    "multiclass": partial(of_larger, "multiclass", "one_row"),
    "workers": of_workers,
    "features": of_features,
    "tls": of_tls,
    "grpc": of_grpc,
}


def main() -> None:
    """Run the named parts, or all, and print their rows."""
    options = parse(command_line(__doc__, PARTS), PARTS)
    rows, short = list[Row](), list[str]()
    with project_of_models() as bench:
        for name in options.parts or PARTS:
            print(f"{name} ...", file=sys.stderr, flush=True)
            try:
                part_rows, part_short = PARTS[name](bench)
            except FAILURES as reason:
                part_rows, part_short = [], [f"{name}: {reason}"]
            show_progress(part_rows)
            rows, short = [*rows, *part_rows], [*short, *part_short]
    report(rows, short, as_json=options.json)


if __name__ == "__main__":
    main()
