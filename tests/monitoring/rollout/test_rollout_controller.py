"""A rollout from its start to its end, by what servers logged: forward on proof, back on harm, and on after a crash."""

from __future__ import annotations

import time

import pytest
from msgspec.structs import replace
from tests.monitoring import rollouts
from tests.monitoring.rollout.served import LATENCY_NS, Served
from tests.monitoring.test_budget import PLAIN
from tests.serving.flushed_log import FlushedLog, log_writer

from headway.core.errors import HeadwayError, PointerMoved, Refused, StoreError
from headway.core.monitoring import BrokenInput, Drift
from headway.core.rollout import Plan, Rollout, RolloutStage, RolloutTraffic
from headway.monitoring import rollout as control
from headway.monitoring.prediction_log import LabelReader, read_predictions
from headway.monitoring.rollout import RolloutController
from headway.registry.model_registry import UpdateReason
from headway.registry.rollout import describe_rollout_traffic
from headway.serving.telemetry.prediction_log import LogBuffers
from headway.storage import traffic
from headway.storage.traffic import Label, save_labels

pytestmark = pytest.mark.slow


def test_a_sound_release_advances_stage_by_stage_and_becomes_live(served):
    served.start()
    assert control.step_rollout(served.project).action == "stay"
    served.serve(3000)
    assert control.step_rollout(served.project).action == "advance"
    served.serve(4000)
    assert control.step_rollout(served.project).action == "promote"
    assert control.latest_rollout(served.project).status == "promoted"
    canary = [("canary", "second"), ("canary", "second"), ("canary", "nothing")]
    assert served.moves() == [("live", "first"), *canary[:2], ("live", "second"), canary[2]]
    assert [move.assignment.share for move in served.project.registry.history("flights", "canary")[:2]] == [0.0, 0.5]
    move = served.project.registry.head("flights@live")
    assert move.who == "rollout" and move.answer == "pass" and move.verdict


def test_flipped_decisions_roll_back_with_the_reason(served):
    served.start()
    served.serve(100, release=0.2)
    decision = control.step_rollout(served.project)
    assert decision.action == "roll back" and "decisions flipped" in decision.message
    rollout = control.latest_rollout(served.project)
    assert (rollout.status, rollout.requests, rollout.of_release) == ("rolled back", 100, 100)
    assert served.moves()[-1] == ("canary", "nothing")
    assert served.project.registry.history()[-1].why == decision.message
    assert served.project.state.records("evidence") and served.project.state.records("verdict")


@pytest.mark.parametrize(("fields", "action"), [({}, "roll back"), ({"baseline": "sha256:retrained"}, "stay")])
def test_a_retraining_is_not_withdrawn_in_shadow_by_the_limit_of_a_faster_form(tmp_path, fields, action):
    served = Served(tmp_path, **fields)
    served.start()
    served.serve(270)
    served.serve(40, release=0.2)  # 13 % of the decisions differ: the limit of the same model is 5 %
    assert control.step_rollout(served.project).action == action
    assert control.latest_rollout(served.project).change == ("new model" if fields else "same model")
    served.close()


def test_a_rollout_stays_while_an_input_is_out_of_its_range_in_its_requests(served):
    served.start()
    served.serve(3000)
    today = control.utc_now().date().isoformat()
    hour = BrokenInput(column="hour", days=(today,), message="hour is out of its range on 1 day: it is empty")
    report = replace(
        PLAIN, since=today, until=f"{today}T23:00:00", drift=Drift(alarm=True, measurements=(), broken=(hour,))
    )
    served.project.save(report)
    decision = control.step_rollout(served.project)
    assert decision.action == "stay" and "hour is out of range" in decision.message
    served.project.save(replace(report, drift=Drift(alarm=False, measurements=())))
    assert control.step_rollout(served.project).action == "advance", "the feed is repaired"


