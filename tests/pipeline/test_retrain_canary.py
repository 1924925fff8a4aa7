"""`headway retrain` from a ticket to a live release, through a canary on a server with constant requests."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest
from tests.pipeline import watched
from tests.pipeline.callers import with_callers

from headway import pipeline
from headway.cli import main as cli
from headway.core.record import read
from headway.core.training import Training
from headway.monitoring import rollout as control
from headway.registry.project import Project, open_project

pytestmark = pytest.mark.slow
SETTINGS = """
[retrain]
accept_out_of_range = ["hour"]
judged_days = 25
seeds = 2
mode = "auto"
[rollout]
shares = [0, 0.5]
[[policy.canary]]
measure = "error_rate.drop"
at_most = 0.2
"""
LONGEST_S = 90.0


@pytest.fixture(scope="module")
def ready(tmp_path_factory) -> Path:
    """Return a project with an open ticket."""
    folder = watched.write(tmp_path_factory.mktemp("ready"), retrain=SETTINGS, table=watched.shifted())
    pipeline.watch(watched.released(folder))
    return folder


@pytest.fixture
def folder(ready: Path, tmp_path: Path) -> Path:
    """Return a copy of that project."""
    return Path(shutil.copytree(ready, tmp_path / "copy"))


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "headway.cli", "retrain", "--project", str(folder), *words]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the real command in a separate process."""
    return subprocess.run(command(folder, *words), capture_output=True, text=True, timeout=LONGEST_S)


def expect_promoted(project: Project) -> None:
    """Check that the model was trained once and is live after one canary, and that no ticket is open."""
    rollout = control.latest_rollout(project)
    moves = project.registry.history("small")
    steps = [(move.pointer, move.assignment.stage if move.assignment else None, move.who) for move in moves[1:]]
    who = moves[1].who
    assert [read(Training, training).seed for training in project.state.records("training", name="small")] == [
        None,
        0,
        1,
    ]
    assert steps == [
        ("canary", 0, who),
        ("canary", 1, "rollout"),
        ("live", None, "rollout"),
        ("canary", None, "rollout"),
    ]
    assert rollout.status == "promoted" and project.registry.head("small@live").release == rollout.release
    assert pipeline.open_ticket(project) is None


def test_follow_takes_a_ticket_to_a_live_release_without_a_failed_request(folder, capsys):
    with with_callers(folder) as callers, pytest.raises(SystemExit) as ended:
        cli.main(["retrain", "--project", str(folder), "--follow", "--json", "--who", "ada"])

    shown = capsys.readouterr()
    assert ended.value.code == 0, shown.err
    result = json.loads(shown.out)
    assert (result["status"], result["rollout"]["status"], result["rollout"]["by"]) == ("live", "promoted", "ada")
    assert "shadow goes on to canary 50 %" in shown.err and "canary 50 % goes live" in shown.err
    assert callers.failed == 0 and callers.answered > 100
    expect_promoted(open_project(folder))


@pytest.mark.long
def test_repeated_runs_advance_one_step_each_and_train_once(folder):
    with with_callers(folder):
        codes = [run(folder).returncode]
        deadline = time.monotonic() + LONGEST_S
        while codes[-1] == 3 and time.monotonic() < deadline:
            codes.append(run(folder).returncode)

    assert codes[-1] == 0 and set(codes[:-1]) == {3}
    expect_promoted(open_project(folder))
    assert "no open ticket asks for a retraining" in run(folder).stdout


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1])
def test_a_killed_retraining_resumes_to_the_same_result(folder, seed):
    draw = Random(seed)
    with with_callers(folder):
        for _ in range(4):
            process = subprocess.Popen(
                command(folder, "--follow"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                process.wait(draw.uniform(1.0, 6.0))
            except subprocess.TimeoutExpired:
                process.kill()
            process.wait()
        ended = run(folder, "--follow")
    assert ended.returncode == 0, ended.stderr
    expect_promoted(open_project(folder))
