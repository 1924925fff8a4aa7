"""`headway predict` of a folder: two workers of Ray against one process on the same cores, and what dies on the way.

20 million rows of 25 numbers in 20 files (5 links to each of 4), the model of bench/serve.py as a graph. Both ways
score a small folder first, so that the start of processes, the release and Ray is outside of the figure. What the
driver recomputes is inside. Each run of Ray is compared with the runs of one process before and after it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import mean, median

import numpy as np
import polars as pl

from harness import Result, Row, shown
from headway.batch.journal import Receipt
from headway.core import record
from serving.models import FEATURES, by_graph, project

FILES, LINKS, FILE_ROWS, KILL_ROWS, RUNS = 4, 5, 1_000_000, 500_000, 3
TINY = {"FILES": 2, "LINKS": 1, "FILE_ROWS": 5_000, "KILL_ROWS": 100_000, "RUNS": 1}
WORKERS = 2
LONGEST_S = 600
SCRIPT = """
import contextlib, json, os, sys, time
from pathlib import Path
from headway.cli.commands.predict import _POLARS
os.environ.update(_POLARS)
from headway.batch import compute, predict
from headway.core import config
folder, small, rows, out, ray = sys.argv[1:]
settings = config.load(Path(folder), environment={"HEADWAY_COMPUTE_RAY": ray})
began = time.perf_counter()
with compute.open_ray(ray) if ray else contextlib.nullcontext() as workers:
    compute.open_ray = lambda _: contextlib.nullcontext(workers)
    predict.predict(settings, "bench@live", Path(small), Path(out + "-small"))
    started = time.perf_counter()
    receipt = predict.predict(settings, "bench@live", Path(rows), Path(out))
    ended = time.perf_counter()
print(json.dumps([started - began, ended - started, receipt.rows, receipt.digest]))
"""


def write_rows(folder: Path, rows: int, *, files: int, links: int = 1) -> Path:
    """Write a folder with Hive partitions: distinct files, and further links to each."""
    draw, names = np.random.default_rng(3), [f"x{number}" for number in range(FEATURES)]
    for file in range(files):
        first = folder / f"part={file}" / "a.parquet"
        first.parent.mkdir(parents=True)
        pl.DataFrame(draw.normal(size=(rows, FEATURES)), schema=names).write_parquet(first)
        for link in range(1, links):
            other = folder / f"part={file + link * files}" / "a.parquet"
            other.parent.mkdir()
            other.hardlink_to(first)
    return folder


@contextmanager
def bench_project() -> Iterator[Path]:
    """Provide a folder with a project whose model is live."""
    with tempfile.TemporaryDirectory() as name:
        project(Path(name), {"bench": by_graph()}).state.close()
        yield Path(name)


def timed(folder: Path, small: Path, rows: Path, ray: str) -> tuple[float, float, str]:
    """Score in a process of its own; return the seconds until it was ready, the rows per second, and the digest."""
    out = folder / "out"
    words = [sys.executable, "-c", SCRIPT, *map(str, (folder, small, rows, out)), ray]
    run = subprocess.run(words, env=environment(), check=True, capture_output=True, text=True)
    ready_s, seconds, n_rows, digest = json.loads(run.stdout.splitlines()[-1])
    for path in folder.glob("out*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return ready_s, n_rows / seconds, digest


def environment() -> dict[str, str]:
    """Return the environment of a run: Ray must start again, with a CPU for each worker."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


