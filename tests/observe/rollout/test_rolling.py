"""A rollout from its start to its end, by what servers logged: forward on proof, back on harm, and on after a crash."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.observe import rollouts

from headway.core.errors import HeadwayError, Refused, StoreError
from headway.core.rollout import Plan, Stage
from headway.observe.rollout import rolling
from headway.observe.rollout.log import labelled, predictions
from headway.observe.rollout.rolling import Rolling
from headway.release.assign import assign
from headway.serve.load import load
from headway.serve.log import Entry, PredictionLog
from headway.store import traffic
from headway.store.traffic import Label, keep_labels


class Served:
    """A project with a live release and another, and a log that is written as servers write it."""

    def __init__(self, folder: Path, **fields: object) -> None:
        self.project = rollouts.project(folder)
        self.state = self.project.config.state
        rules = (rollouts.FLIPS, rollouts.BRIER)
        self.first = rollouts.live(self.project, rollouts.release(made_at="1", rules=rules))
        self.second = rollouts.publish(self.project, rollouts.release(made_at="2", rules=rules, **fields))
        self.opened = [load(self.project.register.resolve(f"flights@{each[7:]}")) for each in (self.first, self.second)]
        self.keys = 0

    def start(self, plan: Plan = rollouts.SHORT) -> None:
        rolling.start(self.project, self.second, plan=plan, who="ann")

    def serve(self, n: int, *, live=0.7, release=0.7, failed: bool = False) -> list[str]:
        """Log `n` requests of new keys, each answered with these numbers; gives their keys."""
        rollout = rolling.latest(self.project)
        keys = [f"k{self.keys + number}" for number in range(n)]
        self.keys += n
        log = PredictionLog(self.state, flush_s=60, most_rows=10**6, dropped=Counter())
        for key, number in zip(keys, log.number(n), strict=True):
            its = bool(rollout.share) and assign(key, rollout.salt, rollout.share)
            paired = int(its or not rollout.share)
            log.add(self._entry(0, number, key, live, stage=rollout.stage, paired=paired, answered=int(not its)))
            if paired:
                value = None if failed else release
                log.add(self._entry(1, number, key, value, stage=rollout.stage, paired=1, answered=int(its)))
        log.close()
        return keys

    def _entry(self, side, number, key, value, **how) -> Entry:
        rows = None if value is None else np.array([[value, value]])
        return Entry(
            release=self.opened[side],
            at_us=time.time_ns() // 1000,
            requests=np.array([number]),
            keys=[key],
            sizes=[1],
            latency_ns=np.array([1_000_000]),
            role=side,
            rows=rows,
            answers=None if rows is None else rows[:, :1],
            seen=(),
            **how,
        )

    def moves(self) -> list[tuple[str, str]]:
        """Every move: the pointer, and whether to `first`, `second` or nothing."""
        names = {self.first: "first", self.second: "second", "": "nothing"}
        return [(move.pointer, names[move.release]) for move in self.project.register.history()]

    def close(self) -> None:
        self.project.state.close()
        self.project.register.state.close()


@pytest.fixture
def served(tmp_path):
    made = Served(tmp_path)
    yield made
    made.close()


def test_what_is_shown_sound_goes_forward_stage_by_stage_and_becomes_live(served):
    served.start()
    assert rolling.look(served.project).action == "stay"
    served.serve(3000)
    assert rolling.look(served.project).action == "advance"
    served.serve(4000)
    assert rolling.look(served.project).action == "promote"
    assert rolling.latest(served.project).standing == "promoted"
    assert served.moves() == [("live", "first"), ("canary", "second"), ("live", "second"), ("canary", "nothing")]
    move = served.project.register.head("flights@live")
    assert move.who == "rollout" and move.answer == "pass" and move.verdict


def test_decisions_that_flip_take_it_back_with_the_reason_in_words(served):
    served.start()
    served.serve(100, release=0.2)
    decision = rolling.look(served.project)
    assert decision.action == "roll back" and "decisions flipped" in decision.says
    rollout = rolling.latest(served.project)
    assert (rollout.standing, rollout.requests, rollout.of_release) == ("rolled back", 100, 100)
    assert served.moves()[-1] == ("canary", "nothing")
    assert served.project.register.history()[-1].why == decision.says
    assert served.project.state.kept("evidence") and served.project.state.kept("verdict")


def test_errors_of_a_canary_take_it_back(served):
    served.start()
    rolling.advance(served.project, who="ann", why="errors are met by callers alone")
    served.serve(400, failed=True)
    decision = rolling.look(served.project)
    assert decision.action == "roll back" and "failed requests" in decision.says


def test_a_loss_that_only_labels_show_takes_it_back_once_they_come(served):
    served.start(Plan(stages=(Stage(share=0.0), Stage(share=0.5))))
    keys = served.serve(400, live=0.95, release=0.55)
    rollout = Rolling(served.project, rolling.latest(served.project))
    assert not [each for each in rollout.evidence().measurements if each.name == "brier.loss"]
    keep_labels(served.state, "flights", [Label(key, 0.0) for key in keys[:10]], who="ann")
    keep_labels(served.state, "flights", [Label(key, 1.0) for key in keys], who="ann")
    (loss,) = [each for each in rollout.evidence().measurements if each.name == "brier.loss"]
    assert loss.value == pytest.approx(0.45**2 - 0.05**2, abs=1e-3) and loss.n_rows == 400
    assert rollout.look().action == "roll back"


def test_looks_one_by_one_see_what_one_look_over_all_sees(served):
    served.start()
    step = Rolling(served.project, rolling.latest(served.project))
    for _ in range(5):
        served.serve(37, release=0.7)
        evidence = step.evidence()
    whole = Rolling(served.project, rolling.latest(served.project)).evidence()
    assert evidence.measurements == whole.measurements
    assert step.rollout.requests == 5 * 37


def test_requests_without_a_key_are_compared_in_shadow_and_left_out_at_a_canary(served):
    served.start()
    log = PredictionLog(served.state, flush_s=60, most_rows=1000, dropped=Counter())
    for number in log.number(50):
        for side in (0, 1):
            log.add(served._entry(side, number, "", 0.7, stage=0, paired=1, answered=1 - side))
    log.close()
    (flips,) = [each for each in _evidence(served).measurements if each.name == "flipped_decisions"]
    assert (flips.n_rows, flips.n_groups) == (50, 50)
    rolling.advance(served.project, who="ann", why="to see")
    log = PredictionLog(served.state, flush_s=60, most_rows=1000, dropped=Counter())
    log.add(served._entry(0, log.number(1)[0], "", 0.7, stage=1, paired=0, answered=1))
    log.close()
    assert _evidence(served).measurements == ()


def _evidence(served):
    return Rolling(served.project, rolling.latest(served.project)).evidence()


def test_half_of_a_pair_waits_for_the_other(served):
    served.start()
    step = Rolling(served.project, rolling.latest(served.project))
    for side in (0, 1):
        log = PredictionLog(served.state, flush_s=60, most_rows=1000, dropped=Counter())
        log.add(served._entry(side, 7, "anna", 0.7, stage=0, paired=1, answered=1 - side))
        log.close()
        step.evidence()
        assert step.rollout.requests == side


def test_what_was_logged_at_another_stage_says_nothing(served):
    served.start()
    served.serve(50, release=0.2)
    rolling.advance(served.project, who="ann", why="to see")
    assert _evidence(served).measurements == ()


def test_a_person_may_go_forward_over_the_judge_and_that_is_kept(served):
    served.start()
    decision = rolling.advance(served.project, who="ann", why="seen enough")
    assert (decision.action, decision.verdict.by, decision.verdict.answer) == ("advance", "ann", "pass")
    rolling.advance(served.project, who="ann", why="still")
    assert rolling.latest(served.project).standing == "promoted" and served.moves()[-2] == ("live", "second")


def test_to_go_forward_takes_a_reason(served):
    served.start()
    with pytest.raises(HeadwayError, match="who, why and when"):
        rolling.advance(served.project, who="ann", why=" ")


def test_a_person_may_take_it_back_at_any_time(served):
    served.start()
    assert rolling.rollback(served.project, who="bob", why="callers complain").release == ""
    assert rolling.latest(served.project).standing == "rolled back"
    assert "bob: callers complain" in rolling.latest(served.project).why


def test_without_a_rollout_a_rollback_moves_live_to_what_it_was_before(served):
    with pytest.raises(StoreError, match="no other release"):
        rolling.rollback(served.project, who="bob", why="no")
    made = rollouts.release(made_at="3")
    third = rollouts.live(served.project, made)
    assert rolling.rollback(served.project, who="bob", why="slow").release == served.first
    assert rolling.rollback(served.project, who="bob", why="and back").release == third


def test_a_second_rollout_waits_for_the_first(served):
    served.start()
    with pytest.raises(Refused, match="is running"):
        served.start()
    rolling.rollback(served.project, who="bob", why="no")
    served.start()
    assert rolling.latest(served.project).standing == "running"


def test_what_is_live_already_cannot_be_rolled_out(served):
    with pytest.raises(Refused, match="already live"):
        rolling.start(served.project, served.first, who="ann")


def test_without_a_live_release_there_is_nothing_to_compare_with(tmp_path):
    project = rollouts.project(tmp_path)
    digest = rollouts.publish(project, rollouts.release())
    with pytest.raises(Refused, match="nothing is live"):
        rolling.start(project, digest, who="ann")
    project.state.close()
    project.register.state.close()


@pytest.mark.parametrize("act", [rolling.look, rolling.status])
def test_without_a_rollout_there_is_nothing_to_look_at(served, act):
    with pytest.raises(Refused, match="no rollout of flights is running"):
        act(served.project)


def test_status_decides_and_does_nothing(served):
    served.start()
    served.serve(100, release=0.2)
    assert rolling.status(served.project).action == "roll back"
    assert rolling.latest(served.project).standing == "running"


def test_a_promotion_that_was_killed_after_the_move_is_finished_by_the_next_look(served):
    served.start()
    verdict = rollouts.release().verdict
    reason = rollouts.Reason(who="rollout", why="met", verdict=verdict)
    served.project.register.point("flights@live", served.second, reason)
    assert rolling.look(served.project).action == "promote"
    assert rolling.latest(served.project).standing == "promoted"
    assert served.moves()[2:] == [("live", "second"), ("canary", "nothing")]


def test_a_rollback_that_was_killed_after_the_move_is_finished_by_the_next_look(served):
    served.start()
    served.project.register.withdraw("flights@canary", who="rollout", why="harm")
    decision = rolling.look(served.project)
    assert decision.action == "roll back" and "rollout: harm" in decision.says
    assert rolling.latest(served.project).standing == "rolled back"


def test_a_record_that_is_left_of_a_rollout_whose_canary_is_gone_is_no_bar_to_a_new_one(served):
    served.start()
    served.project.register.withdraw("flights@canary", who="rollout", why="harm")
    served.start()
    assert served.moves()[-1] == ("canary", "second")


def test_another_release_made_live_meanwhile_ends_it_inconclusive(served):
    served.start()
    rollouts.live(served.project, rollouts.release(made_at="3"))
    assert rolling.look(served.project).action == "stop"
    assert rolling.latest(served.project).standing == "inconclusive"
    assert served.project.register.head("flights@canary").release == ""


def test_one_who_follows_sees_what_another_did_and_stops_at_the_end(served):
    served.start()
    step = Rolling(served.project, rolling.latest(served.project))
    rolling.advance(served.project, who="ann", why="seen")
    assert step.look().action == "stay" and step.rollout.stage == 1
    rolling.rollback(served.project, who="bob", why="no")
    with pytest.raises(Refused, match="no rollout"):
        step.look()


def test_following_looks_until_the_end_and_tells_each_thing_once(served):
    served.start()
    said: list[str] = []
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            served.serve(100, release=0.2)

    ended = rolling.follow(served.project, tell=said.append, period_s=0.5, wait=wait)
    assert ended.standing == "rolled back" and waits == [0.5] * 3 and len(said) == 2


def test_the_log_joins_its_labels_and_the_later_one_of_a_key_wins(served):
    served.start()
    keys = served.serve(3)
    keep_labels(served.state, "flights", [Label(keys[0], 0.0), Label(keys[1], 0.0)], who="ann")
    keep_labels(served.state, "flights", [Label(keys[0], 1.0)], who="ann")
    table = labelled(served.state, "flights", [served.first])
    assert table["label"].to_list() == [1.0, 0.0, None] and table["in.a"].to_list() == [0.7] * 3
    assert len(predictions(served.state, "flights", [served.first, served.second])) == 6
    assert labelled(served.state, "hotels", [served.first]).is_empty()


def test_a_segment_that_cannot_be_read_is_told_by_its_name(served):
    served.start()
    served.serve(1)
    (path,) = traffic.log_folder(served.state, "flights", served.first).iterdir()
    path.write_bytes(b"broken")
    with pytest.raises(StoreError, match="segment of the log cannot be read"):
        predictions(served.state, "flights", [served.first])
