"""Work on a real Ray gives the numbers of one machine to the bit, also if a worker or a node is killed."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import pytest
from tests.pipeline.shared_work import AUDITS, audited, exact, on_ray, searched

from headway import pipeline
from headway.batch.compute import open_ray
from headway.core.threads import cores
from headway.core.training import Training
from headway.core.workers import Workers
from headway.registry.project import open_project

pytestmark = [pytest.mark.services, pytest.mark.filterwarnings("default")]

ROOT = Path(__file__).parents[2]
LONGEST_S = 300
KILLED = """
import os, pathlib, signal
def train(rows, labels, *, seed=0):
    mark = pathlib.Path(__file__).parent / "kill_one"
    if mark.exists():
        mark.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return fit(rows, labels, seed=seed)
"""
"""A training function that kills its process once, if the project has a file `kill_one`."""


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        with open_ray("auto") as opened:
            yield opened


@pytest.fixture(autouse=True)
def one_ray(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Let `[compute] ray` use the Ray that runs already."""
    monkeypatch.setattr("headway.batch.compute.open_ray", lambda _: nullcontext(request.getfixturevalue("workers")))


def kill_a_worker(folder: Path) -> Path:
    """Let the next training of a project kill its process."""
    mark = folder / "kill_one"
    mark.touch()
    return mark


def trainable(folder: Path) -> Path:
    """Let the training function of a project kill its process if it shall."""
    file = folder / "mine.py"
    file.write_text(file.read_text().replace("def train(", "def fit(") + KILLED)
    return folder


def test_audits_survive_a_killed_worker_with_the_numbers_of_one_machine(tmp_path):
    project, result, data = searched(tmp_path, change=trainable)
    here = audited(project, result, data)
    mark = kill_a_worker(tmp_path)
    assert audited(on_ray(project), result, data) == here
    assert not mark.exists() and {found.name.partition(".")[0] for found in here} == set(AUDITS)


def test_a_retraining_survives_a_killed_worker_with_the_models_of_one_machine(ticket_folder, tmp_path):
    here, there = (trainable(shutil.copytree(ticket_folder, tmp_path / name)) for name in ("here", "there"))
    alone, shared = open_project(here), on_ray(open_project(there))
    pipeline.retrain(alone)
    mark = kill_a_worker(there)
    pipeline.retrain(shared)
    assert not mark.exists()
    models = [[(found.seed, found.model) for found in project.records(Training)] for project in (alone, shared)]
    assert sorted(models[0], key=str) == sorted(models[1], key=str) and len(models[0]) >= 3


@pytest.fixture(scope="module")
def on_two_nodes(tmp_path_factory: pytest.TempPathFactory):
    """Return a project, its search here, and where tasks ran on two nodes of a Ray with a token, and on one left.

    The driver is a process of its own (`tests.batch.ray_cluster`), which searched the project again.
    """
    folder = tmp_path_factory.mktemp("two")
    project, here, _ = searched(folder)
    free = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "HEADWAY_"))}
    environment = {
        **free,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests/outside")]),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_health_check_period_ms": "500",
    }
    code = f"from tests.batch import ray_cluster; ray_cluster.run({str(folder)!r})"
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=LONGEST_S
    )
    assert ended.returncode == 0, ended.stderr
    return project, here, json.loads(ended.stdout.splitlines()[-1])


def test_a_search_on_two_nodes_measures_what_this_machine_does(on_two_nodes):
    project, here, _ = on_two_nodes
    there = pipeline.last_search(project)
    assert there != here
    evidence = {row.variant.digest: exact(row.evidence) for row in there.evaluated}
    same = [row for row in here.evaluated if row.variant.digest in evidence]
    assert any(row.variant.steps for row in same)
    assert all(exact(row.evidence) == evidence[row.variant.digest] for row in same)


@pytest.mark.parametrize(("lost", "n_nodes"), [(False, 2), (True, 1)], ids=["", "a node is lost"])
def test_tasks_that_measure_speed_have_a_node_alone(lost, n_nodes, on_two_nodes):
    _, _, found = on_two_nodes
    places = found[lost]
    assert sorted(number for number, *_ in places) == list(range(6))
    assert {threads for *_, threads in places} == {os.environ.get("OMP_NUM_THREADS", str(cores()))}  # as the driver
    nodes = {node for _, node, *_ in places}
    assert len(nodes) == n_nodes
    for node in nodes:
        times = sorted((began, ended) for _, other, began, ended, _ in places if other == node)
        assert all(ended <= began for (_, ended), (began, _) in pairwise(times))
