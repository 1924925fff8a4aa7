"""The shell commands of the page on a split run from top to bottom, in two projects of the names that the page has."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.house.pages import code_blocks
from tests.ports import free_port

pytestmark = pytest.mark.services  # curl
ROWS = 6_000
TOML = """
[project]
name = "{name}"
[data]
source = "../table.parquet"
target = "late"
time = "at"
[data.known]
dep_delay = "request"
distance = "request"
[split]
train = ["2013-01-01", "2013-03-01"]
validation = ["2013-03-01", "2013-04-15"]
test = ["2013-04-15", "2013-06-01"]
[model]
train = "train:train"
[optimize]
transforms = ["onnx"]
budget_s = 2
"""
TRAIN = """
import lightgbm
def train(rows, labels):
    settings = {{"objective": "binary", "max_depth": {depth}, "num_leaves": {leaves}, "verbose": -1, "num_threads": 1}}
    return lightgbm.train(settings, lightgbm.Dataset(rows.to_numpy(), labels), num_boost_round=40)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two projects: of short delays, lateness follows the distance too, which stumps cannot learn."""
    random = np.random.default_rng(0)
    delay, distance = random.uniform(-60, 120, ROWS), random.uniform(0, 2000, ROWS)
    is_late = np.where(np.abs(delay) < 30, (delay > 0) == (distance > 1000), delay > 0)
    late = np.where(random.random(ROWS) < 0.02, ~is_late, is_late).astype(np.int8)
    start, step = datetime(2013, 1, 1), timedelta(minutes=36)
    at = [start + step * row for row in range(ROWS)]
    table = pl.DataFrame({"at": at, "dep_delay": delay, "distance": distance, "late": late})
    table.write_parquet(tmp_path / "table.parquet")
    for name, depth, leaves in (("device", 1, 2), ("cloud", 6, 31)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "headway.toml").write_text(TOML.format(name=name))
        (tmp_path / name / "train.py").write_text(TRAIN.format(depth=depth, leaves=leaves))
    return tmp_path


def test_the_commands_of_the_page_run_from_top_to_bottom(folder: Path) -> None:
    commands = "\n".join(code_blocks("docs/how-to/split.md", "sh"))
    for port in ("8080", "8443"):
        commands = commands.replace(port, str(free_port()))
    commands = commands.replace("deadline_s = 0.5", "deadline_s = 60.0")  # a busy machine answers later
    ended = subprocess.run(
        ["bash", "-c", "set -eum; trap 'kill $(jobs -p)' EXIT\n" + commands],
        cwd=folder,
        env={**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    answers = [json.loads(text) for text in re.findall(r'{"answer":[^}]*}', ended.stdout)]
    assert [(one["answered_by"], one["status"], one.get("remote", "")) for one in answers] == [
        ("model", "answered", ""),
        ("remote", "answered", ""),
        ("people", "held", "unreachable"),
    ]
    assert 'headway_remote_calls_total{result="unreachable"} 1' in ended.stdout
