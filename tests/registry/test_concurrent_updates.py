"""Of two concurrent updates one wins, and the other is rejected."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import racer
from releases import BACK, passed

from headway.core.errors import PointerMoved
from headway.registry.model_registry import ModelRegistry


def test_an_update_after_an_outdated_number_is_rejected_with_the_current_release(
    ours: ModelRegistry, two: tuple[str, str]
) -> None:
    with pytest.raises(PointerMoved) as caught:
        ours.point("flights@live", two[0], BACK, after=1)
    assert f"flights@live is at {two[1]} by update 2 (ann: faster)" in caught.value.what
    assert ours.point("flights@live", two[0], BACK, after=2).number == 3


def test_an_update_of_another_pointer_in_between_is_chained(ours: ModelRegistry, two: tuple[str, str]) -> None:
    class Busy:
        """The state, in which another pointer is updated just before our first append."""

        def __init__(self) -> None:
            self.append = self.once
            self.last, self.updates, self.latest = ours.state.last, ours.state.updates, ours.state.latest

        def once(self, signed: object) -> bool:
            self.append = ours.state.append
            ours.point("flights@canary", two[0], passed())
            return self.append(signed)

    replace(ours, state=Busy()).point("flights@live", two[0], BACK)
    assert [move.pointer for move in ours.history()] == ["live", "live", "canary", "live"]


def test_a_rollback_does_not_undo_an_update_that_came_after_it_read_the_history(
    ours: ModelRegistry, two: tuple[str, str]
) -> None:
    class Busy:
        """The state, in which the pointer is updated once its history was read."""

        def __init__(self) -> None:
            self.append, self.last, self.latest = ours.state.append, ours.state.last, ours.state.latest

        def updates(self) -> object:
            self.updates, found = ours.state.updates, ours.state.updates()
            ours.point("flights@live", two[0], passed())
            return found

    with pytest.raises(PointerMoved, match=r"by update 3 \(ann: faster\)"):
        replace(ours, state=Busy()).roll_back("flights@live", who="bob", why="slow")
    assert len(ours.history()) == 3


@pytest.mark.parametrize("moved", [False, True])
def test_an_update_that_rests_on_another_pointer_is_rejected_if_that_one_moved(
    ours: ModelRegistry, two: tuple[str, str], moved: bool
) -> None:
    canary = "flights@canary"
    for release in two:
        ours.point(canary, release, passed())
    if moved:
        ours.withdraw(canary, who="bob", why="no")
        with pytest.raises(PointerMoved, match=r"flights@canary is at no release by update 3 \(bob: no\)"):
            ours.point("flights@live", two[0], BACK, unmoved={canary: 2})
    else:
        ours.point("flights@live", two[0], BACK, unmoved={canary: 2, "flights@shadow": 0})
    assert (ours.head("flights@live").release == two[1]) is moved


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, racer.__file__, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def write_line(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line)
    process.stdin.flush()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def stop(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_of_two_processes_that_update_one_pointer_at_once_one_wins_and_one_is_rejected(
    tmp_path: Path, ours: ModelRegistry
) -> None:
    with ExitStack() as stack:
        processes = [start(tmp_path, who) for who in ("ann", "bob")]
        stack.callback(stop, processes)
        assert [read_line(process) for process in processes] == ["ready\n", "ready\n"]
        for after in range(20):
            for process in processes:
                write_line(process, f"{after}\n")
            answers = sorted(read_line(process) for process in processes)
            winner = ours.history()[-1]
            assert answers[1] == "won\n"
            assert answers[0].startswith(f"lost flights@live is at {winner.release} by update {after + 1} (")
    assert [move.number for move in ours.history()] == list(range(1, 21))
