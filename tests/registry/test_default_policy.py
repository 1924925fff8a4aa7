"""The default policy holds a floor; a policy of relative rules alone does not pass without saying so."""

from __future__ import annotations

import polars as pl
import pytest
from msgspec.structs import replace

from headway.core.evidence import Evidence, Machine, Measurement
from headway.core.verdict import Rule
from headway.data.roles import parse_roles
from headway.data.settings.data import DataSection
from headway.data.settings.policy import PolicySection
from headway.registry import live
from headway.registry.default_policy import default_rules, floor_rules, live_rules, release_policy
from headway.registry.judge import feasible, judge_release
from headway.registry.project import LiveRelease

DROP = Rule(measure="roc_auc.drop", at_most=0.005)
LIVE_DIGEST = f"sha256:{'a' * 64}"


def seen(name, value=0.0, se=0.0001, *, rows=9000, groups=60, slice=""):
    half = 2 * se
    return Measurement(
        name=name,
        value=value,
        low=value - half,
        high=value + half,
        method="t",
        n_rows=rows,
        n_groups=groups,
        slice=slice,
        se=se,
        dof=groups - 1,
    )


def evidence(*measurements, **fields):
    machine = Machine(cpu="", cores=1, system="", python="")
    return Evidence(subject="", dataset="", period="test", machine=machine, measurements=measurements, **fields)


PASSES = evidence(
    *(seen(name) for name in ("roc_auc.drop", "brier.drop", "probability_shift", "decision_churn")),
    seen("gain_over_constant", 0.2),
    seen("gain_over_reference", 0.05),
)


def measures(policy):
    return [rule.measure for rule in policy.release]


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression", "ranking"])
def test_the_default_rules_of_a_task_end_with_its_floor(task):
    roles = parse_roles(DataSection(target="y", task=task, groups="day"))
    rules = default_rules(roles, pl.DataFrame({"x": [1.0, None], "y": [0.0, 1.0], "day": [1, 2]}), judged=0.5)
    assert [rule.measure for rule in rules[-2:]] == ["gain_over_constant", "gain_over_reference"]
    assert rules[0].relative and all(rule.absolute for rule in rules[-2:])


def test_embeddings_have_no_reference_model():
    assert [rule.measure for rule in floor_rules("embedding")] == ["gain_over_constant"]


def test_large_slices_and_missing_values_have_a_default_rule_by_table_and_by_evidence():
    days = [row % 31 for row in range(3000)]
    table = pl.DataFrame(
        {"side": ["left", "right"] * 1500, "x": [None, None, 1.0] * 1000, "day": days, "y": [0, 1] * 1500}
    )
    roles = parse_roles(DataSection(target="y", slices=("side",), groups="day"))
    rules = {rule.measure for rule in default_rules(roles, table, judged=1.0)}
    assert {"worst_slice.decision_churn", "missing.decision_churn"} <= rules
    assert not {"worst_slice.decision_churn", "missing.decision_churn"} & {
        rule.measure for rule in default_rules(roles, table, judged=0.2)
    }
    parts = (seen("decision_churn", slice="side=left"), seen("missing.decision_churn", slice="x", rows=10))
    found = measures(release_policy(PolicySection(), "binary", evidence(*parts)))
    assert "worst_slice.decision_churn" in found and "missing.decision_churn" not in found