def test_errors_of_a_canary_roll_back(served):
    served.start()
    control.advance_rollout(served.project, who="ann", why="errors are met by callers alone")
    served.serve(400, failed=True)
    decision = control.step_rollout(served.project)
    assert decision.action == "roll back" and "failed requests" in decision.message


@pytest.mark.parametrize("canary", [False, True])
def test_a_release_that_takes_far_longer_than_live_is_rolled_back_for_it(served, canary):
    served.start()
    if canary:
        control.advance_rollout(served.project, who="ann", why="callers wait for a canary")
    served.serve(100, release_ns=25 * LATENCY_NS)
    decision = control.step_rollout(served.project)
    assert decision.action == "roll back"
    failed = [result.rule.measure for result in decision.verdict.rule_results if result.answer == "fail"]
    assert failed == ["slower_than_live"] and "5 times as long as live's" in decision.message


def _promoted(served):
    served.serve(4000)
    assert control.step_rollout(served.project).action == "promote"


def _withdrawn(served):
    served.serve(400, release=0.2)
    assert control.step_rollout(served.project).action == "roll back"


def _rolled_back_by_command(served):
    served.serve(300)
    control.roll_back(served.project, from_release=served.second, who="bob", why="callers complain")


def _superseded(served):
    served.serve(300)
    made = rollouts.release(made_at="3")
    rollouts.live(served.project, made)
    assert control.step_rollout(served.project).action == "stop"


def _restarted(served):
    """Serve with two servers, one after the other: each writes segments of its own."""
    served.serve(200)
    served.serve(100)
    control.roll_back(served.project, from_release=served.second, who="bob", why="callers complain")


@pytest.mark.parametrize("end", [_promoted, _withdrawn, _rolled_back_by_command, _superseded, _restarted])
def test_however_a_rollout_ends_the_log_says_what_the_release_answered(served, end):
    served.start()
    served.serve(50)
    control.advance_rollout(served.project, who="ann", why="to see")
    end(served)
    rollout = control.latest_rollout(served.project)
    assert rollout.status != "running"
    rows = read_predictions(served.state, "flights", [served.second])
    answered = int(rows["answered"].sum())
    assert answered > 20 and len(rows) == 50 + answered
    counted = control.rollout_traffic(served.project, rollout)
    assert counted == RolloutTraffic(answered=answered, logged_only=50)
    assert describe_rollout_traffic(counted) == (
        f"callers got its answers to {answered:,} requests, and it ran on 50 requests for the log only"
    )


def test_a_shadow_answered_no_caller(served):
    served.start()
    served.serve(429)
    control.roll_back(served.project, from_release=served.second, who="bob", why="not now")
    counted = control.rollout_traffic(served.project, control.latest_rollout(served.project))
    assert describe_rollout_traffic(counted) == "it ran on 429 requests for the log only, and no caller got its answer"


def test_a_second_rollout_of_a_release_counts_its_own_requests(served):
    served.start()
    served.serve(30)
    control.roll_back(served.project, from_release=served.second, who="bob", why="not now")
    first = control.latest_rollout(served.project)
    served.start()
    served.serve(20)
    second = control.latest_rollout(served.project)
    counted = [
        control.rollout_traffic(served.project, first, until=second.started_at),
        control.rollout_traffic(served.project, second),
    ]
    assert [traffic.logged_only for traffic in counted] == [30, 20]


def test_a_rollout_whose_log_cannot_be_read_or_is_empty_says_so(served):
    served.start()
    rollout = control.latest_rollout(served.project)
    assert (
        describe_rollout_traffic(control.rollout_traffic(served.project, rollout)) == "no request to it is in the log"
    )
    served.serve(10)
    for path in traffic.log_folder(served.state, "flights", served.second).glob("*"):
        path.write_bytes(b"damaged")
    assert control.rollout_traffic(served.project, rollout) is None


