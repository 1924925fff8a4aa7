"""The judge: pass, fail or undecided, by bounds and never by values alone."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from headway.core.errors import ConfigError, HeadwayError
from headway.core.evidence import AttackEffort, Evidence, Finding, Machine, Measurement
from headway.core.record import read, write
from headway.core.verdict import Rule, RuleResult, Verdict
from headway.data.settings.policy import PolicySection
from headway.evaluation.statistics.intervals import Sample
from headway.evaluation.statistics.proportions import share_measurement
from headway.registry.judge import candidate_policy, feasible, judge, judge_release, override_verdict, rows_needed

RANK = {"pass": 0, "undecided": 1, "fail": 2}


def seen(name="brier.drop", value=0.001, se=0.001, *, groups=60, rows=9000, slice=""):
    """A measurement with an interval by group."""
    return Measurement(
        name=name,
        value=value,
        low=value - 2 * se,
        high=value + 2 * se,
        method="t",
        n_rows=rows,
        n_groups=groups,
        slice=slice,
        se=se,
        dof=groups - 1,
    )


def known(name="max_change", value=0.1):
    """A fact, with no interval."""
    return Measurement(name=name, value=value, low=value, high=value, method="largest", n_rows=9000)


def evidence(*measurements, findings=()):
    machine = Machine(cpu="", cores=1, system="", python="")
    return Evidence(
        subject="sha256:1",
        dataset="",
        period="",
        machine=machine,
        measurements=measurements,
        findings=findings,
        at="2013-07-01T00:00:00+00:00",
    )


def policy(*rules, **support):
    return PolicySection(release=rules, **support)


def at_most(measure="brier.drop", limit=0.005):
    return Rule(measure=measure, at_most=limit)


def rule_result(measurement, rule):
    return judge(evidence(measurement), policy(rule)).rule_results[0]


# --- one rule ------------------------------------------------------------------------------------------------------


def test_a_loss_whose_upper_bound_is_inside_passes():
    found = rule_result(seen(value=0.001, se=0.001), at_most())
    assert found.answer == "pass"
    assert found.message == (
        "brier.drop is 0.001 (95 % interval -0.001 to 0.003; 9,000 rows, 60 groups): "
        "at most 0.002671, within the limit of 0.005"
    )


def test_a_loss_whose_lower_bound_is_outside_fails():
    found = rule_result(seen(value=0.01, se=0.001), at_most())
    assert (found.answer, found.groups_needed) == ("fail", None)
    assert found.bound == pytest.approx(0.01 - 1.671 * 0.001, abs=1e-6)
    assert found.message.endswith("at least 0.008329, outside the limit of 0.005")


def test_a_loss_that_straddles_the_limit_is_undecided_with_the_number_of_groups_needed():
    found = rule_result(seen(value=0.002, se=0.003), at_most())
    assert found.answer == "undecided"
    assert found.groups_needed == pytest.approx(60 * ((1.645 + 1.282) * 0.003 / 0.003) ** 2, rel=0.01)
    assert "it may be 0.007" in found.message and "514 groups would decide, 60 are at hand" in found.message


def test_a_value_inside_the_limit_is_not_a_pass_and_outside_not_a_fail():
    assert rule_result(seen(value=0.0049, se=0.001), at_most()).answer == "undecided"
    assert rule_result(seen(value=0.0051, se=0.001), at_most()).answer == "undecided"


@pytest.mark.parametrize("value", [0.0049999, 0.005])
def test_a_rule_that_ten_times_the_groups_would_not_decide_cannot_be_decided(value):
    found = rule_result(seen(value=value, se=0.001), at_most())
    assert (found.answer, found.groups_needed) == ("undecided", None)
    assert "this cannot be decided on such data, not with 10 times its 60 groups" in found.message


def churn(changed, rows, *, effective=None, groups=None):
    """The share of changed decisions of so many rows."""
    sample = Sample(n_rows=rows, n_groups=groups or rows)
    return share_measurement("decision_churn", changed / rows, effective or float(rows), sample)


def test_no_changed_decision_of_143_rows_is_undecided_with_the_rows_that_would_decide():
    found = rule_result(churn(0, 143), at_most("decision_churn", 0.01))
    assert (found.answer, found.groups_needed) == ("undecided", 299)
    assert found.message == (
        "decision_churn is 0 (95 % interval 0 to 0.02547; 143 rows, 143 groups): 0 of 143 changed; at most 2.1 %, "
        "outside the limit of 0.01; 299 rows would decide; unlabelled rows count"
    )


@pytest.mark.parametrize(("rows", "answer"), [(298, "undecided"), (299, "pass")])
def test_no_changed_decision_passes_one_percent_from_299_effective_rows(rows, answer):
    assert rule_result(churn(0, rows), at_most("decision_churn", 0.01)).answer == answer
    dependent = churn(0, 10 * rows, effective=float(rows), groups=rows // 2)
    assert rule_result(dependent, at_most("decision_churn", 0.01)).answer == answer


def test_changes_near_their_limit_cannot_be_decided_and_one_proves_that_there_are_some():
    found = rule_result(churn(99, 10_000), at_most("decision_churn", 0.01))
    assert found.answer == "undecided" and "99 of 10,000 changed; at most 1.2 %" in found.message
    assert found.message.endswith("this cannot be decided on such data, not with 10 times its 10,000 groups")
    assert rule_result(churn(1, 500), at_most("decision_churn", 0.0)).answer == "fail"
    assert "cannot be decided" in rule_result(churn(0, 500), at_most("decision_churn", 0.0)).message


def test_a_share_near_one_is_judged_by_its_lower_bound():
    accuracy = share_measurement("accuracy", 0.99, 200.0, Sample(n_rows=200, n_groups=200))
    rule = Rule(measure="accuracy", at_least=0.97)
    found = rule_result(accuracy, rule)
    assert found.answer == "undecided" and "it may be 0.9689, outside the limit of 0.97" in found.message
    assert rule_result(accuracy, Rule(measure="accuracy", at_least=0.96)).answer == "pass"
    assert rule_result(accuracy, Rule(measure="accuracy", at_least=0.9999)).answer == "fail"


def test_an_exact_measure_of_changes_needs_no_interval():
    exact = replace(churn(0, 20), se=0.0, high=0.0, effective_rows=UNSET)
    assert rule_result(exact, at_most("decision_churn", 0.0)).answer == "pass"
    kept = read(Evidence, write(evidence(churn(0, 143)))).find("decision_churn")
    assert kept == churn(0, 143)


@pytest.mark.parametrize(("value", "answer"), [(3.0, "pass"), (2.05, "undecided"), (1.0, "fail")])
def test_at_least_mirrors_at_most(value, answer):
    found = rule_result(seen("latency.speedup", value, 0.1), Rule(measure="latency.speedup", at_least=2))
    assert found.answer == answer
    words = {
        "pass": "at least 2.833, within",
        "fail": "at most 1.167, outside",
        "undecided": "it may be 1.883, outside",
    }
    assert f"{words[answer]} the limit of 2" in found.message


def test_a_fact_is_compared_without_an_interval():
    assert rule_result(known(value=0.1), at_most("max_change", 0.1)).answer == "pass"
    found = rule_result(known(value=0.1), at_most("max_change", 0.0999))
    assert (found.answer, found.bound) == ("fail", 0.1)
    assert found.message == "max_change is 0.1 (9,000 rows): at least 0.1, outside the limit of 0.0999"


def test_an_anytime_interval_is_used_unchanged():
    anytime = replace(seen(), validity="anytime", low=-0.01, high=0.004, se=None, dof=None)
    assert rule_result(anytime, at_most()).answer == "pass"
    assert rule_result(replace(anytime, low=0.0051, high=0.02), at_most()).answer == "fail"
    open_yet = rule_result(replace(anytime, high=0.02), at_most())
    assert (open_yet.answer, open_yet.groups_needed) == ("undecided", None)
    assert "more of the same would decide" in open_yet.message


def test_few_groups_are_undecided_whatever_their_value():
    found = rule_result(seen(value=-0.5, se=1e-6, groups=19), at_most())
    assert (found.answer, found.bound, found.groups_needed) == ("undecided", None, 20)
    assert "19 groups" in found.message and "at least 20 are needed" in found.message


def test_groups_without_an_interval_are_undecided():
    found = rule_result(replace(seen("roc_auc"), se=None, dof=None, low=0.0, high=1.0), at_most("roc_auc"))
    assert (found.answer, found.groups_needed) == ("undecided", None)
    assert "interval 0" not in found.message and "these groups give no interval" in found.message


def test_the_message_has_the_unit():
    assert (
        "is 12 us ("
        in rule_result(replace(seen("latency.one_row", 12.0, 0.1), unit="us"), at_most("latency.one_row")).message
    )


# --- the whole policy ----------------------------------------------------------------------------------------------


def test_all_rules_must_pass():
    good, open_yet, bad = at_most("a"), at_most("b"), at_most("c")
    held = evidence(seen("a", 0.001), seen("b", 0.005), seen("c", 0.02))
    answers = [judge(held, policy(*rules)).answer for rules in [(good,), (good, open_yet), (good, open_yet, bad)]]
    assert answers == ["pass", "undecided", "fail"]


def test_missing_evidence_is_undecided_and_names_the_metric_that_did_not_run():
    message = "metric 'calibration' did not run: no labels"
    finding = Finding(code="E001", severity="undecided", message=message, plugin="calibration")
    verdict = judge(evidence(seen(), findings=(finding,)), policy(at_most(), at_most("ece", 0.05)))
    assert verdict.answer == "undecided"
    assert verdict.rule_results[1].message == (
        "ece was not measured, so it cannot be judged (metric 'calibration' did not run: no labels)"
    )


def test_an_empty_policy_passes_nothing_and_names_the_setting_to_add():
    verdict = judge(evidence(seen()), policy())
    assert verdict.answer == "undecided" and "[[policy.release]]" in verdict.why
    assert not feasible(verdict)


def test_rules_share_the_error_rate_of_a_fail_but_not_of_a_pass():
    """The lower bound 0.0055 of one rule alone is outside; among ten rules it is taken at 0.5 % and is inside."""
    loss = seen(value=0.0072, se=0.001)
    others = [known(f"max_change{number}", 0.0) for number in range(9)]
    rules = [at_most(measurement.name, 1.0) for measurement in others]
    assert judge(evidence(loss), policy(at_most())).answer == "fail"
    assert judge(evidence(loss, *others), policy(at_most(), *rules)).answer == "undecided"
    inside = seen(value=0.0033, se=0.001)
    assert judge(evidence(inside, *others), policy(at_most(), *rules)).answer == "pass"


def test_a_verdict_has_subject_test_evaluations_and_time_of_its_evidence():
    verdict = judge(evidence(seen()), policy(at_most()), test_evaluations=3)
    assert (verdict.subject, verdict.test_evaluations, verdict.by) == ("sha256:1", 3, "judge")
    assert verdict.at == "2013-07-01T00:00:00+00:00"
    assert read(Verdict, write(verdict)) == verdict


@pytest.mark.parametrize("rule", [Rule(measure="ece"), Rule(measure="ece", at_most=1, at_least=0)])
def test_a_rule_without_a_limit_or_with_two_is_rejected(rule):
    with pytest.raises(ConfigError, match=r"'ece' has (none|two)"):
        judge(evidence(seen()), policy(rule))


def test_only_relative_rules_decide_whether_a_variant_is_feasible():
    held = evidence(seen(), seen("ece", 0.2))
    verdict = judge(held, policy(at_most(), at_most("ece", 0.05)))
    assert verdict.answer == "fail" and feasible(verdict)
    assert not feasible(judge(held, policy(at_most(limit=0.0001))))


def test_an_override_keeps_the_rule_results():
    verdict = judge(evidence(seen(value=0.1)), policy(at_most()), test_evaluations=2)
    over = override_verdict(verdict, who="mira", why="storm week, known cause", at="2013-08-01T09:00:00+00:00")
    assert (over.answer, over.by, over.why, over.at) == (
        "pass",
        "mira",
        "storm week, known cause",
        "2013-08-01T09:00:00+00:00",
    )
    assert over.rule_results == verdict.rule_results and not feasible(over)


def test_an_override_without_a_reason_is_rejected():
    with pytest.raises(HeadwayError, match="names who, why and when"):
        override_verdict(judge(evidence(), policy()), who="mira", why=" ", at="2013-08-01")


# --- slices --------------------------------------------------------------------------------------------------------

WORST = at_most("worst_slice.brier.drop", 0.005)


def slices(*measurements):
    return judge(evidence(*measurements), policy(WORST)).rule_results[0]


def test_every_large_enough_slice_must_be_shown_within_the_limit():
    good = [seen(slice=f"carrier={name}") for name in ("AA", "UA")]
    assert slices(*good).answer == "pass"
    doubtful = slices(*good, seen(value=0.004, slice="carrier=WN"))
    assert doubtful.answer == "undecided" and doubtful.measurement.slice == "carrier=WN"
    assert "the worst of 3 slices: brier.drop of carrier=WN is 0.004" in doubtful.message


def test_a_pass_needs_no_correction_for_the_number_of_slices():
    many = [seen(value=0.003, slice=f"part={number}") for number in range(100)]
    assert slices(*many).answer == "pass"


def test_harm_shown_in_one_slice_fails_and_names_the_worst():
    found = slices(seen(slice="a"), seen(value=0.02, slice="b"), seen(value=0.03, slice="c"))
    assert (found.answer, found.measurement.slice) == ("fail", "c")


def test_slices_share_the_error_rate_of_a_fail():
    suspect = seen(value=0.0072, slice="suspect")
    assert slices(suspect).answer == "fail"
    assert slices(suspect, *[seen(slice=f"part={number}") for number in range(20)]).answer == "undecided"


def test_small_slices_do_not_decide_but_are_counted():
    small = [seen(value=0.5, rows=999, slice="few rows"), seen(value=0.5, groups=19, slice="few groups")]
    found = slices(seen(slice="a"), *small)
    assert found.answer == "pass"
    assert found.message.endswith("(not judged: 2 have less than 1,000 rows or 20 groups)")


def test_the_policy_sets_the_minimum_size_of_a_slice():
    wider = judge(evidence(seen(value=0.5, rows=400, slice="a")), policy(WORST, slice_rows=300))
    assert wider.answer == "fail"


def test_no_slice_or_only_small_slices_are_undecided():
    none_big = slices(seen(rows=10, slice="a"))
    assert (none_big.answer, none_big.measurement) == ("undecided", None)
    assert none_big.message == "none of 1 slices can be judged: 1 have less than 1,000 rows or 20 groups"
    assert slices(seen()).message == "brier.drop by slice was not measured, so it cannot be judged"


def test_the_undecided_slice_that_needs_most_groups_is_named():
    found = slices(seen(value=0.003, se=0.002, slice="near"), seen(value=0.004, se=0.002, slice="nearer"))
    assert (found.measurement.slice, found.groups_needed) == ("nearer", None)


def test_slices_at_least_name_the_lowest():
    rule = Rule(measure="worst_slice.recall", at_least=0.5)
    held = evidence(seen("recall", 0.9, slice="a"), seen("recall", 0.8, slice="b"))
    found = judge(held, policy(rule)).rule_results[0]
    assert (found.answer, found.measurement.slice) == ("pass", "b")
    worse = evidence(seen("recall", 0.4, slice="a"), seen("recall", 0.3, slice="b"))
    assert judge(worse, policy(rule)).rule_results[0].measurement.slice == "b"


def test_a_slice_without_an_interval_keeps_the_rule_undecided():
    assert slices(seen(slice="a"), replace(seen(slice="b"), se=None, dof=None)).answer == "undecided"


# --- properties ----------------------------------------------------------------------------------------------------

values, errors = st.floats(-1, 1), st.floats(1e-9, 1)


@given(values, errors, st.floats(1, 100), values)
def test_a_wider_interval_never_turns_undecided_into_an_answer_or_one_answer_into_the_other(value, se, wider, limit):
    before = rule_result(seen(value=value, se=se), at_most(limit=limit)).answer
    after = rule_result(seen(value=value, se=se * wider), at_most(limit=limit)).answer
    assert after in (before, "undecided")


@given(values, values, errors, values)
def test_more_harm_is_never_judged_better(value, other, se, limit):
    assume(value <= other)
    answers = [rule_result(seen(value=loss, se=se), at_most(limit=limit)).answer for loss in (value, other)]
    assert RANK[answers[0]] <= RANK[answers[1]]


@given(values, errors, values)
def test_a_mirrored_measure_gives_the_same_answer(value, se, limit):
    mirrored = rule_result(seen(value=-value, se=se), Rule(measure="brier.drop", at_least=-limit))
    straight = rule_result(seen(value=value, se=se), at_most(limit=limit))
    assert (mirrored.answer, mirrored.groups_needed) == (straight.answer, straight.groups_needed)


@given(st.integers(1, 200), values, errors, values)
def test_groups_needed_are_more_than_those_at_hand_and_at_most_ten_times(groups, value, se, limit):
    found = rule_result(seen(value=value, se=se, groups=groups), at_most(limit=limit))
    if found.groups_needed is not None:
        assert groups < found.groups_needed <= max(10 * groups, 20)


@given(st.lists(st.tuples(values, errors), min_size=1, max_size=8), values)
def test_an_additional_slice_never_turns_a_fail_into_a_pass(found, limit):
    measured = [seen(value=value, se=se, slice=str(number)) for number, (value, se) in enumerate(found)]
    rule = policy(at_most("worst_slice.brier.drop", limit))
    if judge(evidence(*measured), rule).answer == "pass":
        assert judge(evidence(*measured[:-1] or measured), rule).answer == "pass"


def test_rounding_errors_are_shown_as_zero():
    verdict = judge(evidence(seen(value=-5.3e-17, se=1e-17)), policy(at_most()))
    assert "is 0 (95 % interval 0 to 0;" in verdict.rule_results[0].message


@pytest.mark.parametrize(
    ("result", "rows"),
    [
        ({"groups_needed": 30}, 1000),
        ({"groups_needed": 20}, 100),
        ({"groups_needed": None}, None),
        ({"groups_needed": 30, "answer": "pass"}, None),
        ({"groups_needed": 30, "measurement": None}, None),
        ({"groups_needed": None, "validity": "anytime"}, 6000),
        ({"groups_needed": None, "validity": "anytime", "value": 0.012}, None),
        ({"groups_needed": None, "validity": "anytime", "value": 0.01}, None),
        ({"groups_needed": None, "validity": "anytime", "value": 0.02, "low": 0.005}, 2500),
    ],
)
def test_the_rows_that_would_decide_are_those_of_the_missing_groups(result, rows):
    fields = {"value": 0.005, "low": 0.0, "high": 0.015, "validity": "fixed", "groups_needed": None, **result}
    found = Measurement(
        name="ece",
        value=fields["value"],
        low=fields["low"],
        high=fields["high"],
        method="",
        n_rows=2000,
        n_groups=20,
        validity=fields["validity"],
    )
    judged = RuleResult(
        rule=Rule(measure="ece", at_most=0.01),
        answer=result.get("answer", "undecided"),
        message="",
        measurement=result.get("measurement", found),
        groups_needed=fields["groups_needed"],
    )
    assert rows_needed(judged) == rows


def test_candidates_of_a_search_are_judged_by_relative_rules_and_those_on_privacy():
    drop, floor = Rule(measure="brier.drop", at_most=0.01), Rule(measure="ece", at_most=0.05)
    privacy = tuple(
        Rule(measure=name, at_most=0.05) for name in ("privacy.membership.auc", "worst_slice.extraction.agreement")
    )
    assert [rule.private for rule in (drop, floor, *privacy)] == [False, False, True, True]
    assert candidate_policy(PolicySection(release=(drop, floor, *privacy))).release == (drop, *privacy)
    without_relative = PolicySection(release=(floor, *privacy))
    assert candidate_policy(without_relative).release == without_relative.release


def test_a_measure_of_privacy_that_is_missing_names_why_its_audit_did_not_run():
    why = [
        Finding(code="E001", severity="undecided", message=f"audit '{name}' did not run", plugin=name)
        for name in ("membership", "attributes", "calibration")
    ]
    for measure, audit in (("privacy.membership.auc", "membership"), ("privacy.attribute.advantage", "attributes")):
        rule = Rule(measure=measure, at_most=0.05)
        (result,) = judge(evidence(findings=why), policy(rule)).rule_results
        assert result.message == f"{measure} was not measured, so it cannot be judged (audit '{audit}' did not run)"
    (result,) = judge(evidence(findings=why[2:]), policy(rule)).rule_results
    assert result.message.endswith("cannot be judged (an audit measures it: headway evaluate)")


RATE = "privacy.membership.tpr_1pct"
ATTACKS = (RATE, "privacy.inversion.error", "extraction.agreement", "attack.success", "evasion.success")


def effort(done, *, hint="run again"):
    return AttackEffort(attack="lira", done=done, registered=24, unit="shadow models", hint=hint)


def judged(measurement, limit=0.05):
    verdict = judge(evidence(measurement), policy(at_most(measurement.name, limit)))
    assert verdict.answer == verdict.rule_results[0].answer
    return verdict.rule_results[0]


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_that_was_not_run_in_full_never_passes_a_model(name):
    weak = replace(seen(name, 0.02, 0.001), effort=effort(6))
    result = judged(weak)
    assert (result.answer, result.groups_needed, rows_needed(result)) == ("undecided", None, None)
    assert "attack 'lira' with 6 of 24 shadow models (run again)" in result.message
    assert judged(replace(weak, effort=effort(6, hint=""))).message.endswith("6 of 24 shadow models")


def test_an_attack_that_was_not_run_in_full_fails_a_model_that_leaks():
    assert judged(replace(seen(RATE, 0.4, 0.01), effort=effort(2))).answer == "fail"
    assert judged(seen(RATE, 0.4, 0.01)).answer == "fail"


def test_more_groups_do_not_decide_a_rule_on_an_attack_that_was_not_run_in_full():
    result = judged(replace(seen(RATE, 0.05, 0.01), effort=effort(6)))
    assert (result.answer, result.groups_needed) == ("undecided", None)
    assert judged(replace(seen(RATE, 0.04, 0.01), effort=effort(24))).groups_needed


def test_a_pass_of_an_attack_names_it_and_how_much_was_run():
    result = judged(replace(seen(RATE, 0.02, 0.001), effort=effort(30)))
    assert result.answer == "pass"
    assert result.message.endswith("within the limit of 0.05, by the attack 'lira' in full, with 30 shadow models")


@pytest.mark.parametrize("name", ATTACKS)
def test_evidence_of_an_earlier_headway_does_not_say_how_much_was_run_and_passes_no_attack(name):
    old = read(Evidence, write(evidence(seen(name, 0.02, 0.001))))
    (result,) = judge(old, policy(at_most(name, 0.05))).rule_results
    assert result.answer == "undecided"
    assert "this evidence does not say how much was run (headway evaluate measures it again)" in result.message


def test_a_rule_on_a_corruption_or_a_certificate_is_not_one_on_an_attack():
    for name in ("robustness.noise.drop", "evasion.certified", "brier.drop"):
        assert judged(seen(name, 0.001, 0.001)).answer == "pass"


def test_one_weak_slice_of_an_attack_leaves_a_rule_on_slices_undecided():
    full, weak = (
        replace(seen(RATE, 0.02, 0.001, slice=name), effort=effort(done)) for name, done in (("a", 24), ("b", 6))
    )
    rule = at_most(f"worst_slice.{RATE}", 0.05)
    assert judge(evidence(full), policy(rule)).answer == "pass"
    assert judge(evidence(full, weak), policy(rule)).answer == "undecided"


@given(st.integers(0, 23), st.floats(0, 0.2), st.floats(1e-4, 0.1))
def test_no_value_of_a_weak_attack_passes(done, value, se):
    assert judged(replace(seen(RATE, value, se), effort=effort(done))).answer != "pass"


def test_a_count_that_may_be_larger_by_what_was_not_measured_does_not_pass():
    none = known("ablation.harmful", 0.0)
    assert judged(none, 0).answer == "pass"
    result = judged(replace(none, high=3.0), 0)
    assert (result.answer, result.groups_needed) == ("undecided", None)
    assert result.message.endswith("it may be 3, outside the limit of 0; the rest was not decided in this run")
    assert judged(replace(none, value=1.0, low=1.0, high=3.0), 0).answer == "fail"


@pytest.mark.parametrize(("severity", "answer"), [("undecided", "undecided"), ("warn", "pass")])
def test_no_absolute_rule_is_met_on_rows_that_are_shown_to_be_training_rows(severity, answer):
    finding = Finding(code="E007", severity=severity, message="these are training rows")
    found = evidence(seen(), seen("ece", 0.01), findings=(finding,))
    absolute, relative = Rule(measure="ece", at_most=0.1), Rule(measure="brier.drop", at_most=0.1)
    verdict = judge(found, PolicySection(release=(relative, absolute)))
    assert [result.answer for result in verdict.rule_results] == ["pass", answer] and verdict.answer == answer
    assert feasible(verdict), "a faster form of the model may still be searched"
    assert ("but these are training rows" in verdict.rule_results[1].message) == (answer == "undecided")

    alone = judge_release(found, PolicySection(release=(relative,), floor="none"), task="binary")
    assert (alone.answer, bool(alone.why)) == (answer, answer == "undecided")
    failed = judge(found, PolicySection(release=(Rule(measure="ece", at_most=0.0001),)))
    assert failed.answer == "fail", "a weak measurement may refuse"
