"""A drill says what could not be tried, what a policy lacks, and what it asks too little of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.evaluation.conftest import days, subject_from

from headway.core.contracts import SliceColumn
from headway.core.sections import PolicySection
from headway.core.verdict import Rule
from headway.evaluation.context import Comparison
from headway.registry.policy_tests import run_policy_tests

METRICS = ("parity", "quality", "calibration", "slices", "missing")


@pytest.fixture
def subject() -> Comparison:
    """Echo beside itself over 40 days of two carriers; every fifth row lacks its value, which reads as 0.2."""
    rng = np.random.default_rng(0)
    labels, scores, _, day = days(rng, count=40)
    carrier = SliceColumn(codes=(np.arange(len(day)) % 3 == 0).astype(np.int64), values=("AA", "UA"))
    return subject_from(labels, scores, scores, day, {"carrier": carrier})


def without_values(subject: Comparison) -> Comparison:
    rows, scores = subject.rows.copy(), subject.scores.copy()
    rows[::5], scores[::5] = np.nan, 0.2
    return replace(subject, rows=rows, scores=scores, reference_scores=scores)


def drilled(subject: Comparison, **limits: float):
    rules = tuple(Rule(measure=name.replace("__", "."), at_most=most) for name, most in limits.items())
    policy = PolicySection(release=rules, slice_rows=200)
    return run_policy_tests(subject, policy, metrics=METRICS, dataset="sha256:0", period="validation")


def test_each_is_refused_by_the_rule_on_it_and_the_copy_by_none(subject: Comparison) -> None:
    limits = {"probability_shift": 0.02, "worst_slice__brier__drop": 0.01, "missing__decision_churn": 0.05}
    sure, slice, missing, copy = drilled(without_values(subject), **limits)
    assert [each.rule_result.rule.measure for each in (sure, slice, missing)] == [
        each.replace("__", ".") for each in limits
    ]
    assert slice.what.endswith("carrier=UA") and slice.rule_result.measurement.slice == "carrier=UA"
    assert (copy.verdict.answer, copy.message, copy.rule_result) == ("pass", "every rule is met", None)
    assert all(each.passed for each in (sure, slice, missing, copy))


def test_what_cannot_be_tried_is_told_and_is_no_fault_of_the_policy(subject: Comparison) -> None:
    missing = drilled(subject, probability_shift=0.02)[2]
    assert (missing.verdict, missing.passed, missing.message) == (None, True, "no value is missing")


def test_a_policy_that_asks_for_nothing_of_the_kind_is_given_a_rule(subject: Comparison) -> None:
    _, slice, _, _ = drilled(subject, probability_shift=0.02)
    assert not slice.passed and slice.rule_result is None and slice.message == "no rule of the policy asks for this"
    assert slice.hint == '[[policy.release]]\nmeasure = "worst_slice.decision_churn"\nat_most = 0.1'


def test_a_limit_that_is_too_wide_is_named_as_what_let_it_through(subject: Comparison) -> None:
    sure = drilled(subject, probability_shift=0.9)[0]
    assert not sure.passed and sure.rule_result.rule.measure == "probability_shift" and not sure.hint


def test_a_winner_that_is_undecided_leaves_its_copy_undecided_and_that_holds(subject: Comparison) -> None:
    copy = drilled(subject, no__such__drop=0.1)[3]
    assert (copy.expected, copy.verdict.answer, copy.passed) == ("undecided", "undecided", True)
    assert copy.rule_result.rule.measure == "no.such.drop"
