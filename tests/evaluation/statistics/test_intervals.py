"""Intervals: their formulas against known ones; test_coverage.py tests their coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from headway.evaluation.statistics.intervals import (
    JACKKNIFE,
    SHARE,
    Sample,
    autocorrelation_factor,
    exact_measurement,
    jackknife_interval,
    lag1_measurement,
    period_change,
    ratio_of_sums,
)
from headway.evaluation.statistics.tables import leave_one_out_mean

SAMPLE = Sample(n_rows=300, n_groups=30)


def alternating(values):
    """Return the same values, high and low alternately, so that groups are not correlated with their neighbours."""
    ordered = np.sort(values)
    return np.concatenate([[ordered[-1 - i // 2] if i % 2 else ordered[i // 2]] for i in range(len(values))])


def test_the_jackknife_of_a_mean_is_the_textbook_interval():
    values = alternating(np.random.default_rng(1).normal(0.4, 0.1, 30))
    without = leave_one_out_mean(values * 10, np.full(30, 10.0))
    found = jackknife_interval("score", float(values.mean()), without, SAMPLE)
    expected = stats.t.interval(0.95, 29, loc=values.mean(), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    assert (found.dof, found.method, found.n_groups) == (29, JACKKNIFE, 30)


def test_an_interval_is_clipped_to_the_range_of_the_measure():
    without = np.concatenate([np.full(15, 0.01), np.full(15, 0.03)])
    found = jackknife_interval("share", 0.02, without, Sample(n_rows=300, n_groups=30, bounds=SHARE))
    assert found.low == 0 and 0.02 < found.high < 1


def test_fewer_than_twenty_groups_give_a_value_and_no_interval():
    found = jackknife_interval("share", 0.2, np.full(19, 0.2), Sample(n_rows=190, n_groups=19, bounds=SHARE))
    assert (found.value, found.low, found.high, found.se, found.dof) == (0.2, 0.0, 1.0, None, None)


def test_one_group_that_holds_all_of_a_class_gives_no_interval():
    without = np.full(30, 0.5)
    without[3] = np.nan
    assert jackknife_interval("roc_auc", 0.5, without, SAMPLE).se is None


def test_a_fact_is_its_own_interval():
    found = exact_measurement("max_change", 0.1, n_rows=7, method="largest")
    assert (found.low, found.high, found.se, found.n_groups) == (0.1, 0.1, None, 0)


def test_the_ratio_of_sums_is_the_textbook_error_where_groups_are_equal():
    values = np.array([alternating(row) for row in np.random.default_rng(2).normal(size=(2, 25))])
    found = ratio_of_sums(values * 4, np.full((2, 25), 4.0))
    assert [measurement.value for measurement in found] == pytest.approx(values.mean(1).tolist())
    assert [measurement.se for measurement in found] == pytest.approx(stats.sem(values, axis=1).tolist())


def test_a_slice_counts_only_the_groups_it_has():
    rows = np.zeros((1, 25))
    rows[0, :21] = 4
    assert ratio_of_sums(rows * 0.5, rows)[0].dof == 20


def test_the_ratio_of_sums_of_one_group_has_no_error():
    assert not np.isfinite(ratio_of_sums(np.array([[2.0, 0.0]]), np.array([[4.0, 0.0]]))[0].se)


def test_autocorrelated_groups_widen_the_interval():
    noise = np.random.default_rng(4).normal(size=2001)
    leaning = noise[1:] + noise[:-1]
    assert autocorrelation_factor(leaning - leaning.mean()) == pytest.approx((1 + 0.5) / (1 - 0.5), rel=0.1)
    assert autocorrelation_factor(alternating(noise) - noise.mean()) == 1


def test_lag_one_measures_dependent_neighbours():
    slow = np.sin(np.arange(100) / 8)
    found = lag1_measurement("lag1", -slow, Sample(n_rows=1000, n_groups=100))
    assert found.low > 0.5
    assert lag1_measurement("lag1", np.tile([1.0, -1.0], 50), SAMPLE).value < -0.9


def test_lag_one_of_groups_without_influence_is_zero():
    assert lag1_measurement("lag1", np.full(30, 0.7), SAMPLE).value == 0


def test_lag_one_is_open_where_a_group_cannot_be_left_out():
    assert lag1_measurement("lag1", np.array([0.7, np.nan] * 15), SAMPLE).se is None


def test_a_change_between_periods_adds_the_variances_and_has_the_fewer_degrees_of_freedom():
    rng = np.random.default_rng(2)
    now, before = (
        jackknife_interval("brier", float(values.mean()), leave_one_out_mean(values, np.ones(count)), SAMPLE)
        for count, values in ((count, rng.random(count)) for count in (40, 25))
    )
    change = period_change(now, before)
    assert (change.name, change.dof, change.n_rows, change.n_groups) == ("brier.change", 24, 600, 60)
    assert change.value == pytest.approx(now.value - before.value)
    assert change.se == pytest.approx(np.hypot(now.se, before.se))
    assert change.high - change.value == pytest.approx(stats.t.ppf(0.975, 24) * change.se)


def test_a_change_from_a_period_of_too_few_groups_has_no_interval():
    few = jackknife_interval("brier", 0.2, np.full(5, 0.2), SAMPLE)
    change = period_change(jackknife_interval("brier", 0.3, np.full(30, 0.3), SAMPLE), few)
    assert (change.value, change.low, change.high, change.se) == (pytest.approx(0.1), -1.0, 1.0, None)
