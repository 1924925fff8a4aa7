"""Rollouts that two processes start, roll back and promote at the same time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.monitoring import rollouts

from headway.core.rollout import Plan, RolloutStage
from headway.monitoring import rollout as control
from headway.registry.model_registry import UpdateReason

ROUNDS = 5
AT_ONCE = Plan(stages=(RolloutStage(share=0.0),))


@contextmanager
def process(code: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", code, str(folder)]
    made = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield made
    finally:
        made.kill()
        made.communicate()


STEP = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from headway.core.errors import Refused
from headway.monitoring import rollout as control
from headway.registry.project import open_project

def clock():
    print("measured", flush=True)
    sys.stdin.readline()
    return datetime.now(UTC)

project = open_project(Path(sys.argv[1]))
try:
    print(control.RolloutController(project, control.latest_rollout(project), clock=clock).step().action)
except Refused as error:
    print(error.what)
"""


@pytest.mark.slow
def test_what_a_person_rolled_back_is_not_promoted_by_a_process_that_had_measured_it_before(served, tmp_path):
    served.start(AT_ONCE)
    served.serve(3000)
    with process(STEP, tmp_path) as follower:
        assert follower.stdout.readline() == "measured\n"
        assert (
            control.roll_back(served.project, from_release=served.second, who="bob", why="callers complain").release
            == ""
        )
        assert follower.communicate()[0].splitlines()[-1] == "no rollout of flights is running"
    assert served.moves() == [("live", "first"), ("canary", "second"), ("canary", "nothing")]
    assert control.latest_rollout(served.project).status == "rolled back"


@pytest.mark.slow
def test_a_process_that_measured_harm_does_not_withdraw_the_next_rollout(served, tmp_path):
    served.start(AT_ONCE)
    served.serve(300, release=0.2)
    with process(STEP, tmp_path) as follower:
        assert follower.stdout.readline() == "measured\n"
        control.roll_back(served.project, from_release=served.second, who="bob", why="callers complain")
        served.start(AT_ONCE)
        assert follower.communicate()[0].splitlines()[-1] == "stay"
    assert served.moves()[-1] == ("canary", "second")
    assert control.latest_rollout(served.project).status == "running"


def test_a_rollback_reaches_live_if_the_release_went_live_at_the_same_time(served):
    served.start(AT_ONCE)
    served.project.registry.point("flights@live", served.second, UpdateReason(who="rollout", why="met", verdict=PASSED))
    move = control.roll_back(served.project, from_release=served.second, who="bob", why="callers complain")
    assert (move.pointer, move.release) == ("live", served.first)
    assert served.moves()[-2:] == [("canary", "nothing"), ("live", "first")]
    assert control.latest_rollout(served.project).status == "rolled back"


PASSED = rollouts.release().verdict


def test_a_rollback_that_meets_a_promotion_looks_again(served, monkeypatch):
    served.start(AT_ONCE)
    registry = type(served.project.registry)
    withdraw = registry.withdraw

    def late(self, address, **settings):
        monkeypatch.undo()
        reason = UpdateReason(who="rollout", why="met", verdict=PASSED)
        served.project.registry.point("flights@live", served.second, reason)
        return withdraw(self, address, **settings)

    monkeypatch.setattr(registry, "withdraw", late)
    assert (
        control.roll_back(served.project, from_release=served.second, who="bob", why="callers complain").release
        == served.first
    )
    assert served.moves()[-2:] == [("canary", "nothing"), ("live", "first")]


@pytest.mark.parametrize("is_shown", [False, True])
def test_a_rollback_that_meets_the_same_rollback_moves_nothing(served, monkeypatch, is_shown):
    third = rollouts.live(served.project, rollouts.release(made_at="3"))
    registry = type(served.project.registry)
    roll_back = registry.roll_back

    def late(self, address, **settings):
        monkeypatch.undo()
        roll_back(self, address, **{**settings, "who": "ann", "after": None})
        return roll_back(self, address, **settings)

    after = served.project.registry.last_update("flights@live").number if is_shown else None
    monkeypatch.setattr(registry, "roll_back", late)
    assert control.roll_back(served.project, from_release=third, who="bob", why="slow", after=after) is None
    assert served.project.registry.last_update("flights@live").who == "ann"
    assert served.moves()[-2:] == [("live", third), ("live", "first")]


