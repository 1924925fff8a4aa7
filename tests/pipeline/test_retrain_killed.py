"""`headway retrain` killed by `kill -9` at random moments: started again, it ends as if nothing had happened.

Each run is a process of its own, forked by a stem (`tests.storage.stem`) that has lightgbm and the rest loaded, for their
import takes longer than the retraining. Kills are drawn from the first change of a file to the end of an undisturbed
run, one after the other in one project until a run gets to its end; only those count that found the process running.
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
class Lesson:
    """A project that is to be trained anew, who does it, and how that ends where nobody disturbs it."""

    child: Stem
    folder: Path
    words: tuple[str, ...]
    undisturbed: Ended
    outcome: str
    span_s: tuple[float, float]

    def run(self, folder: Path, after_s: float | None = None) -> Ended:
        """Train a copy of the project anew."""
        return self.child.run("retrain", "--mode", "auto", *self.words, "--project", folder, after_s=after_s)


@pytest.fixture(scope="module")
def child() -> Iterator[Stem]:
    with stem("tests.pipeline.commanding:command") as child:
        yield child


@pytest.fixture(params=THROUGH)
def lesson(request: pytest.FixtureRequest, child: Stem, asked: Path, tmp_path: Path) -> Lesson:
    """The project, to be made live by a canary or at once; measured once undisturbed."""
    made = Lesson(child, asked, THROUGH[request.param], Ended(0, [], 0), "", (0, 0))
    folder = tmp_path / "undisturbed"
    shutil.copytree(asked, folder)
    began = time.time()
    made.undisturbed = made.run(folder)
    ended = time.time()
    changed = [path.stat().st_mtime for path in folder.rglob("*") if path.stat().st_mtime > began]
    made.span_s = (made.undisturbed.seconds - (ended - min(changed)), made.undisturbed.seconds)
    made.outcome = outcome(open_project(folder))
    assert made.undisturbed.code in (0, 3), child.output.read_text()
    return made


def outcome(project: Project) -> str:
    """The models that live and the canary are at, how often the pointers moved, and what was trained."""
    places = []
    for move in (project.register.head(f"small@{pointer}") for pointer in ("live", "canary")):
        digest = move.release.removeprefix("sha256:") if move else ""
        places.append(project.register.resolve(f"small@{digest}").release.variant.digest if digest else "nowhere")
    seeds = [read(Training, each).seed for each in project.state.records("training", name="small")]
    return f"{places} after {len(project.register.history())} moves, by trainings of seeds {seeds}"


def expect_whole(folder: Path) -> None:
    """A reader that knows nothing finds the chain and what live is at verified, and each model that was trained."""
    project = open_project(folder)
    assert project.register.history() and project.register.resolve("small@live")
    for each in project.state.records("training", name="small"):
        assert project.blobs.get(read(Training, each).model.artifact.digest)


def killed(lesson: Lesson, folder: Path, moments: Moments, most: int) -> int:
    """Kill retrainings of one project until one ends or so many kills landed; let it end well; how many landed."""
    shutil.copytree(lesson.folder, folder)
    landed = 0
    ended = lesson.run(folder, moments.next())
    while ended.killed:
        landed += 1
        moments.found(True)
        expect_whole(folder)
        ended = lesson.run(folder, moments.next() if landed < most else None)
    moments.found(False)
    assert ended.code == lesson.undisturbed.code, lesson.child.output.read_text()
    assert outcome(open_project(folder)) == lesson.outcome
    assert not left_aside(folder / ".headway")
    return landed


def run_again(lesson: Lesson, folder: Path, count: int) -> None:
    """Kill so often in all, in projects one after the other; in a third of them one must find it running."""
    moments, landed = Moments(lesson.span_s, seed=count, follow=True), 0
    for number in range(3 * count):
        landed += killed(lesson, folder / str(number), moments, count - landed)
        shutil.rmtree(folder / str(number))
        if landed == count:
            return
    raise AssertionError(f"{landed} kills found it running, {count} had to")


@pytest.mark.slow
def test_killed_6_times_in_two_ways_it_ends_as_if_nothing_had_happened(lesson, tmp_path):
    run_again(lesson, tmp_path, 3)


@pytest.mark.long
def test_killed_200_times_in_two_ways_it_ends_as_if_nothing_had_happened(lesson, tmp_path):
    run_again(lesson, tmp_path, 100)
