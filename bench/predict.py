"""`headway predict` on 10 million rows of 25 numbers, compared with its engine alone on arrays in memory.

The model of bench/serve.py, as a graph, with as many threads. The engine is timed before and after each run, and the
whole process counts: start, reading, scoring, writing and joining. Other load on the cores lowers the rates; the share
of CPU time is steadier. `predict.share` has the same model compiled for our kernels: its rows per second, divided by
those of reading and then scoring, 1 / (1 / reader + 1 / engine), each timed alone on the same cores; by CPU time it is
`predict.cpu_share`, which other load moves less.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import mean, median

import numpy as np
import polars as pl

from harness import Result, Row, run_parts, shown
from headway.batch.scorer import BATCH_ROWS
from headway.core.contracts import Engine
from headway.core.plugins import load_engine
from serving.models import FEATURES, by_graph, by_trees, project, rows_of

ROWS, CSV_ROWS, AT_ONCE, ALONE_ROWS, RUNS = 10_000_000, 1_000_000, 500_000, 1_000_000, 3
THREADS = len(os.sched_getaffinity(0))
# Peak memory since the program began: the figure of `wait4` includes that of the parent process.
SCRIPT = """
import sys
from headway.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print("peak", next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
READER = """
import sys, time
from pathlib import Path
from headway.core.batch import ScoringOptions
from headway.core.plugins import load_format
from headway.core.variant import Field, Signature
fields = tuple(Field(name=f"x{number}") for number in range(int(sys.argv[2])))
options = ScoringOptions(signature=Signature(inputs=fields), keep=("key",))
began, cpu = time.perf_counter(), time.process_time()
rows = sum(len(chunk.rows()) for chunk in load_format("parquet").scan(Path(sys.argv[1]), options).chunks(0, 0))
print(rows / (time.perf_counter() - began), (time.process_time() - cpu) / rows * 1e6)
"""
TINY = {"ROWS": 20_000, "CSV_ROWS": 2_000, "AT_ONCE": 10_000, "ALONE_ROWS": 10_000, "RUNS": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Rows per second, CPU time per row in us, and the peak memory in MB."""

    per_s: float
    cpu_us: float
    memory_mb: float = 0.0


def parquet(folder: Path) -> Path:
    """Return the rows, with a key, as one parquet file written by polars."""
    draw, parts = np.random.default_rng(3), []
    for start in range(0, ROWS, AT_ONCE):
        names = [f"x{number}" for number in range(FEATURES)]
        table = pl.DataFrame(draw.normal(size=(AT_ONCE, FEATURES)), schema=names)
        parts.append(folder / f"part-{start:09}.parquet")
        table.with_columns(key=pl.int_range(start, start + AT_ONCE)).write_parquet(parts[-1])
    joined = folder / "rows.parquet"
    pl.scan_parquet(parts).sink_parquet(joined)
    for part in parts:
        part.unlink()
    return joined


def csv(source: Path) -> Path:
    """Return the first of those rows as csv."""
    out = source.with_suffix(".csv")
    pl.scan_parquet(source).head(CSV_ROWS).sink_csv(out)
    return out


def alone(engine: Engine) -> Rate:
    """Run the engine on arrays in memory, in batches of the size that predict uses."""
    rows = rows_of(ALONE_ROWS)
    batches = [rows[start : start + BATCH_ROWS] for start in range(0, len(rows), BATCH_ROWS)]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(engine.predict, batches[: 2 * THREADS]))
        began, cpu = time.perf_counter(), time.process_time()
        list(pool.map(engine.predict, batches))
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    return Rate(per_s=len(rows) / seconds, cpu_us=cpu_s / len(rows) * 1e6)


def reader(source: Path) -> Rate:
    """Read the rows as a model reads them: the better of one thread that decodes and all."""
    rates = []
    for threads in (1, THREADS):
        environment = {**_environment(), "POLARS_MAX_THREADS": str(threads)}
        command = [sys.executable, "-c", READER, str(source), str(FEATURES)]
        run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        per_s, cpu_us = map(float, run.stdout.split())
        rates.append(Rate(per_s=per_s, cpu_us=cpu_us))
    return max(rates, key=lambda rate: rate.per_s)


def shares() -> Result:
    """Return the rows of the model that is compiled for our kernels."""
    directory, source = prepared()
    model = by_trees()
    engine = load_engine(model.engine)(model.content, {})
    alones, runs = [(reader(source), alone(engine))], list[Rate]()
    for _ in range(RUNS):
        runs.append(scored(Path(directory.name), source, ROWS, name="trees"))
        alones.append((reader(source), alone(engine)))
    bounds = [mean(1 / (1 / read.per_s + 1 / score.per_s) for read, score in pair) for pair in pairwise(alones)]
    costs = [mean(read.cpu_us + score.cpu_us for read, score in pair) for pair in pairwise(alones)]
    found = sorted(run.per_s / bound for run, bound in zip(runs, bounds, strict=True))
    of_cpu = sorted(cost / run.cpu_us for run, cost in zip(runs, costs, strict=True))
    reads, scores = zip(*alones, strict=True)
    both = f"the reader alone: {_per_s(reads)} rows/s, the engine alone: {_per_s(scores)}; {_spread(found)}"
    cpu = f"the reader alone: {_cpu_us(reads)} us of CPU a row, the engine alone: {_cpu_us(scores)}; {_spread(of_cpu)}"
    share, per_s = median(found), median(run.per_s for run in runs)
    return [
        Row(name="predict.share", measured=share, unit="share", target=">= 0.85", ok=share >= 0.85, against=both),
        shown("predict.cpu_share", median(of_cpu), "share", cpu),
        shown("predict.trees_rows_per_s", per_s, "1/s", both),
    ], []


def _per_s(rates: Sequence[Rate]) -> str:
    return f"{median(rate.per_s for rate in rates):,.0f}"


def _cpu_us(rates: Sequence[Rate]) -> str:
    return f"{median(rate.cpu_us for rate in rates):.3f}"


def _spread(found: Sequence[float]) -> str:
    return f"runs {found[0]:.3g} to {found[-1]:.3g}"


def scored(folder: Path, source: Path, rows: int, *, name: str = "bench") -> Rate:
    """Run `headway predict` once in a separate process."""
    out = folder / f"scores{source.suffix}"
    command = ["predict", f"{name}@live", str(source), str(out), "--project", str(folder), "--keep", "key"]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    script = [sys.executable, "-c", SCRIPT, *command]
    run = subprocess.run(script, check=True, capture_output=True, text=True, env=_environment())
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    memory_mb = int(run.stdout.rpartition("peak ")[2]) / 1024
    for file in folder.glob("scores*"):
        file.unlink()
    return Rate(per_s=rows / seconds, cpu_us=cpu_s / rows * 1e6, memory_mb=memory_mb)


def _environment() -> dict[str, str]:
    """Return the environment in which Python saves compiled modules: an installed package has them, a checkout not."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@cache
def prepared() -> tuple[tempfile.TemporaryDirectory[str], Path]:
    """Return a folder with a project of both models, and the rows in it; it is removed when the process ends."""
    directory = tempfile.TemporaryDirectory()
    project(Path(directory.name), {"bench": by_graph(), "trees": by_trees()})
    return directory, parquet(Path(directory.name))


def graph() -> Result:
    """Return the rows of the model as a graph."""
    directory, source = prepared()
    folder = Path(directory.name)
    (model,) = folder.glob(".headway/releases/bench/*/model.onnx")
    engine = load_engine("onnxruntime")(model.read_bytes(), {})
    engines, runs = [alone(engine)], list[Rate]()
    for _ in range(RUNS):
        runs.append(scored(folder, source, ROWS))
        engines.append(alone(engine))
    from_csv = scored(folder, csv(source), CSV_ROWS)
    alone_per_s = [mean([before.per_s, after.per_s]) for before, after in pairwise(engines)]
    cpus = [mean([before.cpu_us, after.cpu_us]) for before, after in pairwise(engines)]
    share = median(run.per_s / rate for run, rate in zip(runs, alone_per_s, strict=True))
    cpu_share = median(cpu / run.cpu_us for run, cpu in zip(runs, cpus, strict=True))
    rate = f"the engine alone: {median(alone_per_s):,.0f} rows/s"
    rows = [
        Row(name="predict.parquet_share", measured=share, unit="share", target=">= 0.9", ok=share >= 0.9, against=rate),
        shown("predict.parquet_cpu_share", cpu_share, "share", f"the engine alone: {median(cpus):.2f} us of CPU a row"),
        shown("predict.rows_per_s", median(run.per_s for run in runs), "1/s", rate),
        shown("predict.csv_rows_per_s", from_csv.per_s, "1/s", rate),
        shown(
            "predict.memory_mb",
            max(run.memory_mb for run in runs),
            "MB",
            f"a file of {ROWS * FEATURES * 8 / 2**20:,.0f} MB",
        ),
    ]
    return rows, []


PARTS: dict[str, Callable[[], Result]] = {"graph": graph, "share": shares}

if __name__ == "__main__":
    run_parts(__doc__, PARTS)