def share() -> Result:
    """Return the share of two workers in the rate of one process."""
    with bench_project() as folder:
        rows = write_rows(folder / "rows", FILE_ROWS, files=FILES, links=LINKS)
        small = write_rows(folder / "small", 1000, files=2 * WORKERS)
        alone, shared = [timed(folder, small, rows, "")], []
        for _ in range(RUNS):
            shared.append(timed(folder, small, rows, "auto"))
            alone.append(timed(folder, small, rows, ""))
    rates = [mean([before[1], after[1]]) for before, after in pairwise(alone)]
    figure = median(run[1] / rate for run, rate in zip(shared, rates, strict=True))
    equal = len({digest for _, _, digest in (*alone, *shared)}) == 1
    count = FILES * LINKS * FILE_ROWS
    against = (
        f"{count:,} rows in {FILES * LINKS} files by one process: {median(rates):,.0f} rows/s, over Ray "
        f"{median(run[1] for run in shared):,.0f}; start-up excluded: {median(run[0] for run in alone):.1f} s, "
        f"{median(run[0] for run in shared):.1f} s"
    )
    rows_ = [
        Row(
            name="predict.ray_share", measured=figure, unit="share", target=">= 0.8", ok=figure >= 0.8, against=against
        ),
        Row(
            name="predict.ray_equal",
            measured=float(equal),
            unit="",
            target="1",
            ok=equal,
            against="digests of all files",
        ),
        shown("predict.ray_start_s", median(run[0] for run in shared), "s", "Ray, its workers, and a small folder"),
    ]
    return rows_, []


def killed_worker() -> Result:
    """Kill a worker while it scores: the run ends by itself with the result of one process."""
    return _killed("predict.killed_worker", _kill_worker, resume=False)


def killed_driver() -> Result:
    """Kill the driver while files are scored: the same command ends with the result of one process."""
    return _killed("predict.killed_driver", lambda driver: driver.kill(), resume=True)


def _killed(name: str, kill: Callable[[subprocess.Popen[bytes]], object], *, resume: bool) -> Result:
    with bench_project() as folder:
        rows = write_rows(folder / "rows", KILL_ROWS, files=2 * WORKERS)
        if _start(folder, rows, "alone", ray="").wait(LONGEST_S):
            return [], [f"{name}: one process did not score the folder"]
        driver = _start(folder, rows, "shared", ray="auto")
        _wait(lambda: list((folder / "shared.parts/journals").rglob("journal.jsonl")) or driver.poll() is not None)
        ended = driver.poll() is not None
        kill(driver)
        code = driver.wait(LONGEST_S)
        if resume:
            code = _start(folder, rows, "shared", ray="auto").wait(LONGEST_S)
        same = not code and _receipt(folder, "shared") == _receipt(folder, "alone")
    ok = same and not ended
    against = f"{2 * WORKERS * KILL_ROWS:,} rows, killed by SIGKILL after a part was written; digests of all files"
    row = Row(name=name, measured=float(ok), unit="", target="1", ok=ok, against=against)
    return [row], [f"{name}: the run ended before it was killed"] if ended else []


def _start(folder: Path, rows: Path, out: str, *, ray: str) -> subprocess.Popen[bytes]:
    words = ["predict", "bench@live", str(rows), str(folder / out), "--project", str(folder)]
    return subprocess.Popen(
        [sys.executable, "-m", "headway.cli", *words],
        env={**environment(), "HEADWAY_COMPUTE_RAY": ray},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _receipt(folder: Path, out: str) -> object:
    receipt = record.read(Receipt, (folder / f"{out}.receipt.json").read_bytes())
    return receipt.digest, receipt.rows, receipt.files


def _kill_worker(driver: subprocess.Popen[bytes]) -> None:
    """Kill one worker of this driver that scores a file."""
    _wait(lambda: _workers(driver.pid) or driver.poll() is not None)
    for pid in _workers(driver.pid)[:1]:
        os.kill(pid, signal.SIGKILL)


def _workers(driver: int) -> list[int]:
    parents, scoring = dict[int, int](), list[int]()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if (folder / "cmdline").read_bytes().startswith(b"ray::score_task"):
                scoring.append(int(folder.name))
        except OSError:
            continue
    return [pid for pid in scoring if driver in _ancestors(pid, parents)]


def _ancestors(pid: int, parents: dict[int, int]) -> Iterator[int]:
    while pid := parents.get(pid, 0):
        yield pid


def _wait(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not true() and time.monotonic() < deadline:
        time.sleep(0.005)
