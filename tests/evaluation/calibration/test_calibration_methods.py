"""Calibration methods: worked by hand, against scikit-learn and the definition, and invariants of every method."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from headway.evaluation.calibration.apply import calibration_function
from headway.evaluation.calibration.methods import (
    CALIBRATION_METHODS,
    choose_calibrator,
    fit_beta,
    fit_isotonic,
    fit_platt,
    fit_temperature,
    fit_venn_abers,
    venn_abers_pairs,
)

ROWS = st.lists(
    st.tuples(st.integers(0, 20).map(lambda n: n / 20), st.sampled_from([0.0, 1.0])), min_size=1, max_size=40
)
GRID = np.linspace(0, 1, 81)


def world(seed=0, rows=4_000, *, slope=1.0, shift=0.0):
    """Return scores whose log-odds times `slope`, plus `shift`, are the truth."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(-1, 1.5, rows)
    return 1 / (1 + np.exp(-odds)), (rng.random(rows) < 1 / (1 + np.exp(-(slope * odds + shift)))).astype(float)


@pytest.mark.slow
@pytest.mark.parametrize("kind", CALIBRATION_METHODS)
@given(rows=ROWS)
def test_no_calibrator_reverses_the_order_or_leaves_the_unit_interval(kind, rows):
    scores, labels = np.array(rows).T
    found = calibration_function(CALIBRATION_METHODS[kind](scores, labels, np.arange(len(rows))))(GRID)
    assert (np.diff(found) >= -1e-12).all() and found.min() >= 0 and found.max() <= 1


@pytest.mark.slow
@given(rows=ROWS)
def test_isotonic_is_that_of_scikit_learn(rows):
    scores, labels = np.array(rows).T
    theirs = IsotonicRegression(out_of_bounds="clip").fit(scores, labels).predict(GRID)
    assert calibration_function(fit_isotonic(scores, labels))(GRID) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.slow
@given(rows=ROWS, score=st.integers(-1, 41).map(lambda n: n / 40))
def test_venn_abers_is_isotonic_regression_with_the_row_itself_of_either_label(rows, score):
    scores, labels = np.array(rows).T
    knots, *pair = venn_abers_pairs(scores, labels)
    position = np.searchsorted(knots, score, "left") + np.searchsorted(knots, score, "right")
    expected = [
        IsotonicRegression().fit([*scores, score], [*labels, label]).predict([score])[0] for label in (0.0, 1.0)
    ]
    assert [item[position] for item in pair] == pytest.approx(expected, abs=1e-9)
    low, high = expected
    if 0 <= score <= 1:
        merged = calibration_function(fit_venn_abers(scores, labels))(np.array([score]))
        assert merged == pytest.approx(high / (1 - low + high), abs=1e-9)


def test_venn_abers_worked_by_hand():
    """One row at 0.5 with label 1: if a row above it were 0, both would be 1/2; if it were 1, both would be 1."""
    found = calibration_function(fit_venn_abers(np.array([0.5]), np.array([1.0])))(np.array([0.4, 0.5, 0.6, np.nan]))
    assert found == pytest.approx([1 / 2, 1 / (1 - 0.5 + 1), 1 / (1 - 0.5 + 1), np.nan], nan_ok=True)


def test_platt_and_beta_are_the_logistic_regressions_of_scikit_learn():
    scores, labels = world(slope=0.5, shift=-0.7)
    columns = np.column_stack([np.log(scores), -np.log(1 - scores)])
    ones = labels.sum()
    high, low = (ones + 1) / (ones + 2), 1 / (len(labels) - ones + 2)
    sure = np.where(labels == 1, high, low)
    for fit, design in ((fit_platt, columns.sum(1, keepdims=True)), (fit_beta, columns)):
        oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
            np.vstack([design, design]), np.repeat([1, 0], len(labels)), np.concatenate([sure, 1 - sure])
        )
        assert calibration_function(fit(scores, labels))(scores) == pytest.approx(
            oracle.predict_proba(design)[:, 1], abs=1e-5
        )


def test_temperature_finds_the_slope_and_leaves_a_half():
    found = fit_temperature(*world(slope=0.5, rows=40_000))
    assert found.up == found.down == pytest.approx(0.5, abs=0.03)
    assert calibration_function(found)(np.array([0.5])) == pytest.approx(0.5)


def test_a_slope_that_would_reverse_the_order_is_left_out():
    scores, labels = world(slope=-1.0)
    assert (fit_platt(scores, labels).up, fit_temperature(scores, labels).up) == (0.0, 0.0)
    assert calibration_function(fit_platt(scores, labels))(scores) == pytest.approx(labels.mean(), abs=0.01)


@pytest.mark.slow
def test_the_calibrator_that_helps_on_later_groups_is_chosen():
    scores, labels = world(slope=0.4, rows=40_000)
    found = choose_calibrator(scores, labels, np.arange(40_000) // 1000)
    after, before = (np.square(score - labels).mean() for score in (calibration_function(found)(scores), scores))
    assert found.kind in CALIBRATION_METHODS and after < before - 0.005


def test_calibrated_scores_and_single_groups_are_not_recalibrated():
    scores = np.repeat([0.25, 0.75], 4_000)
    labels = np.concatenate([np.tile([1.0, 0, 0, 0], 1_000), np.tile([0.0, 1, 1, 1], 1_000)])
    assert not choose_calibrator(scores, 1 - labels, np.zeros(8_000, np.int64))
    assert not choose_calibrator(scores, labels, np.arange(8_000) // 4 % 2)