@pytest.mark.parametrize("absent", [None, float("nan"), "text"])
@pytest.mark.parametrize(("groups", "judged"), [("", 0.5), ("day", 0.7)])
def test_rows_that_lack_a_value_are_counted_with_their_groups(absent, groups, judged):
    column = [None, "a"] * 1500 if absent == "text" else [absent, 1.0] * 1500
    table = pl.DataFrame(
        {"x": column, "full": [1] * 3000, "y": [0, 1] * 1500, "day": [row // 120 for row in range(3000)]}
    )
    roles = parse_roles(DataSection(target="y", groups=groups))

    def has_rule(share):
        return "missing.decision_churn" in {rule.measure for rule in default_rules(roles, table, judged=share)}

    assert has_rule(judged + 0.2) and not has_rule(judged)


def test_numbers_that_lack_no_value_have_no_rule_on_missing_values():
    table = pl.DataFrame({"x": [0.5] * 3000, "y": [0, 1] * 1500})
    rules = default_rules(parse_roles(DataSection(target="y")), table, judged=1.0)
    assert "missing.decision_churn" not in {rule.measure for rule in rules}


def test_a_policy_without_rules_is_judged_by_the_default_rules_of_the_task():
    assert judge_release(PASSES, PolicySection(), task="binary").answer == "pass"
    broken = replace(PASSES, measurements=(*PASSES.measurements[:4], seen("gain_over_constant", -0.1)))
    assert judge_release(broken, PolicySection(), task="binary").answer == "fail"
    without = judge_release(broken, PolicySection(floor="none"), task="binary")
    assert without.answer == "pass" and len(without.rule_results) == 4


def test_a_policy_of_only_relative_rules_is_undecided_and_says_what_to_add():
    verdict = judge_release(PASSES, PolicySection(release=(DROP,)), task="binary")
    assert (verdict.answer, verdict.rule_results[-1].answer) == ("undecided", "undecided")
    assert 'floor = "data"' in verdict.rule_results[-1].message and 'floor = "none"' in verdict.rule_results[-1].message
    assert feasible(verdict)


def test_a_relative_rule_that_fails_still_fails_without_a_floor():
    worse = evidence(seen("roc_auc.drop", 0.5))
    assert judge_release(worse, PolicySection(release=(DROP,)), task="binary").answer == "fail"


@pytest.mark.parametrize(
    ("rule", "answer"),
    [
        (Rule(measure="gain_over_constant", at_least=0.1), "pass"),
        (Rule(measure="latency.one_row", at_most=1.0), "undecided"),
        (Rule(measure="test_evaluations", at_most=3.0), "undecided"),
        (Rule(measure="live.roc_auc.drop", at_most=1.0), "undecided"),
    ],
)
def test_a_rule_on_quality_is_a_floor_and_one_on_speed_or_another_model_is_none(rule, answer):
    found = evidence(*PASSES.measurements, *(seen(name) for name in ("latency.one_row", "test_evaluations")))
    found = replace(found, measurements=(*found.measurements, seen("live.roc_auc.drop")))
    assert judge_release(found, PolicySection(release=(DROP, rule)), task="binary").answer == answer


def test_a_floor_may_be_none_or_taken_from_the_data():
    assert judge_release(PASSES, PolicySection(release=(DROP,), floor="none"), task="binary").answer == "pass"
    own = Rule(measure="gain_over_constant", at_least=0.1)
    policy = release_policy(PolicySection(release=(DROP, own), floor="data"), "binary", PASSES)
    assert measures(policy) == ["roc_auc.drop", "gain_over_constant", "gain_over_reference"]
    assert judge_release(PASSES, policy, task="binary").answer == "pass"


def test_a_live_release_adds_rules_that_are_judged_on_the_comparison_with_that_release():
    live = LiveRelease(digest=LIVE_DIGEST)
    drops = tuple(seen(rule.measure) for rule in live_rules("binary"))
    compared = replace(PASSES, live=LIVE_DIGEST, measurements=(*PASSES.measurements, *drops))
    verdict = judge_release(compared, PolicySection(), task="binary", live=live)
    assert verdict.answer == "pass"
    assert tuple(result.rule for result in verdict.rule_results[-2:]) == live_rules("binary")
    for changed in drops:
        others = tuple(drop for drop in drops if drop is not changed)
        worse = replace(compared, measurements=(*PASSES.measurements, *others, seen(changed.name, 0.2)))
        assert judge_release(worse, PolicySection(), task="binary", live=live).answer == "fail"
    worse = replace(compared, measurements=(*PASSES.measurements, seen("live.roc_auc.drop", 0.2)))
    own = PolicySection(release=(*floor_rules("binary"), Rule(measure="live.roc_auc.drop", at_most=0.5)))
    assert judge_release(worse, own, task="binary", live=live).answer == "pass"


@pytest.mark.parametrize(
    ("live", "of", "reason"),
    [
        (LiveRelease(digest=LIVE_DIGEST), "", "was made before sha256:aaaa"),
        (LiveRelease(digest=LIVE_DIGEST), "sha256:bbbb", "compares with the release sha256:bbbb"),
        (LiveRelease(digest="", problem="the live release cannot be opened: no key"), "", "no key"),
    ],
)
def test_evidence_that_does_not_compare_with_the_live_release_is_undecided_with_the_reason(live, of, reason):
    compared = replace(PASSES, live=of, measurements=(*PASSES.measurements, seen("live.roc_auc.drop")))
    verdict = judge_release(compared, PolicySection(), task="binary", live=live)
    assert verdict.answer == "undecided" and reason in verdict.rule_results[-1].message


def test_an_unknown_task_has_no_main_measure():
    assert live_rules("other") == ()
    live = LiveRelease(digest=LIVE_DIGEST)
    policy = PolicySection(release=floor_rules("binary"))
    assert judge_release(PASSES, policy, task="other", live=live).answer == "pass"


def test_decisions_are_not_compared_with_a_release_that_cannot_be_opened():
    assert live._decision_churn(LiveRelease(digest="d", problem="it is gone"), None, None) == []