START = """
import sys
from pathlib import Path
from headway.core.errors import Refused
from headway.monitoring import rollout as control
from headway.registry.project import open_project

project = open_project(Path(sys.argv[1]))
print("ready", flush=True)
for line in sys.stdin:
    try:
        print("started", control.start_rollout(project, line.strip(), who="ann").release, flush=True)
    except Refused as error:
        print("refused", error.what, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("state", ["", "file", pytest.param("postgresql", marks=pytest.mark.services)])
def test_of_two_rollouts_that_start_at_once_one_starts_and_its_release_is_the_canary(request, tmp_path, state):
    (tmp_path / "state").mkdir()
    addresses = {"": "", "file": f"file://{tmp_path}/state"}
    address = addresses[state] if state in addresses else request.getfixturevalue(state)
    project = rollouts.project(tmp_path, toml=f'{rollouts.TOML}[store]\nstate = "{address}"\n')
    rollouts.live(project, rollouts.release(made_at="1"))
    releases = [rollouts.publish(project, rollouts.release(made_at=made_at)) for made_at in "23"]
    with ExitStack() as stack:
        starters = [stack.enter_context(process(START, tmp_path)) for _ in releases]
        assert [starter.stdout.readline() for starter in starters] == ["ready\n"] * 2
        for _ in range(ROUNDS):
            for starter, release in zip(starters, releases, strict=True):
                starter.stdin.write(f"{release}\n")
                starter.stdin.flush()
            refused, started = sorted(starter.stdout.readline() for starter in starters)
            running = control.latest_rollout(project)
            assert (started, running.status) == (f"started {running.release}\n", "running")
            assert refused.startswith(f"refused a rollout of flights is running: {running.release}")
            assert project.registry.head("flights@canary").release == running.release
            control.roll_back(project, from_release=control.release_to_leave(project), who="bob", why="the next round")
    project.state.close()


LEAVE = """
import sys
from pathlib import Path
from headway.monitoring import rollout as control
from headway.registry.project import open_project

project = open_project(Path(sys.argv[1]))
print("ready", flush=True)
for line in sys.stdin:
    update = control.roll_back(project, from_release=line.strip(), who="ann", why="callers complain")
    print(update.release if update else "left already", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("state", ["", "file", pytest.param("postgresql", marks=pytest.mark.services)])
def test_of_two_people_who_roll_back_at_once_one_moves_live_and_one_reads_that_it_was_left(request, tmp_path, state):
    (tmp_path / "state").mkdir()
    addresses = {"": "", "file": f"file://{tmp_path}/state"}
    address = addresses[state] if state in addresses else request.getfixturevalue(state)
    project = rollouts.project(tmp_path, toml=f'{rollouts.TOML}[store]\nstate = "{address}"\n')
    releases = [rollouts.live(project, rollouts.release(made_at=made_at)) for made_at in "123"]
    with ExitStack() as stack:
        people = [stack.enter_context(process(LEAVE, tmp_path)) for _ in range(2)]
        assert [person.stdout.readline() for person in people] == ["ready\n"] * 2
        for _ in range(ROUNDS):
            for person in people:
                person.stdin.write(f"{releases[2]}\n")
                person.stdin.flush()
            assert sorted(person.stdout.readline() for person in people) == ["left already\n", f"{releases[1]}\n"]
            assert project.registry.head("flights@live").release == releases[1]
            control.roll_forward(project, from_release=releases[1], who="bob", why="the next round")
    assert len(project.registry.history()) == 3 + 2 * ROUNDS
    project.state.close()
