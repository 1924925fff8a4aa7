"""A file is scored in memory that does not grow with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.batch.scoring import LIVE, scoring_project, write_table

from headway.core.variant import Field, Signature

WIDTH, ROWS = 30, 120_000
SHORT, LONG = 12, 48
KEPT = [f"x{index}" for index in range(5)]  # writing them takes longer than reading, so chunks have to wait
ROOT = Path(__file__).parents[2]


# Peak memory since the program began: the figure of `wait4` includes that of the parent process.
SCRIPT = """
import sys
from headway.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print("peak", next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def peak_mb(folder: Path, source: Path, out: Path) -> float:
    """Return the peak memory of a separate process that scores a file."""
    path = os.pathsep.join([str(ROOT / "tests/outside"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", SCRIPT, "predict", LIVE, str(source), str(out), "--project", str(folder)]
    command += ["--keep", *KEPT]
    run = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=True, stdout=subprocess.PIPE, text=True)
    return int(run.stdout.rpartition("peak ")[2]) / 1024


def grown(source: Path, times: int) -> Path:
    """Write a file with the same rows repeated, a batch at a time."""
    out = source.with_stem("grown")
    if source.suffix == ".parquet":
        pl.concat([pl.scan_parquet(source)] * times).sink_parquet(out)
    elif source.suffix == ".csv":
        head, _, body = source.read_bytes().partition(b"\n")
        out.write_bytes(head + b"\n" + body * times)
    else:
        table = pl.read_ipc_stream(source)
        pl.concat([table] * times, rechunk=False).write_ipc_stream(out, compat_level=pl.CompatLevel.oldest())
    return out


@pytest.mark.long
@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_file_four_times_as_long_takes_no_more_memory(suffix, tmp_path):
    signature = Signature(inputs=tuple(Field(name=f"x{index}") for index in range(WIDTH)))
    scoring_project(tmp_path, signature=signature)
    drawn = np.random.default_rng(0).uniform(0, 1, (ROWS, WIDTH)).round(3)
    unit = write_table(pl.DataFrame(drawn, schema=list(signature.names)), tmp_path / f"rows{suffix}")
    peaks = [peak_mb(tmp_path, grown(unit, times), tmp_path / f"{times}.csv") for times in (SHORT, LONG)]
    more_mb = (LONG - SHORT) * ROWS * WIDTH * 8 / 2**20
    assert peaks[1] - peaks[0] < more_mb / 12, peaks
