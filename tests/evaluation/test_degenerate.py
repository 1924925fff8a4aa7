"""Degenerate models and rows: every metric measures them or says why not, and none of them crashes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tests.evaluation.test_floor import TASKS, comparison, constant, noise, true_model

from headway.core import plugins
from headway.core.errors import NotApplicable
from headway.evaluation.comparison import select_rows
from headway.evaluation.context import Comparison, load_metric
from headway.evaluation.measure import CONSTANT_ANSWERS, NO_BETTER, measure

METRICS = plugins.names("metric")


def one_label(subject: Comparison) -> Comparison:
    return replace(subject, labels=np.ones(len(subject.labels)))


def one_row(subject: Comparison) -> Comparison:
    return select_rows(subject, np.array([3]))


def no_row(subject: Comparison) -> Comparison:
    return select_rows(subject, np.array([], dtype=np.int64))


def two_rows(subject: Comparison) -> Comparison:
    return select_rows(subject, np.array([3, 900]))


def one_group(subject: Comparison) -> Comparison:
    return replace(subject, groups=np.zeros(len(subject.labels), dtype=np.int64))


def empty_column(subject: Comparison) -> Comparison:
    rows = subject.rows.copy()
    rows[:, 2] = np.nan
    return replace(subject, rows=rows)


def no_column_has_a_value(subject: Comparison) -> Comparison:
    return replace(subject, rows=np.full_like(subject.rows, np.nan))


def constant_answers(subject: Comparison) -> Comparison:
    answers = constant(subject.variant.task)(subject.rows)
    return replace(subject, scores=answers)


def constant_baseline(subject: Comparison) -> Comparison:
    answers = constant(subject.variant.task)(subject.rows)
    return replace(subject, scores=answers, reference_scores=answers)


def a_missing_answer(subject: Comparison) -> Comparison:
    scores = subject.scores.copy()
    scores[5] = np.nan
    return replace(subject, scores=scores)


def labels_of_no_class(subject: Comparison) -> Comparison:
    return replace(subject, labels=subject.labels + 40)


CASES: list[Callable[[Comparison], Comparison]] = [
    *(one_label, one_row, two_rows, no_row, one_group, empty_column, no_column_has_a_value),
    *(constant_answers, constant_baseline, a_missing_answer, labels_of_no_class),
]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("fitted", [True, False], ids=["floor on other rows", "floor on halves"])
def test_every_metric_measures_a_degenerate_case_or_says_why_not(case, task, fitted):
    subject = case(comparison(task, true_model(task), fitted=fitted, groups=30))
    for name in METRICS:
        if name in ("latency", "cost"):
            continue
        try:
            found = load_metric(name)(subject)
        except NotApplicable as reason:
            assert reason.what, name
            continue
        measured = [result for result in found if not isinstance(result, NotApplicable)]
        for measurement in measured:
            assert measurement.low <= measurement.value <= measurement.high, (name, measurement)
            assert math.isfinite(measurement.value), (name, measurement)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_one_answer_for_all_rows_is_a_finding(task):
    evidence = measure(constant_answers(comparison(task, true_model(task))), ["quality"], dataset_digest="", period="x")
    [finding] = [finding for finding in evidence.findings if finding.code == CONSTANT_ANSWERS]
    assert finding.severity == "warn" and "1,200 rows" in finding.message
    sound = measure(comparison(task, true_model(task)), ["quality", "floor"], dataset_digest="", period="x")
    assert not [finding for finding in sound.findings if finding.code in (CONSTANT_ANSWERS, NO_BETTER)]


@pytest.mark.parametrize("task", TASKS)
def test_a_model_that_is_not_shown_to_be_better_than_chance_is_a_finding(task):
    evidence = measure(comparison(task, noise(task)), ["floor"], dataset_digest="", period="x")
    [finding] = [finding for finding in evidence.findings if finding.code == NO_BETTER]
    assert finding.severity == "warn" and "constant prediction" in finding.message


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression", "ranking"])
def test_perfect_answers_on_many_rows_are_a_finding(task):
    subject = comparison(task, true_model(task))
    labels = subject.labels[:, None]
    perfect = np.eye(3)[subject.labels.astype(int)] if task == "multiclass" else labels
    known = replace(subject, scores=perfect, rows=subject.rows, floor=None)
    evidence = measure(known, ["quality"], dataset_digest="", period="x")
    [finding] = [finding for finding in evidence.findings if finding.code == "E007"]
    assert "trained on" in finding.message and finding.severity == "warn"
    few = measure(select_rows(known, np.arange(40)), ["quality"], dataset_digest="", period="x")
    assert not [finding for finding in few.findings if finding.code == "E007"]
