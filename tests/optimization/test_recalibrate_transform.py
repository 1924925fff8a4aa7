"""Slope and shift recalibrate probabilities, and are offered only if rows that they were not fitted on improve."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tests.engines.boosters import text
from tests.optimization.contexts import baseline_of, opened
from tests.optimization.training_rows import context_with, labeled_rows, trained_on

from headway.core.errors import NotApplicable
from headway.optimization.transforms.recalibrate import fit_slope_and_shift, plugin

LEARNED = labeled_rows(seed=1)


@pytest.mark.slow
@pytest.mark.kernels
def test_a_rise_of_all_probabilities_is_met_by_a_shift_that_later_rows_confirm(tmp_path):
    context = context_with(tmp_path, labeled_rows(seed=3, shift=1.5))
    model = trained_on(context, LEARNED)
    [found] = plugin(model, context)
    before, after = opened(model, context).predict(context.sample), opened(found, context).predict(context.sample)
    truth = context.validation.labels.mean()
    assert abs(after.mean() - truth) < 0.02 < abs(before.mean() - truth)
    assert found.engine == "trees" and found.steps[-1].settings["shift"] > 0.5


@pytest.mark.slow
@pytest.mark.kernels
def test_ranks_stay_as_they_were(tmp_path):
    context = context_with(tmp_path, labeled_rows(seed=3, shift=1.5))
    model = trained_on(context, LEARNED)
    before, after = (
        opened(candidate, context).predict(context.sample)[:, 0] for candidate in (model, plugin(model, context)[0])
    )
    assert np.all(np.diff(after[np.argsort(before)]) >= -1e-12)


@pytest.mark.slow
@pytest.mark.kernels
def test_a_shift_absent_from_the_later_half_is_not_offered_with_the_scores(tmp_path):
    early, late = labeled_rows(2_000, seed=4, shift=1.5), labeled_rows(2_000, seed=5, shift=-1.5)
    both = dataclasses.replace(
        early,
        rows=np.concatenate([early.rows, late.rows]),
        labels=np.concatenate([early.labels, late.labels]),
        groups=np.concatenate([early.groups, late.groups + 40]),
    )
    context = context_with(tmp_path, both)
    with pytest.raises(NotApplicable, match=r"does not lower the Brier score of the later: 0\.\d+ to 0\.\d+"):
        plugin(trained_on(context, LEARNED), context)


def test_slope_and_shift_equal_those_of_a_logistic_regression():
    draw = np.random.default_rng(0)
    margin = draw.normal(size=50_000)
    labels = (draw.random(50_000) < 1 / (1 + np.exp(-(0.5 * margin - 1)))).astype(float)
    assert fit_slope_and_shift(margin, labels, np.ones(50_000)) == pytest.approx((0.5, -1.0), abs=0.05)


def test_anything_but_a_binary_tree_model_with_enough_rows_does_not_apply(tmp_path):
    context = context_with(tmp_path, labeled_rows(200))
    with pytest.raises(NotApplicable, match="fewer than 1,000"):
        plugin(trained_on(context, LEARNED), context)
    with pytest.raises(NotApplicable, match="binary"):
        plugin(baseline_of(text("regression"), context, task="regression"), context)
