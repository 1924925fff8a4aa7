"""The server in a process of its own, one core each for it and for the load: LightGBM on ONNX Runtime, one row JSON.

200 trees of 31 leaves and 25 features, signed, verified and loaded as any release; 32 connections in closed loop.
Peers come later. Shared cores make the rate smaller; the CPU time of a request is steadier.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import lightgbm
import numpy as np
from numpy.typing import NDArray

from harness import Row, report
from headway.core import config
from headway.core.plugins import load_engine
from headway.core.record import digest_of
from headway.core.release import Release, SelfTest
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.core.verdict import Verdict
from headway.engines.lightgbm import Lightgbm
from headway.release.enrol import enrol
from headway.release.register import Reason, Register
from headway.serve.client import Client
from headway.variants.forest_graph import write_graph
from load import Load, run

TREES, LEAVES, FEATURES = 200, 31, 25
CONNECTIONS, SECONDS, RUNS, STARTS = 32, 3.0, 5, 5
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
LIMITED = 0.95
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server process, and how long it took from its start to its first answer."""

    process: subprocess.Popen[str]
    port: int
    start_s: float

    @property
    def cpu_s(self) -> float:
        """CPU time it has used, user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    @property
    def memory_mb(self) -> float:
        """Memory that is resident, shared libraries counted in full."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def rows_of(n: int) -> Floats:
    """Rows float64 [n, 25] of standard normal numbers, the same at every call."""
    return np.random.default_rng(1).normal(size=(n, FEATURES))


def graph() -> bytes:
    """The model, as headway compiles it."""
    rows = rows_of(20_000)
    noise = np.random.default_rng(2).normal(size=len(rows))
    labels = (rows[:, :5].sum(axis=1) + np.sin(3 * rows[:, 5]) + noise > 0).astype(float)
    settings = {"objective": "binary", "num_leaves": LEAVES, "verbose": -1, "num_threads": 1, "seed": 1}
    model = lightgbm.train(settings, lightgbm.Dataset(rows, labels), num_boost_round=TREES)
    return write_graph(Lightgbm.forest(Lightgbm.adopt(model).content))


def project(folder: Path) -> int:
    """A project whose model is signed and live; returns the size of the model in bytes."""
    (folder / "headway.toml").write_text('[project]\nname = "bench"\n[trust]\npublisher_key = "publisher.pem"\n')
    settings = config.load(folder, environment={})
    enrol(settings.path("publisher.pem"), settings.path(settings.trust.trusted_keys), comment="benchmark")
    content = graph()
    variant = Variant(
        artifact=Artifact(format="onnx", digest=digest_of(content), size_bytes=len(content)),
        engine="onnxruntime",
        signature=Signature(inputs=tuple(Field(name=f"x{number}") for number in range(FEATURES))),
    )
    sample = rows_of(20)
    answers = load_engine("onnxruntime")(content, {}).predict(sample)
    verdict = Verdict(answer="pass", subject=variant.digest, by="benchmark", why="to be measured")
    release = Release(
        name="bench",
        variant=variant,
        evidence=(),
        verdict=verdict,
        self_test=SelfTest(rows=tuple(map(tuple, sample.tolist())), answers=tuple(map(tuple, answers.tolist()))),
    )
    register = Register.from_config(settings)
    digest = register.publish(release, {"model.onnx": content})
    register.point("bench@live", digest, Reason(who="benchmark", why="to be measured", verdict=verdict))
    return len(content)


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """The server as `headway serve` starts it, on a core of its own."""
    command = [sys.executable, "-m", "headway.face", "serve", "bench@live", "--project", str(folder), "--port", "0"]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    os.sched_setaffinity(process.pid, {SERVER_CORE})
    try:
        assert process.stdout is not None
        address = next(word for word in process.stdout.readline().split() if word.startswith("http://"))
        with Client(address) as client:
            client.ready()
        start_s = time.perf_counter() - began
        yield Server(process=process, port=int(address.rpartition(":")[2]), start_s=start_s)
    finally:
        process.terminate()
        process.wait(20)


def request() -> bytes:
    """One row as a matrix, the form that a client with ready features sends."""
    data = [round(value, 6) for value in rows_of(1)[0].tolist()]
    inputs = [{"name": "rows", "shape": [1, FEATURES], "datatype": "FP64", "data": data}]
    body = json.dumps({"inputs": inputs}, separators=(",", ":")).encode()
    head = f"POST /v2/models/bench/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def loaded(server: Server) -> tuple[Load, float]:
    """One run of the load from its own process and core, and the server's CPU time of a request in us."""
    spawn = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=os.sched_setaffinity, initargs=(0, {LOAD_CORE})) as pool:
        pool.submit(int).result()  # started, before the clock runs
        before = server.cpu_s
        load = pool.submit(run, server.port, request(), connections=CONNECTIONS, seconds=SECONDS).result()
        return load, (server.cpu_s - before) / load.answers * 1e6


def main() -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory() as folder:
        model_mb = project(Path(folder)) / 2**20
        starts = []
        for _ in range(STARTS):
            with serving(Path(folder)) as server:
                starts.append(server.start_s)
        with serving(Path(folder)) as server:
            runs = [loaded(server) for _ in range(RUNS)]
            memory_mb = server.memory_mb - model_mb
    loads = [load for load, _ in runs]
    rate, busy = median(load.per_s for load in loads), median(load.busy for load in loads)
    p99, cpu = median(load.p99_ms for load in loads), median(cpu for _, cpu in runs)
    start = median(starts)
    rows = [
        row("absolute.one_row_per_s", rate, "1/s", at_least=40_000),
        row("absolute.p99_ms", p99, "ms", at_most=2.0),
        row("absolute.cpu_us", cpu, "us", at_most=25.0),
        row("start_seconds", start, "s", at_most=0.6),
        row("memory_mb", memory_mb, "MB", at_most=90.0),
    ]
    limits = [f"the load used {busy:.0%} of its core, so it may have limited the rate"] if busy > LIMITED else []
    report(rows, limits)


def row(name: str, measured: float, unit: str, *, at_most: float = float("inf"), at_least: float = 0.0) -> Row:
    """A row with its target, on one side."""
    target = f">= {at_least:,g}" if at_least else f"<= {at_most:g}"
    return Row(name=name, measured=measured, unit=unit, target=target, ok=at_least <= measured <= at_most)


if __name__ == "__main__":
    main()
