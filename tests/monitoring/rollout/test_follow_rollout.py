"""Following a rollout reports each change, missing requests, and an end by another process."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from tests.serving.flushed_log import FlushedLog

from headway.core.errors import LeaseHeld, Refused
from headway.core.rollout import Plan, RolloutStage
from headway.monitoring import rollout as control
from headway.monitoring.rollout import follow_rollout, idle_message
from headway.storage.traffic import ALONE

pytestmark = pytest.mark.slow


class Time:
    """A clock that advances by the waiting time, or by 10 s if it is slow, with an action for each wait."""

    def __init__(self, *acts: Callable[[], object], ago_s: float = 0.0, is_slow: bool = False) -> None:
        self.now = datetime.now(UTC) - timedelta(seconds=ago_s)
        self.longer = 10 if is_slow else 1
        self.acts = list(acts)
        self.waits = 0

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds * self.longer)
        self.waits += 1
        if self.acts:
            self.acts.pop(0)()


def nothing() -> None:
    """A second in which nothing happens."""


def test_each_change_is_reported_once_until_the_end(served):
    served.start()
    lines: list[str] = []
    time = Time(nothing, lambda: served.serve(10), nothing, lambda: served.serve(100, release=0.2))
    ended = follow_rollout(served.project, callback=lines.append, wait=time.wait)

    assert (ended.status, time.waits, len(lines)) == ("rolled back", 4, 3)
    assert lines[0] == "shadow stays: no request has reached it yet"
    assert lines[1].startswith("shadow stays after 10 requests: error_rate.drop undecided")
    assert lines[2].startswith("shadow is rolled back: of 110 paired answers")


def test_stages_are_reported_as_they_are_reached(served):
    served.start()
    lines: list[str] = []
    time = Time(lambda: served.serve(3000), lambda: served.serve(4000))
    assert follow_rollout(served.project, callback=lines.append, wait=time.wait).status == "promoted"
    assert [line.partition(":")[0] for line in lines] == [
        "shadow stays",
        "shadow goes on to canary 50 %",
        "canary 50 % goes live",
    ]


def test_missing_requests_are_reported_once_and_again_after_the_next_request(served):
    served.start()
    lines: list[str] = []
    quiet = [nothing] * 33
    time = Time(*quiet, lambda: served.serve(1), *quiet, lambda: served.serve(100, release=0.2), is_slow=True)
    follow_rollout(served.project, callback=lines.append, wait=time.wait, clock=time)
    assert len([line for line in lines if "needs requests: headway serve flights@live" in line]) == 2


def test_an_impatient_follower_returns_the_running_rollout_once_requests_stop(served):
    served.start()
    lines: list[str] = []
    time = Time()
    returned = follow_rollout(served.project, callback=lines.append, wait=time.wait, clock=time, patient=False)
    assert (returned.status, time.waits) == ("running", 300)
    assert lines[-1].startswith("live has had no request yet, and a rollout needs requests")
    assert control.latest_rollout(served.project).status == "running"


@pytest.mark.parametrize(("stage", "message"), [(0, "live answers without a shadow"), (1, "requests have no key")])
def test_requests_to_live_without_evidence_on_the_release_have_their_own_message(served, stage, message):
    served.start()
    for _ in range(stage):
        control.advance_rollout(served.project, who="ann", why="to see")
    log = FlushedLog(served.state)
    log.add(served.entry(0, log.number(1)[0], "", 0.7, stage=ALONE if stage == 0 else stage, paired=0, answered=1))
    log.close()
    lines: list[str] = []
    time = Time(ago_s=299, is_slow=True)
    follow_rollout(served.project, callback=lines.append, wait=time.wait, clock=time, patient=False)
    assert lines[-1].startswith(message)


def test_live_with_a_recent_request_is_not_idle(served):
    served.start()
    served.serve(1)
    rollout, now = control.latest_rollout(served.project), datetime.now(UTC)
    assert idle_message(served.project, rollout, now) == ""
    assert "the last request to live was at 20" in idle_message(served.project, rollout, now + timedelta(seconds=301))


def test_a_rollout_ended_by_another_process_ends_the_follower_with_the_reason(served):
    served.start()
    lines: list[str] = []
    time = Time(
        lambda: control.roll_back(served.project, from_release=served.second, who="bob", why="callers complain")
    )
    ended = follow_rollout(served.project, callback=lines.append, wait=time.wait)
    assert ended.status == "rolled back" and lines[-1].endswith("roll back by bob: callers complain")


def test_pointers_that_cannot_be_moved_do_not_end_the_rollout(served):
    served.start()
    seen = served.project.registry.trusted_keys.with_suffix(".seen.json")
    seen.write_bytes(seen.read_bytes().replace(b'"number":1', b'"number":9'))
    with pytest.raises(Refused, match="replayed pointer flights@canary"):
        follow_rollout(served.project, callback=print)
    assert control.latest_rollout(served.project).status == "running"


def test_without_a_rollout_there_is_nothing_to_follow(served):
    with pytest.raises(Refused, match="no rollout of flights is running"):
        follow_rollout(served.project, callback=print)


def test_a_rollout_is_followed_by_one_process_at_a_time(served):
    served.start()
    held = pytest.raises(LeaseHeld, match="rollout of flights is already being done by process")
    with served.project.lease("rollout"), held:
        follow_rollout(served.project, callback=print)


def test_an_undecided_stage_ends_after_its_time(served):
    served.start(Plan(stages=(RolloutStage(share=0.5, at_most_s=60),)))
    time = Time()
    lines: list[str] = []
    assert follow_rollout(served.project, callback=lines.append, wait=time.wait, clock=time).status == "inconclusive"
    assert 59 <= time.waits <= 61 and "ends inconclusive after 60 s: no request with a key" in lines[-1]
