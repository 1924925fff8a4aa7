from __future__ import annotations

import pytest

from headway.core.verdict import Rule


@pytest.mark.parametrize("measure", ["roc_auc.drop", "worst_slice.brier.drop", "decision_churn", "max_change"])
def test_a_rule_on_a_comparison_is_relative(measure: str) -> None:
    assert Rule(measure=measure, at_most=0.005).relative


@pytest.mark.parametrize("measure", ["ece", "brier", "latency.one_row", "loss"])
def test_a_rule_on_the_variant_alone_is_absolute(measure: str) -> None:
    assert not Rule(measure=measure, at_most=0.005).relative


def test_a_rule_reads_as_a_sentence() -> None:
    assert str(Rule(measure="ece", at_most=0.05)) == "ece at most 0.05"
    assert str(Rule(measure="roc_auc", at_least=0.7)) == "roc_auc at least 0.7"
