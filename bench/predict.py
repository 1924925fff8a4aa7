"""`headway predict` on 10 million rows of 25 numbers, compared with its engine alone on arrays in memory.

The model of bench/serve.py, as a graph, with as many threads. The engine is timed before and after each run, and the
whole process counts: start, reading, scoring, writing and joining. Other load on the cores lowers the rates; the share
of CPU time is steadier. `predict.share` has the same model compiled for our kernels: its rows per second, divided by
those of reading and then scoring, 1 / (1 / reader + 1 / engine), each timed alone on the same cores.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, median

import numpy as np
import polars as pl

from harness import Row, command_line, parse, report, shown
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
began = time.perf_counter()
rows = sum(len(chunk.rows) for chunk in load_format("parquet").scan(Path(sys.argv[1]), options).chunks(0, 0))
print(rows / (time.perf_counter() - began))
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


def reader(source: Path) -> float:
    """Return how many rows per second are read as a model reads them: the better of one thread that decodes and all."""
    rates = []
    for threads in (1, THREADS):
        environment = {**os.environ, "POLARS_MAX_THREADS": str(threads)}
        command = [sys.executable, "-c", READER, str(source), str(FEATURES)]
        run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        rates.append(float(run.stdout))
    return max(rates)


def shares(folder: Path, source: Path) -> list[Row]:
    """Return the rows of the model that is compiled for our kernels."""
    model = by_trees()
    engine = load_engine(model.engine)(model.content, {})
    alones, runs = [(reader(source), alone(engine).per_s)], list[float]()
    for _ in range(RUNS):
        runs.append(scored(folder, source, ROWS, name="trees").per_s)
        alones.append((reader(source), alone(engine).per_s))
    bounds = [mean(1 / (1 / read + 1 / score) for read, score in pair) for pair in pairwise(alones)]
    found = sorted(run / bound for run, bound in zip(runs, bounds, strict=True))
    reads, scores = (median(rates) for rates in zip(*alones, strict=True))
    spread = f"runs {found[0]:.3g} to {found[-1]:.3g}"
    both = f"the reader alone: {reads:,.0f} rows/s, the engine alone: {scores:,.0f}; {spread}"
    share = median(found)
    return [
        Row(name="predict.share", measured=share, unit="share", target=">= 0.85", ok=share >= 0.85, against=both),
        shown("predict.trees_rows_per_s", median(runs), "1/s", both),
    ]


def scored(folder: Path, source: Path, rows: int, *, name: str = "bench") -> Rate:
    """Run `headway predict` once in a separate process."""
    out = folder / f"scores{source.suffix}"
    command = ["predict", f"{name}@live", str(source), str(out), "--project", str(folder), "--keep", "key"]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    run = subprocess.run([sys.executable, "-c", SCRIPT, *command], check=True, capture_output=True, text=True)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    memory_mb = int(run.stdout.rpartition("peak ")[2]) / 1024
    for file in folder.glob("scores*"):
        file.unlink()
    return Rate(per_s=rows / seconds, cpu_us=cpu_s / rows * 1e6, memory_mb=memory_mb)


def main() -> None:
    """Measure and report."""
    options = parse(command_line(__doc__))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project(folder, {"bench": by_graph(), "trees": by_trees()})
        (model,) = folder.glob(".headway/releases/bench/*/model.onnx")
        engine = load_engine("onnxruntime")(model.read_bytes(), {})
        source = parquet(folder)
        engines, runs = [alone(engine)], list[Rate]()
        for _ in range(RUNS):
            runs.append(scored(folder, source, ROWS))
            engines.append(alone(engine))
        from_csv = scored(folder, csv(source), CSV_ROWS)
        of_trees = shares(folder, source)
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
        *of_trees,
    ]
    report(rows, as_json=options.json)


if __name__ == "__main__":
    main()