def test_a_loss_shown_by_labels_rolls_back_once_they_arrive(served):
    served.start(Plan(stages=(RolloutStage(share=0.0), RolloutStage(share=0.5))))
    keys = served.serve(400, live=0.95, release=0.55)
    rollout = RolloutController(served.project, control.latest_rollout(served.project))
    assert not [measurement for measurement in rollout.evidence().measurements if measurement.name == "brier.drop"]
    save_labels(served.state, "flights", [Label(key, 0.0) for key in keys[:10]], who="ann")
    save_labels(served.state, "flights", [Label(key, 1.0) for key in keys], who="ann")
    (loss,) = [measurement for measurement in rollout.evidence().measurements if measurement.name == "brier.drop"]
    assert loss.value == pytest.approx(0.45**2 - 0.05**2, abs=1e-3) and loss.n_rows == 400
    assert rollout.step().action == "roll back"


def test_checks_in_steps_measure_the_same_as_one_check(served):
    served.start()
    step = RolloutController(served.project, control.latest_rollout(served.project))
    for _ in range(5):
        served.serve(37, release=0.7)
        evidence = step.evidence()
    at_once = RolloutController(served.project, control.latest_rollout(served.project)).evidence()
    assert evidence.measurements == at_once.measurements
    assert step.rollout.requests == 5 * 37


def test_requests_without_a_key_count_in_a_shadow_and_not_in_a_canary(served):
    served.start()
    log = FlushedLog(served.state)
    for number in log.number(50):
        for arm in (0, 1):
            log.add(served.entry(arm, number, "", 0.7, stage=0, paired=1, answered=1 - arm))
    log.close()
    (flips,) = [measurement for measurement in _evidence(served).measurements if measurement.name == "decision_churn"]
    assert (flips.n_rows, flips.n_groups) == (50, 50)
    control.advance_rollout(served.project, who="ann", why="to see")
    log = FlushedLog(served.state)
    log.add(served.entry(0, log.number(1)[0], "", 0.7, stage=1, paired=0, answered=1))
    log.close()
    assert _evidence(served).measurements == ()


def _evidence(served):
    return RolloutController(served.project, control.latest_rollout(served.project)).evidence()


def test_an_unpaired_answer_waits_for_its_counterpart(served):
    served.start()
    step = RolloutController(served.project, control.latest_rollout(served.project))
    for arm in (0, 1):
        log = FlushedLog(served.state)
        log.add(served.entry(arm, 7, "anna", 0.7, stage=0, paired=1, answered=1 - arm))
        log.close()
        step.evidence()
        assert step.rollout.requests == arm


def test_the_time_in_which_the_log_lost_rows_is_not_judged(served):
    served.start()
    keys = served.serve(30)
    now_us = time.time_ns() // 1000
    buffers = LogBuffers(1, 1 << 20)
    buffers.lose(0, served.opened[1], rows=12, since_us=0, until_us=now_us)
    assert log_writer(served.state, buffers).write()
    served.serve(20)
    step = RolloutController(served.project, control.latest_rollout(served.project))
    decision = step.step()
    assert (step.rollout.requests, step.rollout.lost_rows, len(keys)) == (20, 12, 30)
    assert decision.message.endswith("; the log lost 12 rows, and that time is not judged")


def test_requests_of_another_stage_are_ignored(served):
    served.start()
    served.serve(50, release=0.2)
    control.advance_rollout(served.project, who="ann", why="to see")
    assert _evidence(served).measurements == ()


def test_a_person_may_advance_against_the_judge_and_it_is_recorded(served):
    served.start()
    decision = control.advance_rollout(served.project, who="ann", why="seen enough")
    assert (decision.action, decision.verdict.by, decision.verdict.answer) == ("advance", "ann", "pass")
    control.advance_rollout(served.project, who="ann", why="still")
    assert control.latest_rollout(served.project).status == "promoted" and served.moves()[-2] == ("live", "second")


