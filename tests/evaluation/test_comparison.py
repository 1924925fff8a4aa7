"""A variant compared with itself on altered rows: a NaN answer is a wrong one, and a subsample keeps its groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.contract.subjects import echo_comparison

from headway.core.errors import NotApplicable
from headway.evaluation.comparison import errors_of_answers, subsample


@pytest.mark.parametrize(("task", "worst"), [("binary", 1.0), ("multiclass", 2.0)])
def test_a_nan_answer_counts_as_completely_wrong(task, worst):
    subject = echo_comparison(groups=25, task=task)
    errors = errors_of_answers(subject, np.full_like(subject.scores, np.nan))
    assert set(errors.variant.tolist()) == {worst}


def test_a_regression_has_no_completely_wrong_answer():
    subject = echo_comparison(groups=25, task="regression")
    with pytest.raises(NotApplicable, match="1000 answers to altered rows"):
        errors_of_answers(subject, np.full_like(subject.scores, np.nan))


def test_fewer_rows_are_of_all_groups_and_belong_together():
    subject = echo_comparison(groups=25)
    some = subsample(replace(subject, weights=subject.rows[:, 0]), 300)
    assert len(some.rows) == 250 and set(some.groups) == set(subject.groups)
    np.testing.assert_array_equal(some.weights, some.rows[:, 0])
    np.testing.assert_array_equal(some.sensitive_features["side"].codes, subject.sensitive_features["side"].codes[::4])


def test_rows_that_are_few_enough_are_left():
    subject = echo_comparison(groups=25)
    assert subsample(subject, 1000) is subject
