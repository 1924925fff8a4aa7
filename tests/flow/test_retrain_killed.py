"""`headway retrain` killed by `kill -9` at random moments: started again, it ends as if nothing had happened."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from tests.flow import watched

from headway import flow
from headway.core.record import read
from headway.core.training import Training
from headway.observe.post import post_of
from headway.release.project import open_project

COMMAND = (sys.executable, "-m", "headway.face", "retrain", "--mode", "auto", "--project")
LONGEST_S = 3.0


@pytest.fixture(scope="module")
def ready(tmp_path_factory) -> tuple[Path, str]:
    """A project with an open ticket, and the verdict and model digest that an undisturbed retraining ends with."""
    folder = watched.write(tmp_path_factory.mktemp("ready"), table=watched.turned())
    flow.watch(watched.released(folder))
    undisturbed = folder.parent / "undisturbed"
    shutil.copytree(folder, undisturbed)
    subprocess.run([*COMMAND, str(undisturbed)], check=True, timeout=60, capture_output=True)
    return folder, outcome(undisturbed)


def outcome(folder: Path) -> str:
    """The model that is live, and how often the pointer moved."""
    project = open_project(folder)
    moves = project.register.history("small", "live")
    return f"{post_of(project).release.variant.digest} after {len(moves)} moves, {moves[-1].answer}"


def killed(folder: Path, after_s: float) -> bool:
    """Start the real process and kill it after so many seconds; whether it was still running."""
    process = subprocess.Popen([*COMMAND, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(timeout=after_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def run_again(ready: tuple[Path, str], folder: Path, *, seed: int, kills: int) -> None:
    """Kill it so often at random moments, each time from where it stood, then let it end and see the same outcome."""
    shutil.copytree(ready[0], folder)
    draw = Random(seed)
    for _ in range(kills):
        if not killed(folder, draw.uniform(0.3, LONGEST_S)):
            break
    ended = subprocess.run([*COMMAND, str(folder)], timeout=60, capture_output=True, text=True)
    project = open_project(folder)
    anew = [read(Training, each).seed for each in project.state.kept("training", name="small")]
    assert ended.returncode == 0, ended.stderr
    assert outcome(folder) == ready[1]
    assert anew == [None, 0, 1, 2]


@pytest.mark.slow
def test_killed_five_times_it_ends_as_if_nothing_had_happened(ready, tmp_path):
    run_again(ready, tmp_path / "killed", seed=0, kills=5)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 13))
def test_killed_at_many_more_moments_it_ends_as_if_nothing_had_happened(ready, tmp_path, seed):
    run_again(ready, tmp_path / "killed", seed=seed, kills=5)