def test_a_person_may_promote_from_any_stage_and_is_named(served):
    served.start()
    decision = control.promote_rollout(served.project, who="ann", why="it cannot wait")
    assert (decision.action, decision.verdict.by) == ("promote", "ann")
    assert control.latest_rollout(served.project).status == "promoted"
    assert served.moves()[2:] == [("live", "second"), ("canary", "nothing")]


def test_without_another_plan_the_stages_are_those_of_the_project(tmp_path):
    toml = rollouts.TOML + "[rollout]\nshares = [0.1, 0.3]\nmin_requests = 70\nat_most_hours = 2\n"
    project = rollouts.project(tmp_path, toml=toml)
    rollouts.live(project, rollouts.release(made_at="1"))
    started = control.start_rollout(project, rollouts.publish(project, rollouts.release(made_at="2")), who="ann")
    assert [(stage.share, stage.min_requests, stage.at_most_s) for stage in started.plan.stages] == [
        (0.1, 70, 7200.0),
        (0.3, 70, 7200.0),
    ]
    project.state.close()
    project.registry.state.close()


def test_a_stage_waits_for_its_minimum_of_requests_although_all_rules_are_met(served):
    served.start(Plan(stages=(RolloutStage(share=0.0, min_requests=3200), RolloutStage(share=0.5))))
    served.serve(3000)
    decision = control.step_rollout(served.project)
    assert (decision.action, decision.verdict.answer) == ("stay", "pass")
    assert decision.message.endswith("and it has answered 3,000 of at least 3,200 requests")
    served.serve(200)
    assert control.step_rollout(served.project).action == "advance"


def test_advancing_needs_a_reason(served):
    served.start()
    with pytest.raises(HeadwayError, match="who, why and when"):
        control.advance_rollout(served.project, who="ann", why=" ")


def test_a_person_may_roll_back_at_any_time(served):
    served.start()
    assert (
        control.roll_back(served.project, from_release=served.second, who="bob", why="callers complain").release == ""
    )
    assert control.latest_rollout(served.project).status == "rolled back"
    assert "bob: callers complain" in control.latest_rollout(served.project).why


def test_a_withdrawn_canary_is_reported_and_the_rollout_ends(served):
    served.start()
    served.project.registry.withdraw("flights@canary", who="eve", why="by hand")
    assert control.roll_back(served.project, from_release=served.second, who="bob", why="no") is None
    assert control.latest_rollout(served.project).status == "rolled back"


def test_without_a_rollout_a_rollback_returns_live_to_its_previous_release(served):
    with pytest.raises(StoreError, match="no other release"):
        control.roll_back(served.project, from_release=served.first, who="bob", why="no")
    third = rollouts.live(served.project, rollouts.release(made_at="3"))
    assert control.roll_back(served.project, from_release=third, who="bob", why="slow").release == served.first


def test_a_second_rollback_from_the_same_release_moves_nothing_and_forward_is_another_call(served):
    third = rollouts.live(served.project, rollouts.release(made_at="3"))
    for left in (third[7:19], third, third[7:15]):
        control.roll_back(served.project, from_release=left, who="bob", why="slow")
    assert served.moves()[1:] == [("live", third), ("live", "first")]
    assert control.roll_forward(served.project, from_release=third, who="ann", why="it was the network") is None
    move = control.roll_forward(served.project, from_release=served.first, who="ann", why="it was the network")
    assert (move.release, move.who, move.verdict) == (third, "ann", "")
    assert control.roll_forward(served.project, from_release=served.first, who="ben", why="the same") is None
    with pytest.raises(StoreError, match="left no release by a rollback"):
        control.roll_forward(served.project, from_release=third, who="ben", why="further")


def test_a_second_person_who_ends_a_rollout_does_not_move_live(served):
    rollouts.live(served.project, rollouts.release(made_at="3"))
    served.start()
    assert control.release_to_leave(served.project) == served.second
    moves = [control.roll_back(served.project, from_release=served.second, who=who, why="no") for who in ("ann", "bob")]
    assert moves[0].pointer == "canary" and moves[1] is None
    assert served.moves()[-1] == ("canary", "nothing") and "by ann: no" in control.latest_rollout(served.project).why


