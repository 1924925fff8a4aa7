"""A variant compared with itself on altered rows: a NaN answer is a wrong one, and a subsample keeps its groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as changed
from tests.contract.subjects import echo_comparison
from tests.optimization.training_rows import context_with, labeled_rows, trained_on

from headway.core.errors import NotApplicable
from headway.evaluation import comparison
from headway.evaluation.comparison import errors_of_answers, fastest_baseline, open_variant, subsample


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


@pytest.mark.parametrize("own", [0, 1, 2])
def test_cpu_time_is_compared_with_one_thread_whatever_the_model_is_set_to(tmp_path, monkeypatch, own):
    """A trial on a busy machine could choose several threads, which spin: a ratio of thousands that means nothing."""
    context = context_with(tmp_path, labeled_rows(seed=2), labeled_rows(seed=1))
    model = changed(trained_on(context, labeled_rows(seed=1), trees=3), settings={"threads": own})
    monkeypatch.setattr(comparison, "fastest_engine", lambda engines, rows, **_: max(engines))

    found = fastest_baseline(model, open_variant(model, context.blobs), labeled_rows(seed=2).rows, context.blobs)

    assert [engine.call.threads for _, engine in (found.one_row, found.batch)] == [1, 1]
