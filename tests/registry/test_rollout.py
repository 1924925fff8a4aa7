"""What moves a rollout: only a pass goes forward, shown harm goes back, and time alone never promotes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.monitoring import rollouts as releases

from headway.core.calibrator import Calibrator
from headway.core.errors import ConfigError, HeadwayError, Refused
from headway.core.evidence import Machine, Measurement
from headway.core.record import digest_of, read, write
from headway.core.rollout import Plan, Rollout, RolloutStage, RolloutTraffic
from headway.core.variant import Step
from headway.core.verdict import Rule, RuleResult, Verdict
from headway.data.settings.policy import PolicySection
from headway.registry.rollout import (
    ERRORS,
    NEW_MODEL_CHURN,
    SLOW,
    SLOWER,
    Traffic,
    apply_decision,
    churn_limit,
    decide_rollout,
    describe_rollout_traffic,
    measure_stage,
    model_change,
    next_step,
    overrule,
    rollout_rules,
    stage_alpha,
    stage_evidence,
    start_stage_tracking,
    update_tracking,
)
from headway.registry.settings.rollout import RolloutSection

NOON = datetime(2013, 9, 1, 12, tzinfo=UTC)
MACHINE = Machine(cpu="", cores=2, system="", python="")
FLIPS = Rule(measure="decision_churn", at_most=0.05)
BRIER = Rule(measure="brier.drop", at_most=0.005)


def rollout(*rules, stage=1, delayed_rules=(), **fields):
    """Return a rollout that reached its stage at noon; by default with one rule on flipped decisions."""
    fields = {
        "rules": rules or (FLIPS,),
        "delayed_rules": delayed_rules,
        "stage": stage,
        "stage_at": NOON.isoformat(),
    } | fields
    return Rollout(name="flights", release="sha256:new", live="sha256:old", salt="s", **fields)


def seen(low, high, *, name="decision_churn", level=0.95, validity="anytime", rows=412, keys=96):
    """A measurement whose value is in the middle of its bounds."""
    value = (low + high) / 2
    return Measurement(
        name=name,
        value=value,
        low=low,
        high=high,
        method="betting",
        n_rows=rows,
        n_groups=keys,
        level=level,
        validity=validity,
    )


def decided(of, *measurements, after_s=60.0):
    """The decision on these measurements, some seconds after the stage began."""
    at = NOON + timedelta(seconds=after_s)
    return decide_rollout(of, stage_evidence(of, measurements, machine=MACHINE, at=at))


# Decisions


@pytest.mark.parametrize(
    ("low", "high", "action"),
    [
        (0.01, 0.05, "advance"),
        (0.01, 0.0501, "stay"),
        (0.05, 0.09, "stay"),
        (0.0501, 0.09, "roll back"),
    ],
)
def test_a_bound_on_the_limit_is_within_it(low, high, action):
    assert decided(rollout(), seen(low, high)).action == action


def test_an_undecided_stage_stops_after_its_time_and_never_advances():
    in_time, over = (decided(rollout(), seen(0.04, 0.06), after_s=at) for at in (86_399.9, 86_400))
    assert (in_time.action, over.action, over.verdict.answer) == ("stay", "stop", "undecided")
    assert over.message.startswith("canary 5 % ends inconclusive after 86,400 s: of 412 paired answers")


def test_a_stage_without_evidence_stays_then_stops():
    assert decided(rollout()).action == "stay"
    assert decided(rollout(), after_s=1e6).message.endswith("no request with a key has reached it yet")


@pytest.mark.parametrize(("high", "action"), [(0.04, "promote"), (0.06, "stop")])
def test_after_the_last_stage_only_a_pass_promotes(high, action):
    assert decided(rollout(stage=3), seen(0.01, high), after_s=1e6).action == action


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=2),
    st.integers(0, 3),
    st.floats(0, 200_000),
)
def test_advancing_needs_every_upper_bound_within_its_limit(ends, stage, after_s):
    bounds = [sorted(pair) for pair in ends]
    found = [seen(*pair, name=name) for pair, name in zip(bounds, ("decision_churn", "error_rate"), strict=True)]
    decision = decided(rollout(FLIPS, Rule(measure="error_rate", at_most=0.1), stage=stage), *found, after_s=after_s)
    goes = bounds[0][1] <= 0.05 and bounds[1][1] <= 0.1
    assert (decision.action in ("advance", "promote")) == goes
    assert (decision.action == "roll back") == (bounds[0][0] > 0.05 or bounds[1][0] > 0.1)


@pytest.mark.parametrize("wrong", [{"validity": "fixed"}, {"level": 0.9}])
def test_a_measurement_that_is_not_anytime_valid_is_ignored(wrong):
    for bounds in ((0.0, 0.01), (0.2, 0.3)):
        assert decided(rollout(), seen(*bounds, **wrong)).action == "stay"


def window(low, high, *, name="decision_churn"):
    """A window of 500 requests that showed more harm than all requests."""
    return replace(seen(low, high, name=name, rows=500), slice="one window of 500 requests")


def test_a_window_that_shows_no_harm_blocks_nothing():
    assert decided(rollout(), seen(0.01, 0.04), window(0.02, 1.0)).action == "advance"
    better = seen(-0.05, -0.03, name="brier.drop", rows=23_681)
    assert decided(rollout(BRIER), better, window(-0.01, 1.0, name="brier.drop")).action == "advance"


def test_a_window_that_shows_harm_rolls_back_and_is_named_with_its_own_figures():
    decision = decided(
        rollout(FLIPS, BRIER), seen(0.01, 0.04), seen(-0.05, -0.03, name="brier.drop"), window(0.06, 0.1)
    )
    assert decision.message == (
        "canary 5 % is rolled back: in one window of 500 requests, of 500 paired answers on 96 keys, one per key, "
        "8 decisions flipped (8 %, at least 6 % at any time), limit 5 %"
    )
    [result] = [result for result in decision.verdict.rule_results if result.answer == "fail"]
    assert result.measurement.slice == "one window of 500 requests"
    late = decided(rollout(delayed_rules=(BRIER,)), seen(0.01, 0.04), window(0.02, 0.3, name="brier.drop"))
    assert late.action == "roll back" and ": in one window of 500 requests on 96 keys, brier differs" in late.message


def test_harm_over_all_requests_is_shown_by_all_of_them():
    decision = decided(rollout(), seen(0.06, 0.08), window(0.09, 1.0))
    assert decision.action == "roll back" and "one window" not in decision.message


def test_a_window_never_meets_a_rule():
    assert decided(rollout(), window(0.01, 0.04)).action == "stay"


def test_a_delayed_rule_counts_once_it_is_measured():
    of = rollout(delayed_rules=(BRIER,))
    flips, level = seen(0.01, 0.04), 0.95
    without = decided(of, flips)
    assert (without.action, len(without.verdict.rule_results)) == ("advance", 1)
    assert without.message == "canary 5 % goes on to canary 25 %: its one rule is met, brier.drop not known yet"
    assert decided(of, flips, seen(0.001, 0.01, name="brier.drop", level=level)).action == "stay"
    assert decided(of, flips, seen(0.006, 0.01, name="brier.drop", level=level)).action == "roll back"


@pytest.mark.parametrize(
    "changes", [{"release": "sha256:other"}, {"stage": 2}, {"status": "rolled back"}, {"status": "inconclusive"}]
)
def test_evidence_on_another_subject_or_after_the_end_is_rejected(changes):
    evidence = stage_evidence(rollout(), [seen(0, 0.01)], machine=MACHINE, at=NOON)
    with pytest.raises(Refused):
        decide_rollout(replace(rollout(), **changes), evidence)


def test_a_harmful_release_is_rolled_back_and_a_sound_one_advances():
    rng, of = (
        np.random.default_rng(0),
        rollout(ERRORS, FLIPS, plan=Plan(stages=(RolloutStage(share=0.5), RolloutStage(share=0.75))), stage=0),
    )
    ours = rng.random(9000) < 0.5
    for rate, action in ((0.001, "advance"), (0.3, "roll back")):
        failed = (rng.random(9000) < np.where(ours, rate, 0.001)).astype(float)
        same = np.zeros((9000, 2))
        traffic = Traffic(
            keys=rng.integers(0, 2**63, 9000).astype(np.uint64),
            canary=ours,
            known={"error_rate": np.column_stack([failed, failed]), "decision": same},
        )
        assert decided(of, *measure_stage(update_tracking(start_stage_tracking(of), traffic))).action == action


def test_a_release_of_25_times_the_time_is_rolled_back_for_its_slowness_though_within_the_objective():
    of = rollout(ERRORS, SLOW, SLOWER, FLIPS, BRIER, plan=Plan(stages=(RolloutStage(share=0.0),)), stage=0)
    zeros, live_us = np.zeros((200, 2)), np.full(200, 100.0)
    traffic = Traffic(
        keys=np.arange(200, dtype=np.uint64),
        canary=np.zeros(200, dtype=np.bool_),
        known={
            "error_rate": zeros,
            "slow_requests": zeros,
            "decision": zeros,
            "latency_us": np.column_stack([live_us, 25 * live_us]),
        },
    )
    decision = decided(of, *measure_stage(update_tracking(start_stage_tracking(of), traffic)))
    assert decision.action == "roll back"
    assert decision.message.startswith(
        "shadow is rolled back: of 200 paired answers on 200 keys, one per key, 200 took more than 5 times as long as "
        "live's (100 %, at least "
    )


# Messages


def test_a_rollback_message_has_the_number_of_keys_and_requests():
    decision = decided(rollout(), seen(0.0561, 0.0939))
    assert decision.message == (
        "canary 5 % is rolled back: of 412 paired answers on 96 keys, one per key, 7 decisions flipped "
        "(7.5 %, at least 5.61 % at any time), limit 5 %"
    )
    assert decision.verdict.rule_results[0].message in decision.message


@pytest.mark.parametrize(
    ("rule", "low", "high", "message"),
    [
        (FLIPS, 0.02, 0.03, "(2.5 %, at most 3 % at any time), limit 5 %"),
        (
            FLIPS,
            0.02,
            0.09,
            "(5.5 %, from 2 % to 9 % at any time), limit 5 %; more than 10 times as many requests are needed",
        ),
        (
            FLIPS,
            0.02,
            0.06,
            "(4 %, from 2 % to 6 % at any time), limit 5 %; about 1,236 more requests like these would decide",
        ),
        (
            ERRORS,
            0.02,
            0.10,
            "over 412 requests on 96 keys, the share of failed requests differs from live's by +6 points "
            "(at least +2 points at any time), limit +0.5 points",
        ),
        (BRIER, -0.003, 0.001, "brier differs from live's by -0.001 (at most +0.001 at any time), limit +0.005"),
        (Rule(measure="brier", at_least=0.1), 0.12, 0.2, "brier is 0.16 (at least 0.12 at any time), limit 0.1"),
        (Rule(measure="brier", at_least=0.3), 0.12, 0.2, "brier is 0.16 (at most 0.2 at any time), limit 0.3"),
    ],
)
def test_a_rule_result_has_a_message(rule, low, high, message):
    [rule_result] = decided(rollout(rule), seen(low, high, name=rule.measure)).verdict.rule_results
    assert rule_result.message.endswith(message)


@pytest.mark.parametrize(
    ("stage", "high", "begins"),
    [
        (0, 0.04, "shadow goes on to canary 5 %: its one rule"),
        (3, 0.04, "canary 50 % goes live: its one rule"),
        (2, 0.06, "canary 25 % stays: of"),
    ],
)
def test_a_decision_message_names_the_next_stage(stage, high, begins):
    assert decided(rollout(stage=stage), seen(0.01, high)).message.startswith(begins)


@pytest.mark.parametrize(
    ("traffic", "message"),
    [
        (None, "the log of what it answered cannot be read"),
        (RolloutTraffic(answered=0, logged_only=0), "no request to it is in the log"),
        (RolloutTraffic(answered=2354, logged_only=0), "callers got its answers to 2,354 requests"),
        (
            RolloutTraffic(answered=0, logged_only=4292),
            "it ran on 4,292 requests for the log only, and no caller got its answer",
        ),
        (
            RolloutTraffic(answered=2354, logged_only=20, is_sampled=True),
            "callers got its answers to about 2,354 requests, and it ran on about 20 requests for the log only",
        ),
    ],
)
def test_what_a_rollout_answered_is_described(traffic, message):
    assert describe_rollout_traffic(traffic) == message


# Rules and their chance of error


def test_without_its_own_rules_a_rollout_uses_those_of_the_release():
    rule_results = [
        RuleResult(rule=rule, answer="pass", message="")
        for rule in (FLIPS, Rule(measure="worst_slice.brier.drop", at_most=0.01), Rule(measure="ece", at_most=0.05))
    ]
    released = Verdict(answer="pass", subject="", rule_results=tuple(rule_results))
    assert rollout_rules(PolicySection(), released, churn=FLIPS) == (
        (ERRORS, SLOW, SLOWER, FLIPS),
        (replace(BRIER, at_most=0.01),),
    )


MODEL, OTHER = (digest_of(text) for text in (b"100 trees", b"120 trees"))
LIVE = releases.release(baseline=MODEL)


@pytest.mark.parametrize(
    ("release", "change"),
    [
        (releases.release(content=b"compiled", baseline=MODEL), "same model"),
        (releases.release(content=b"retrained", baseline=OTHER), "new model"),
        (releases.release(content=b"compiled", baseline=MODEL, threshold=0.3), "new model"),
        (releases.release(content=b"compiled", baseline=MODEL, calibrator=Calibrator(shift=0.4)), "new model"),
    ],
    ids=["another engine", "retrained", "another threshold", "recalibrated"],
)
def test_a_release_is_another_form_of_live_only_if_both_come_from_the_same_fitted_model(release, change):
    assert model_change(release, LIVE) == change


@pytest.mark.parametrize(("content", "change"), [(b"echo", "same model"), (b"another", "new model")])
def test_a_release_of_an_earlier_headway_that_names_no_model_is_compared_by_its_bytes(content, change):
    compiled = replace(LIVE.variant, steps=(Step(transform="compile"),))
    live, release = (replace(releases.release(content=text), baseline="") for text in (b"echo", content))
    assert model_change(release, replace(live, variant=compiled)) == change


def test_another_form_of_the_model_has_its_own_limit_on_decisions_and_a_new_model_a_wider_one():
    new = releases.release(rules=(replace(FLIPS, at_most=0.01),))
    limits = {
        change: churn_limit(RolloutSection(), new, change=change, live="sha256:live").at_most
        for change in ("same model", "new model")
    }
    assert limits == {"same model": 0.01, "new model": NEW_MODEL_CHURN}


def test_a_project_sets_both_limits_on_decisions():
    settings = RolloutSection(churn_same_model=0.002, churn_new_model=0.3)
    limits = [
        churn_limit(settings, releases.release(), change=change, live="sha256:live").at_most
        for change in ("same model", "new model")
    ]
    assert limits == [0.002, 0.3]


def test_a_new_model_may_differ_by_twice_what_its_evaluation_against_live_showed():
    measured = stage_evidence(rollout(), [seen(0.04, 0.06)], machine=MACHINE, at=NOON)
    retrained = releases.release(rules=(BRIER,), evidence=(replace(measured, reference="sha256:live"),))
    limit = churn_limit(RolloutSection(), retrained, change="new model", live="sha256:live")
    assert limit == Rule(measure="decision_churn", at_most=0.12)
    at_optimize = replace(measured, live="sha256:live", measurements=(seen(0.01, 0.02, name="live.decision_churn"),))
    searched = releases.release(rules=(FLIPS,), evidence=(at_optimize,))
    assert churn_limit(RolloutSection(), searched, change="new model", live="sha256:live").at_most == 0.05
    other = churn_limit(RolloutSection(), searched, change="new model", live="sha256:other")
    assert other.at_most == NEW_MODEL_CHURN  # the release that is live now is not the one it was compared with
    unknown = replace(measured, reference="sha256:live", measurements=(seen(0.0, 1.0),))
    few = releases.release(rules=(BRIER,), evidence=(unknown,))
    assert churn_limit(RolloutSection(), few, change="new model", live="sha256:live").at_most == NEW_MODEL_CHURN
    judged = replace(retrained, verdict=releases.release(rules=(FLIPS,)).verdict)
    assert churn_limit(RolloutSection(), judged, change="new model", live="sha256:live") == FLIPS


def test_sets_of_labels_have_a_limit_on_decisions_as_classes_have():
    made = releases.release()
    several = replace(made, variant=replace(made.variant, task="multilabel"))
    limit = churn_limit(RolloutSection(churn_new_model=0.1), several, change="new model", live="sha256:live")
    assert limit == Rule(measure="decision_churn", at_most=0.1)


def test_a_regression_has_no_rule_on_decisions_which_could_never_be_decided():
    made = releases.release()
    numbers = replace(made, variant=replace(made.variant, task="ranking"))
    assert churn_limit(RolloutSection(churn_new_model=0.1), numbers, change="new model", live="sha256:live") is None


@pytest.mark.parametrize("turned", [False, True])
def test_a_rule_on_all_rows_comes_before_one_on_slices(turned):
    rules = [BRIER, Rule(measure="worst_slice.brier.drop", at_most=0.01)]
    rule_results = [RuleResult(rule=rule, answer="pass", message="") for rule in (reversed(rules) if turned else rules)]
    assert rollout_rules(PolicySection(), Verdict(answer="pass", subject="", rule_results=tuple(rule_results)))[1] == (
        BRIER,
    )


def test_all_rules_of_the_canary_policy_must_be_met():
    policy = PolicySection(canary=(FLIPS, BRIER))
    assert rollout_rules(policy, Verdict(answer="pass", subject="")) == ((FLIPS, BRIER), ())


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Rule(measure="error_rate"), "a rule has one limit, 'error_rate' has none or two"),
        (Rule(measure="brier", at_most=1, at_least=0), "a rule has one limit"),
        (Rule(measure="roc_auc.drop", at_most=0.1), "'roc_auc.drop' cannot be followed request by request"),
    ],
)
def test_a_rule_that_can_never_be_decided_is_rejected(rule, message):
    with pytest.raises(ConfigError, match=message):
        rollout_rules(PolicySection(canary=(rule,)), Verdict(answer="pass", subject=""))


@pytest.mark.parametrize("shares", [(0.1,), (0.0,), (0.0, 0.05, 0.25, 0.5), (0.05, 0.5), (0.0, 0.0)])
def test_all_stages_and_rules_share_five_percent(shares):
    plan = Plan(stages=tuple(RolloutStage(share=share) for share in shares))
    parts = [
        stage_alpha(rollout(FLIPS, ERRORS, delayed_rules=(BRIER,), plan=plan, stage=stage))
        for stage in range(len(shares))
    ]
    assert 3 * sum(parts) == pytest.approx(0.05)


def test_the_first_stage_with_callers_has_half_of_the_error_rate():
    assert [stage_alpha(rollout(stage=stage)) for stage in range(4)] == pytest.approx(
        [0.05 / 6, 0.025, 0.05 / 6, 0.05 / 6]
    )


# Moves


def test_advancing_resets_the_counts_of_the_stage():
    of = rollout(requests=500, of_release=25)
    after = apply_decision(of, decided(of, seen(0.01, 0.04)), at=NOON)
    assert (after.stage, after.requests, after.of_release, after.share) == (2, 0, 0, 0.25)
    assert datetime.fromisoformat(after.stage_at) == NOON and "its one rule is met" in after.why


@pytest.mark.parametrize(
    ("stage", "low", "high", "status"),
    [(3, 0.01, 0.04, "promoted"), (1, 0.06, 0.09, "rolled back"), (1, 0.04, 0.06, "inconclusive")],
)
def test_an_ended_rollout_has_no_share_of_traffic(stage, low, high, status):
    of = rollout(stage=stage)
    after = apply_decision(of, decided(of, seen(low, high), after_s=1e6), at=NOON)
    assert (after.status, after.share, after.stage) == (status, 0.0, stage)


def test_staying_changes_nothing():
    of = rollout()
    assert apply_decision(of, decided(of), at=NOON) is of


def test_a_person_may_advance_and_roll_back_and_is_named():
    of = rollout()
    decision = decided(of, seen(0.04, 0.06))
    on, back = (
        overrule(decision, action, who="Ada", why="seen to", at=NOON) for action in (next_step(of), "roll back")
    )
    assert (on.action, on.verdict.answer, on.verdict.by) == ("advance", "pass", "Ada")
    assert (back.action, back.verdict.answer, back.message) == ("roll back", "undecided", "roll back by Ada: seen to")


def test_an_overruling_needs_a_reason():
    with pytest.raises(HeadwayError, match="who, why and when"):
        overrule(decided(rollout()), "advance", who="Ada", why=" ", at=NOON)


def test_a_rollout_read_from_disk_equals_the_saved_one():
    of = rollout(delayed_rules=(BRIER,), by="Ada")
    assert read(Rollout, write(of)) == of
