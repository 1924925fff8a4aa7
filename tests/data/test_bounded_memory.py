"""A table several times as large as the memory for it is checked and fingerprinted, and its folder scored."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.batch.scoring import LIVE, scoring_project

from headway.core.variant import Field, Signature

WIDTH, FILE_ROWS = 20, 200_000
SETTINGS = """[data]
source = "{source}"
target = "late"
time = "at"
groups = "customer"
max_rows = 50_000
ignore = ["customer"]
"""
RUN = """
import sys
from headway.cli.main import main
from headway.data import scan
scan.MAX_VALUES = 5_000_000
try:
    main(sys.argv[1:])
finally:
    peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print("\\npeak", peak, file=sys.stderr)
"""
ROOT = Path(__file__).parents[2]


def write_folder(folder: Path, files: int) -> Path:
    """Write a folder of files with as many rows each, one after the other."""
    names = [f"x{index}" for index in range(WIDTH)]
    for number in range(files):
        draw = np.random.default_rng(number)
        values = draw.integers(0, 1000, (FILE_ROWS, WIDTH)).astype(np.float64)
        table = pl.DataFrame(values, schema=names).with_columns(
            at=pl.datetime(2024, 1, 1, time_unit="us")
            + pl.duration(seconds=pl.int_range(FILE_ROWS) + number * FILE_ROWS),
            customer=pl.Series(draw.integers(0, 50_000, FILE_ROWS)),
            late=pl.Series((values[:, 0] + draw.normal(size=FILE_ROWS) * 300 > 500).astype(np.int8)),
        )
        path = folder / f"part={number}/rows.parquet"
        path.parent.mkdir(parents=True)
        table.write_parquet(path)
    return folder


def run(*words: str) -> tuple[float, str]:
    """Return the peak memory in MB, and the output, of a process that runs a command."""
    path = os.pathsep.join([str(ROOT / "tests/outside"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.stdout, done.stderr
    return int(done.stderr.rpartition("peak ")[2]) / 1024, done.stdout


def table_mb(files: int) -> float:
    return files * FILE_ROWS * (WIDTH * 8 + 8 + 8 + 1 + 8) / 2**20


@pytest.mark.long
def test_memory_does_not_grow_with_the_table(tmp_path):
    small, large = (write_folder(tmp_path / f"rows{files}", files) for files in (2, 16))
    more_mb = table_mb(14)
    scoring_project(tmp_path / "scored", signature=Signature(inputs=tuple(Field(name=f"x{i}") for i in range(WIDTH))))
    peaks = {}
    for folder in (small, large):
        settings = tmp_path / f"project-{folder.name}"
        settings.mkdir()
        (settings / "headway.toml").write_text(SETTINGS.format(source=f"../{folder.name}"))
        check, shown = run("check", "--project", str(settings))
        assert " rows all were counted and " in shown
        diff, shown = run("data", "diff", str(folder), str(folder))
        assert "hold the same" in shown
        score, _ = run(
            "predict", LIVE, str(folder), str(tmp_path / f"scores-{folder.name}"), "--project", str(tmp_path / "scored")
        )
        peaks[folder.name] = {"check": check, "diff": diff, "predict": score}
    grown = {name: peaks[large.name][name] - peaks[small.name][name] for name in ("check", "diff", "predict")}
    assert all(mb < more_mb / 4 for mb in grown.values()), (peaks, more_mb)