def test_live_is_not_left_while_a_rollout_is_compared_with_it(served):
    third = rollouts.live(served.project, rollouts.release(made_at="3"))
    served.start()
    for act in (control.roll_back, control.roll_forward):
        with pytest.raises(Refused, match="is compared with it: end that first") as refused:
            act(served.project, from_release=third, who="bob", why="no")
        assert f"--from {served.second[:19]}" in refused.value.hint
    served.project.registry.withdraw("flights@canary", who="eve", why="its process was killed then")
    assert control.roll_back(served.project, from_release=third, who="bob", why="no").release == served.first


@pytest.mark.parametrize("left", ["", "abc", "sha256:0000000000", "0" * 64])
def test_a_release_that_was_never_live_cannot_be_left(served, left):
    with pytest.raises(StoreError, match=r"is not a digest of at least 8 digits|0 releases that flights had"):
        control.roll_back(served.project, from_release=left, who="bob", why="no")


def test_a_release_that_is_live_again_by_another_update_than_the_person_saw_is_not_left(served):
    third = rollouts.live(served.project, rollouts.release(made_at="3"))
    control.roll_back(served.project, from_release=third, who="ann", why="slow")
    control.roll_forward(served.project, from_release=served.first, who="ann", why="it was the network")
    with pytest.raises(PointerMoved, match="by update 4"):
        control.roll_back(served.project, from_release=third, who="bob", why="slow", after=2)


def test_a_second_rollout_waits_for_the_first(served):
    served.start()
    with pytest.raises(Refused, match="is running"):
        served.start()
    control.roll_back(served.project, from_release=served.second, who="bob", why="no")
    served.start()
    assert control.latest_rollout(served.project).status == "running"


def test_the_live_release_cannot_be_rolled_out(served):
    with pytest.raises(Refused, match="already live"):
        control.start_rollout(served.project, served.first, who="ann")


def test_without_a_live_release_there_is_nothing_to_compare_with(tmp_path):
    project = rollouts.project(tmp_path)
    digest = rollouts.publish(project, rollouts.release())
    with pytest.raises(Refused, match="nothing is live"):
        control.start_rollout(project, digest, who="ann")
    project.state.close()
    project.registry.state.close()


@pytest.mark.parametrize("act", [control.step_rollout, control.rollout_status])
def test_without_a_rollout_there_is_nothing_to_check(served, act):
    with pytest.raises(Refused, match="no rollout of flights is running"):
        act(served.project)


def test_status_decides_and_does_nothing(served):
    served.start()
    served.serve(100, release=0.2)
    assert control.rollout_status(served.project).action == "roll back"
    assert control.latest_rollout(served.project).status == "running"


def test_a_promotion_killed_after_the_update_is_finished_by_the_next_check(served):
    served.start()
    verdict = rollouts.release().verdict
    reason = UpdateReason(who="rollout", why="met", verdict=verdict)
    served.project.registry.point("flights@live", served.second, reason)
    assert control.step_rollout(served.project).action == "promote"
    assert control.latest_rollout(served.project).status == "promoted"
    assert served.moves()[2:] == [("live", "second"), ("canary", "nothing")]


def test_an_advance_killed_after_the_update_is_finished_by_the_next_check(served, monkeypatch):
    served.start()
    served.serve(3000)
    save = type(served.project).save
    monkeypatch.setattr(type(served.project), "save", lambda self, record: _killed(save, self, record))
    with pytest.raises(KeyboardInterrupt):
        control.step_rollout(served.project)
    monkeypatch.undo()
    assert control.latest_rollout(served.project).stage == 0 and len(served.moves()) == 3
    decision = control.step_rollout(served.project)
    assert decision.action == "advance" and "shadow goes on to canary 50 %" in decision.message
    assert control.latest_rollout(served.project).stage == 1 and len(served.moves()) == 3


