"""A policy test reports faults that could not be made, missing rules, and limits that are too wide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.evaluation.conftest import days, subject_from

from headway.core.contracts import SliceColumn
from headway.core.verdict import Rule
from headway.data.settings.policy import PolicySection
from headway.evaluation.context import Comparison
from headway.registry.policy_tests import run_policy_tests

METRICS = ("parity", "quality", "calibration", "slices", "missing")


@pytest.fixture
def subject() -> Comparison:
    """Compare Echo with itself over 40 days of two carriers; every fifth row lacks its value, which is read as 0.2."""
    rng = np.random.default_rng(0)
    labels, scores, _, day = days(rng, count=40)
    carrier = SliceColumn(codes=(np.arange(len(day)) % 3 == 0).astype(np.int64), values=("AA", "UA"))
    return replace(subject_from(labels, scores, scores, day, {"carrier": carrier}), keeps_answers=True)


def without_values(subject: Comparison) -> Comparison:
    rows, scores = subject.rows.copy(), subject.scores.copy()
    rows[::5], scores[::5] = np.nan, 0.2
    return replace(subject, rows=rows, scores=scores, reference_scores=scores)


def run_tests(subject: Comparison, **limits: float):
    rules = tuple(Rule(measure=name.replace("__", "."), at_most=limit) for name, limit in limits.items())
    policy = PolicySection(release=rules, slice_rows=200)
    return run_policy_tests(subject, policy, metrics=METRICS, dataset="sha256:0", period="validation")


def test_each_fault_fails_its_own_rule_and_the_exact_copy_none(subject: Comparison) -> None:
    limits = {"probability_shift": 0.02, "worst_slice__brier__drop": 0.01, "missing__decision_churn": 0.05}
    sure, slice, missing, copy = run_tests(without_values(subject), **limits)
    assert [result.rule_result.rule.measure for result in (sure, slice, missing)] == [
        name.replace("__", ".") for name in limits
    ]
    assert slice.what.endswith("carrier=UA") and slice.rule_result.measurement.slice == "carrier=UA"
    assert (copy.verdict.answer, copy.message, copy.rule_result) == ("pass", "every rule is met", None)
    assert all(result.passed for result in (sure, slice, missing, copy))


def test_a_fault_that_cannot_be_made_is_reported_and_does_not_count_against_the_policy(subject: Comparison) -> None:
    missing = run_tests(subject, probability_shift=0.02)[2]
    assert (missing.verdict, missing.passed, missing.message) == (None, True, "no value is missing")


def test_a_policy_without_a_matching_rule_gets_a_rule_as_hint(subject: Comparison) -> None:
    _, slice, _, _ = run_tests(subject, probability_shift=0.02)
    assert not slice.passed and slice.rule_result is None and slice.message == "no rule of the policy asks for this"
    assert slice.hint == '[[policy.release]]\nmeasure = "worst_slice.decision_churn"\nat_most = 0.1'


def test_a_limit_that_is_too_wide_is_named_as_the_reason(subject: Comparison) -> None:
    sure = run_tests(subject, probability_shift=0.9)[0]
    assert not sure.passed and sure.rule_result.rule.measure == "probability_shift" and not sure.hint


def test_an_exact_copy_of_an_undecided_winner_is_undecided_as_expected(subject: Comparison) -> None:
    copy = run_tests(subject, no__such__drop=0.1)[3]
    assert (copy.expected, copy.verdict.answer, copy.passed) == ("undecided", "undecided", True)
    assert copy.rule_result.rule.measure == "no.such.drop"
