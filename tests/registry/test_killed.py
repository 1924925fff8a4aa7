"""Killed by `kill -9` while it releases or promotes, a process leaves the store in the old or in the new state.

Real code in real processes, forked by a stem (`tests.storage.stem`). Each kill comes at a moment drawn evenly from the
time in which files and the database change, and only those count that found the process running.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.monitoring import rollouts
from tests.storage.stem import Moments, Stem, kills, left_aside, stem

from headway.cli import main as cli
from headway.monitoring import rollout as control
from headway.registry.project import Project, open_project

FOREVER = 1_000_000
ROUNDS = 3
PLACES = 4  # where files are made ready: the state, the blobs, the releases of a name, the keys


def made_live(project: Project) -> list[str]:
    """Return every release that was live, in order, from a chain with verified signatures."""
    return [move.release for move in project.registry.history("flights", "live")]


def expect_old_or_new(folder: Path, before: list[str], reported: list[str]) -> list[str]:
    """Check that every reported release was live, and at most one more that was not reported yet; return all of them.

    The last one verifies, its model is in the blobs, and few partial files are left.
    """
    project, acknowledged = open_project(folder), [*before, *reported[1:]]
    live = made_live(project)
    assert live[: len(acknowledged)] == acknowledged and len(live) - len(acknowledged) in (0, 1)
    if live:
        bundle = project.registry.resolve("flights@live")
        assert bundle.digest == live[-1]
        assert project.blobs.get(bundle.release.variant.artifact.digest) == bundle.model
    assert len(left_aside(folder)) <= PLACES
    return live


def expect_verified(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Run the commands that verify a release and its history."""
    for words in (["verify", "flights@live"], ["history"]):
        with pytest.raises(SystemExit) as ended:
            cli.main([*words, "--project", str(folder)])
        assert ended.value.code == 0, capsys.readouterr().err


def killed_releasing(child: Stem, folder: Path, count: int, seed: int = 0) -> None:
    """Kill a process that keeps releasing, so many times, each time in the store that the last one left."""
    (folder / "headway.toml").write_text(rollouts.TOML)
    span = (0.0, child.run_to_end(folder, ROUNDS).seconds)
    live = made_live(open_project(folder))

    def one(after_s: float) -> bool:
        nonlocal live
        ended = child.run(folder, FOREVER, after_s=after_s)
        live = expect_old_or_new(folder, live, ended.messages)
        return ended.killed

    kills(one, count, Moments(span, seed=seed))
    child.run_to_end(folder, 1)
    project = open_project(folder)
    for release in (project.config.state / "releases/flights").iterdir():
        assert project.registry.resolve(f"flights@{release.name}").digest == f"sha256:{release.name}"
    assert not left_aside(folder)


def killed_creating(child: Stem, folder: Path, count: int) -> None:
    """Kill a process that creates a store, its keys and its first release, each time in an empty folder."""
    numbers = iter(range(FOREVER))

    def new() -> Path:
        project_folder = folder / str(next(numbers))
        project_folder.mkdir()
        (project_folder / "headway.toml").write_text(rollouts.TOML)
        return project_folder

    def one(after_s: float) -> bool:
        project_folder = new()
        ended = child.run(project_folder, 1, after_s=after_s)
        before = expect_old_or_new(project_folder, [], ended.messages)
        again = child.run_to_end(project_folder, 1)
        assert len(expect_old_or_new(project_folder, before, again.messages)) == len(before) + 1 and not left_aside(
            project_folder
        )
        return ended.killed

    span = (0.0, child.run_to_end(new(), 1).seconds)
    kills(one, count, Moments(span, seed=count, follow=True))


def expect_resumed(project: Project) -> None:
    """Check that one step completes what was half done, so that pointers and record agree, and a person can end it.

    A rollout that was killed before its record was saved has only the update of its canary, with its own terms.
    """
    last = control.latest_rollout(project)
    if last is not None and last.status == "running":
        control.step_rollout(project)
    if (last := control.latest_rollout(project)) is not None and last.status == "running":
        control.roll_back(
            project, from_release=control.release_to_leave(project), who="bob", why="its process was killed"
        )
    last = control.latest_rollout(project)
    live, canary = (project.registry.head(f"flights@{pointer}") for pointer in ("live", "canary"))
    assert live.release == (last.release if last.status == "promoted" else last.live)
    assert canary.assignment is None or canary.assignment.terms != last.terms or last.status == "promoted"


def killed_promoting(child: Stem, folder: Path, count: int, seed: int = 0) -> None:
    """Kill a process that leads rollouts to their end so often, then let the next reader look at what it left."""
    rollouts.live(rollouts.project(folder), rollouts.release())
    span = (0.0, child.run_to_end(folder, ROUNDS).seconds)
    live = made_live(open_project(folder))

    def one(after_s: float) -> bool:
        nonlocal live
        ended = child.run(folder, FOREVER, after_s=after_s)
        expect_old_or_new(folder, live, ended.messages)
        expect_resumed(open_project(folder))
        live = made_live(open_project(folder))
        return ended.killed

    kills(one, count, Moments(span, seed=seed))
    child.run_to_end(folder, 1)
    assert not left_aside(folder)


@pytest.fixture(scope="module")
def releasing() -> Iterator[Stem]:
    with stem("tests.registry.releasing:release") as child:
        yield child


@pytest.fixture(scope="module")
def promoting() -> Iterator[Stem]:
    with stem("tests.registry.releasing:promote") as child:
        yield child


@pytest.mark.slow
def test_killed_10_times_during_a_release_the_pointer_is_at_the_old_or_the_new(releasing, tmp_path, capsys):
    killed_releasing(releasing, tmp_path, 10)
    expect_verified(tmp_path, capsys)


@pytest.mark.slow
def test_killed_5_times_while_creating_store_and_keys_the_next_run_releases(releasing, tmp_path):
    killed_creating(releasing, tmp_path, 5)


@pytest.mark.slow
def test_killed_10_times_during_a_promotion_the_next_check_finishes_it(promoting, tmp_path, capsys):
    killed_promoting(promoting, tmp_path, 10)
    expect_verified(tmp_path, capsys)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 5))
def test_killed_200_times_during_a_release_the_pointer_is_at_the_old_or_the_new(releasing, tmp_path, capsys, seed):
    killed_releasing(releasing, tmp_path, 50, seed)
    expect_verified(tmp_path, capsys)


@pytest.mark.long
def test_killed_100_times_while_creating_store_and_keys_the_next_run_releases(releasing, tmp_path):
    killed_creating(releasing, tmp_path, 100)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 5))
def test_killed_200_times_during_a_promotion_the_next_check_finishes_it(promoting, tmp_path, capsys, seed):
    killed_promoting(promoting, tmp_path, 50, seed)
    expect_verified(tmp_path, capsys)
