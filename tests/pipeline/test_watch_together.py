"""Two processes that watch, or retrain, at the same time: one does it, and spends the budget of the year once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.pipeline import watched

from headway import pipeline
from headway.core.monitoring import MonitoringReport, Ticket
from headway.core.training import Retraining, Training
from headway.monitoring.budget import WEALTH, lord_level
from headway.registry.project import open_project
from headway.registry.stores import migrate_store

pytestmark = pytest.mark.slow
WATCH = """
import sys
from datetime import datetime
from pathlib import Path
import msgspec
from headway import pipeline
from headway.registry.project import open_project

project = open_project(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
(april,) = pipeline.watch(project, until=datetime(2013, 5, 1))
print(msgspec.json.encode(april.answers).decode(), flush=True)
"""


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose live release has become worse in April, which was not watched yet."""
    folder = watched.write(tmp_path_factory.mktemp("released"), table=watched.shifted())
    watched.released(folder).state.close()
    return folder


STATES = ["", pytest.param("file", marks=pytest.mark.long), pytest.param("postgresql", marks=pytest.mark.services)]


@pytest.mark.parametrize("state", STATES)
def test_of_two_that_watch_at_once_one_judges_and_the_other_reports_its_answer(request, released, tmp_path, state):
    folder = tmp_path / "project"
    shutil.copytree(released, folder)
    (tmp_path / "state").mkdir()
    if state:
        address = f"file://{tmp_path}/state" if state == "file" else request.getfixturevalue(state)
        project = open_project(folder)
        migrate_store(project.config, str(project.config.state), address)
        project.state.close()
        with (folder / "headway.toml").open("a") as file:
            file.write(f'[store]\nstate = "{address}"\n')
    with ExitStack() as stack:
        watchers = [stack.enter_context(_watcher(folder)) for _ in range(2)]
        assert [watcher.stdout.readline() for watcher in watchers] == ["ready\n"] * 2
        for watcher in watchers:
            watcher.stdin.write("now\n")
            watcher.stdin.flush()
        answers = [watcher.communicate()[0] for watcher in watchers]
    assert answers[0] == answers[1] != ""
    project = open_project(folder)
    (report,) = project.records(MonitoringReport)
    assert report.reply("degradation").level == lord_level([], WEALTH["degradation"])
    assert len(project.records(Ticket)) <= 1
    assert pipeline.watch(project)[0].answers == report.answers
    project.state.close()


@pytest.mark.long
def test_of_two_that_retrain_at_once_one_trains_and_its_rollout_is_the_only_one(released, tmp_path):
    folder = tmp_path / "project"
    shutil.copytree(released, folder)
    project = open_project(folder)
    pipeline.watch(project)
    assert pipeline.open_ticket(project)
    command = [sys.executable, "-m", "headway.cli", "retrain", "--mode", "auto", "--project", str(folder)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    output = [process.communicate() for process in both]
    judged = {retraining.key for retraining in project.records(Retraining)}
    seeds = [training.seed for training in project.records(Training) if training.seed is not None]
    assert len(judged) == 1, output
    assert sorted(seeds) == [0, 1, 2], "each seed is trained once"
    assert len(project.registry.history("small", "canary")) <= 1
    project.state.close()


def _watcher(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WATCH, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
