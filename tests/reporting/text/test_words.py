"""Titles, symbols and explanations of measures; an unknown measure keeps its name."""

from __future__ import annotations

import pytest
from tests.reporting.stories import RULES, estimate

from headway.core.verdict import Rule, RuleResult
from headway.registry.default_policy import DEFAULT_LIMITS
from headway.reporting.text import words


@pytest.mark.parametrize(
    ("measure", "title", "symbol"),
    [
        ("roc_auc", "Ranking (AUC)", "AUC"),
        ("brier.drop", "Loss in Brier", "Brier"),
        ("worst_slice.brier.drop", "Worst slice: loss in Brier", "Brier"),
        ("latency.one_row", "Latency of one row", "Latency of one row"),
        ("pinball", "pinball", "pinball"),
    ],
)
def test_a_measure_has_a_title_and_a_symbol(measure: str, title: str, symbol: str) -> None:
    assert words.measure_title(measure) == title
    assert words.measure_symbol(measure) == symbol


@pytest.mark.parametrize("task", DEFAULT_LIMITS)
def test_the_default_limits_of_every_task_are_on_known_measures(task: str) -> None:
    assert [name for name in DEFAULT_LIMITS[task] if not words.is_known_measure(name)] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.measure)
def test_every_rule_of_the_demo_has_an_explanation(rule: Rule) -> None:
    assert words.measure_meaning(rule.measure).endswith(".")
    assert "rule on" not in words.describe_violation(rule.measure)


def test_an_unknown_measure_has_no_meaning_and_a_generic_violation() -> None:
    assert words.measure_meaning("pinball") == ""
    assert words.describe_violation("pinball") == "It breaks the rule on pinball"


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (Rule(measure="ece", at_most=0.05), "at most 0.05"),
        (Rule(measure="decision_churn", at_most=0.05), "at most 5 %"),
        (Rule(measure="roc_auc", at_least=0.7), "at least 0.7"),
    ],
)
def test_a_limit_is_written_in_the_unit_of_its_measure(rule: Rule, text: str) -> None:
    assert words.rule_limit(rule) == text


def test_a_rule_result_has_slice_number_and_limit() -> None:
    rule = Rule(measure="worst_slice.brier.drop", at_most=0.005)
    rule_result = RuleResult(
        rule=rule, answer="fail", message="", measurement=estimate("brier.drop", 0.02, 0.004, slice="carrier=F9")
    )
    assert (
        words.describe_rule_result(rule_result)
        == "loss in Brier in carrier=F9 0.0200 [0.0160, 0.0240], limit: at most 0.005"
    )


def test_a_rule_result_without_a_measurement_has_its_message() -> None:
    rule_result = RuleResult(rule=RULES[3], answer="undecided", message="ece was not measured")
    assert words.describe_rule_result(rule_result) == "calibration error (ECE): ece was not measured"


@pytest.mark.parametrize(
    "measure",
    [
        *("roc_auc.drop", "worst_slice.decision_churn", "missing.brier.drop", "bias.tpr_gap", "change.p99", "ece"),
        *("components.latency.p99.speedup", "robustness.noise.roc_auc.decrease", "worst_slice.discovered.brier.drop"),
    ],
)
def test_measures_that_headway_computes_are_known(measure):
    assert words.is_known_measure(measure)


@pytest.mark.parametrize(
    ("wrong", "near"), [("roc_acu.drop", "roc_auc.drop"), ("worst_slice.bier", "worst_slice.brier"), ("qqq", "")]
)
def test_an_unknown_measure_has_a_nearest_name(wrong, near):
    assert not words.is_known_measure(wrong)
    assert words.nearest_measure(wrong) == near
