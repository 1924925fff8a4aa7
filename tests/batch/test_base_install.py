"""The base install alone scores and serves a release: nothing of the laboratory is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.batch.scoring import LIVE, MIXED, number_table, read_table, score_file, scoring_project, write_table

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
# What pyproject.toml adds to the base install, and what those bring along; an import of any fails in the child.
BLOCKED = """
import importlib.abc, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from headway.cli.main import main
main({arguments})
"""
ABSENT = {
    "polars",
    "altair",
    "vl_convert",
    "jinja2",
    "lightgbm",
    "onnx",
    "scipy",
    "sklearn",
    "pandas",
    "pyarrow",
    "narwhals",
}


def without(*arguments: object) -> subprocess.CompletedProcess[str]:
    """What headway says where the laboratory is not installed."""
    path = os.pathsep.join([str(ROOT / "tests/outside"), os.environ.get("PYTHONPATH", "")])
    script = BLOCKED.format(absent=ABSENT, arguments=[str(argument) for argument in arguments])
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, "PYTHONPATH": path},
        check=False,
        capture_output=True,
        text=True,
    )


def test_the_blocked_packages_are_those_that_the_base_install_lacks():
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lab = re.search(r"^lab = \[(.*)\]$", settings, re.MULTILINE)
    assert lab is not None
    named = {re.split(r"[^\w-]", requirement)[0] for requirement in re.findall(r'"([^"]+)"', lab[1])}
    assert {name.removesuffix("-python").replace("-", "_") for name in named} <= ABSENT


@pytest.mark.parametrize("suffix", [".csv", ".arrow"])
def test_it_scores_like_the_complete_install(suffix, tmp_path):
    settings, source = scoring_project(tmp_path), write_table(number_table(5000), tmp_path / f"rows{suffix}")
    score_file(settings, source, tmp_path / f"whole{suffix}", "key", "a")
    run = without("predict", LIVE, source, tmp_path / f"base{suffix}", "--project", tmp_path, "--keep", "key", "a")
    assert (run.returncode, run.stderr) == (0, "")
    assert (tmp_path / f"base{suffix}").read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()


def test_it_scores_strings(tmp_path):
    scoring_project(tmp_path, signature=MIXED)
    source = write_table(read_table(_texts(tmp_path)), tmp_path / "rows.arrow")
    run = without("predict", LIVE, source, tmp_path / "base.csv", "--project", tmp_path, "--json")
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "base.csv").read_text() == "row,probability,decision\n0,0.5,1\n1,2.0,1\n"


@pytest.mark.parametrize(("source", "out"), [("rows.parquet", "scores.csv"), ("rows.csv", "scores.parquet")])
def test_the_error_for_parquet_names_the_install_command(source, out, tmp_path):
    scoring_project(tmp_path)
    write_table(number_table(3), tmp_path / source)
    run = without("predict", LIVE, tmp_path / source, tmp_path / out, "--project", tmp_path)
    assert run.returncode == 2
    assert "format 'parquet' needs 'polars'" in run.stderr and "pip install 'headway[lab]'" in run.stderr


def test_the_error_for_an_arrow_file_shows_how_to_write_a_stream(tmp_path):
    scoring_project(tmp_path)
    source = write_table(number_table(3), tmp_path / "rows.feather")
    run = without("predict", LIVE, source, tmp_path / "scores.csv", "--project", tmp_path)
    assert run.returncode == 2 and "write_ipc_stream" in run.stderr


def test_it_verifies_a_release_and_serves_it(tmp_path):
    scoring_project(tmp_path)
    assert without("verify", LIVE, "--project", tmp_path).returncode == 0
    script = BLOCKED.format(absent=ABSENT, arguments=["serve", LIVE, "--project", str(tmp_path), "--port", "0"])
    path = os.pathsep.join([str(ROOT / "tests/outside"), os.environ.get("PYTHONPATH", "")])
    server = subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("listening on http://127.0.0.1:")
    finally:
        server.terminate()
        assert server.wait(20) == 0
        server.stdout.close()


def _texts(folder: Path) -> Path:
    (folder / "texts.csv").write_text("size,carrier\n1.0,AA\n2.0,WN\n")
    return folder / "texts.csv"