def _killed(save, project, record):
    """Save a record, but die at the record of a rollout."""
    if isinstance(record, Rollout):
        raise KeyboardInterrupt
    save(project, record)


def test_a_promotion_killed_before_the_record_is_finished_by_the_next_check(served, monkeypatch):
    served.start(Plan(stages=(RolloutStage(share=0.0),)))
    served.serve(3000)
    save = type(served.project).save
    monkeypatch.setattr(type(served.project), "save", lambda self, record: _killed(save, self, record))
    with pytest.raises(KeyboardInterrupt):
        control.step_rollout(served.project)
    monkeypatch.undo()
    moves = served.moves()
    assert moves[2:] == [("live", "second"), ("canary", "nothing")]
    assert control.step_rollout(served.project).action == "promote"
    assert control.latest_rollout(served.project).status == "promoted" and served.moves() == moves


def test_a_rollback_killed_after_the_update_is_finished_by_the_next_check(served):
    served.start()
    served.project.registry.withdraw("flights@canary", who="rollout", why="harm")
    decision = control.step_rollout(served.project)
    assert decision.action == "roll back" and "rollout: harm" in decision.message
    assert control.latest_rollout(served.project).status == "rolled back"


def test_a_stale_record_of_a_rollout_without_canary_does_not_block_a_new_one(served):
    served.start()
    served.project.registry.withdraw("flights@canary", who="rollout", why="harm")
    served.start()
    assert served.moves()[-1] == ("canary", "second")


def test_another_live_release_ends_the_rollout_inconclusive(served):
    served.start()
    rollouts.live(served.project, rollouts.release(made_at="3"))
    assert control.step_rollout(served.project).action == "stop"
    assert control.latest_rollout(served.project).status == "inconclusive"
    assert served.project.registry.head("flights@canary").release == ""


def test_a_follower_sees_the_steps_of_another_process_and_stops_at_the_end(served):
    served.start()
    step = RolloutController(served.project, control.latest_rollout(served.project))
    control.advance_rollout(served.project, who="ann", why="seen")
    assert step.step().action == "stay" and step.rollout.stage == 1
    control.roll_back(served.project, from_release=served.second, who="bob", why="no")
    with pytest.raises(Refused, match="no rollout"):
        step.step()


def test_a_label_that_no_row_can_have_is_left_out_of_the_loss_of_a_canary(served):
    served.start(Plan(stages=(RolloutStage(share=0.0), RolloutStage(share=0.5))))
    keys = served.serve(20, live=0.95, release=0.55)
    save_labels(served.state, "flights", [Label(key, 7.0) for key in keys], who="ann")
    rollout = RolloutController(served.project, control.latest_rollout(served.project))
    assert not [measurement for measurement in rollout.evidence().measurements if measurement.name == "brier.drop"]


def test_the_log_has_the_rows_of_each_release_and_the_later_label_of_a_key_wins(served):
    served.start()
    keys = served.serve(3)
    save_labels(served.state, "flights", [Label(keys[0], 0.0), Label(keys[1], 0.0)], who="ann")
    save_labels(served.state, "flights", [Label(keys[0], 1.0)], who="ann")
    labels = LabelReader(served.state, "flights").read()
    assert dict(zip(labels["key"], labels["label"], strict=True)) == {keys[0]: 1.0, keys[1]: 0.0}
    assert read_predictions(served.state, "flights", [served.first])["in.a"].to_list() == [0.7] * 3
    assert len(read_predictions(served.state, "flights", [served.first, served.second])) == 6
    assert read_predictions(served.state, "hotels", [served.first]).is_empty()


def test_an_unreadable_segment_is_named(served):
    served.start()
    served.serve(1)
    (path,) = traffic.log_folder(served.state, "flights", served.first).iterdir()
    path.write_bytes(b"broken")
    with pytest.raises(StoreError, match="segment of the log cannot be read"):
        read_predictions(served.state, "flights", [served.first])
