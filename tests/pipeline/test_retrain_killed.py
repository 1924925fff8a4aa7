"""`headway retrain` killed by `kill -9` at random times: after a restart, it ends with the same result.

Each run is a separate process, forked by a parent (`tests.storage.stem`) that has lightgbm and the rest loaded, because
their import takes longer than the retraining. Kill times are drawn from the first change of a file to the end of an
undisturbed run, one after the other in one project until a run finishes; only kills of a running process count.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.storage.stem import Ended, Moments, Stem, left_aside, stem

from headway.core.record import read
from headway.core.training import Training
from headway.registry.project import Project, open_project

THROUGH = {"canary": ("--through", "canary"), "live": ("--through", "live", "--why", "a test")}


@dataclass
class RetrainingRun:
    """A project to retrain, the process that does it, and the result of an undisturbed run."""

    child: Stem
    folder: Path
    words: tuple[str, ...]
    undisturbed: Ended
    outcome: str
    span_s: tuple[float, float]

    def run(self, folder: Path, after_s: float | None = None) -> Ended:
        """Retrain a copy of the project."""
        return self.child.run("retrain", "--mode", "auto", *self.words, "--project", folder, after_s=after_s)


@pytest.fixture(scope="module")
def child() -> Iterator[Stem]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADWAY_RETRAIN_SEEDS", "2")
        with stem("tests.pipeline.forked_commands:command") as child:
            yield child


@pytest.fixture(params=THROUGH)
def retraining(request: pytest.FixtureRequest, child: Stem, ticket_folder: Path, tmp_path: Path) -> RetrainingRun:
    """Return the project, to be promoted by a canary or at once, with the measurements of one undisturbed run."""
    measured = RetrainingRun(child, ticket_folder, THROUGH[request.param], Ended(0, [], 0), "", (0, 0))
    folder = tmp_path / "undisturbed"
    shutil.copytree(ticket_folder, folder)
    began = time.time()
    measured.undisturbed = measured.run(folder)
    ended = time.time()
    changed = [path.stat().st_mtime for path in folder.rglob("*") if path.stat().st_mtime > began]
    measured.span_s = (measured.undisturbed.seconds - (ended - min(changed)), measured.undisturbed.seconds)
    measured.outcome = outcome(open_project(folder))
    assert measured.undisturbed.code in (0, 3), child.output.read_text()
    return measured


def outcome(project: Project) -> str:
    """Return the models of live and canary, the number of pointer updates, and the seeds of the trainings as text."""
    digests = []
    for move in (project.registry.head(f"small@{pointer}") for pointer in ("live", "canary")):
        digest = move.release.removeprefix("sha256:") if move else ""
        digests.append(project.registry.resolve(f"small@{digest}").release.variant.digest if digest else "none")
    seeds = [read(Training, training).seed for training in project.state.records("training", name="small")]
    return f"{digests} after {len(project.registry.history())} moves, by trainings of seeds {seeds}"


def expect_intact(folder: Path) -> None:
    """Check that the chain and the live release verify, and that each trained model is stored."""
    project = open_project(folder)
    assert project.registry.history() and project.registry.resolve("small@live")
    for training in project.state.records("training", name="small"):
        assert project.blobs.get(read(Training, training).model.artifact.digest)


def kill_until_done(retraining: RetrainingRun, folder: Path, kill_times: Moments, max_kills: int) -> int:
    """Kill retrainings of one project until one ends or `max_kills` landed; return the number of kills that landed."""
    shutil.copytree(retraining.folder, folder)
    landed = 0
    ended = retraining.run(folder, kill_times.next())
    while ended.killed:
        landed += 1
        kill_times.found(True)
        expect_intact(folder)
        ended = retraining.run(folder, kill_times.next() if landed < max_kills else None)
    kill_times.found(False)
    assert ended.code == retraining.undisturbed.code, retraining.child.output.read_text()
    assert outcome(open_project(folder)) == retraining.outcome
    assert not left_aside(folder / ".headway")
    return landed


def run_again(retraining: RetrainingRun, folder: Path, count: int) -> None:
    """Kill `count` running retrainings, in at most three times as many projects."""
    kill_times, landed = Moments(retraining.span_s, seed=count, follow=True), 0
    for number in range(3 * count):
        landed += kill_until_done(retraining, folder / str(number), kill_times, count - landed)
        shutil.rmtree(folder / str(number))
        if landed == count:
            return
    raise AssertionError(f"{landed} kills found it running, {count} expected")


@pytest.mark.slow
def test_4_kills_in_two_modes_do_not_change_the_result(retraining, tmp_path):
    run_again(retraining, tmp_path, 2)


@pytest.mark.long
def test_200_kills_in_two_modes_do_not_change_the_result(retraining, tmp_path):
    run_again(retraining, tmp_path, 100)
