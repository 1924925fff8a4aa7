"""Intervals of a difference between two sets of groups; test_coverage.py tests their coverage."""

from __future__ import annotations

import numpy as np
import pytest

from headway.evaluation.statistics.intervals import Sample, student_quantile
from headway.evaluation.statistics.tables import ScoreTable
from headway.evaluation.statistics.two_sets import PERMUTATION, auc_statistic, mean_statistic, permutation_interval

SAMPLE = Sample(n_rows=300, n_groups=30)


def test_two_different_sets_differ_significantly():
    rows = np.full(60, 50.0)
    means = np.random.default_rng(3).normal(0, 0.05, 60) + np.repeat([0.5, 0.3], 30)
    found = permutation_interval(
        "rate", mean_statistic(means * rows, rows), np.arange(60) < 30, Sample(n_rows=3000, n_groups=60)
    )
    assert found.value == pytest.approx(means[:30].mean() - means[30:].mean())
    assert 0.1 < found.low < found.high < 0.3
    assert found.method == PERMUTATION


def test_equal_sets_differ_by_nothing():
    rows = np.full(40, 5.0)
    found = permutation_interval("rate", mean_statistic(rows * 0.5, rows), np.arange(40) < 20, SAMPLE)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_few_storm_days_make_the_interval_between_sets_wide():
    """The scaled error times the t quantile is the interval, however far the critical value is from 1.96."""
    rng = np.random.default_rng(5)
    sums = rng.normal(0.2, 0.01, 40) * 50
    sums[[3, 30]] = 45
    found = permutation_interval("rate", mean_statistic(sums, np.full(40, 50.0)), np.arange(40) % 2 == 0, SAMPLE)
    assert found.se * student_quantile(0.975, found.dof) == pytest.approx(found.value - found.low)
    assert found.low < 0 < found.high


def test_an_area_of_one_group_with_all_positives_leaves_the_difference_open():
    positives = np.zeros((24, 8))
    positives[0, 4] = 9
    table = ScoreTable(positives, np.ones((24, 8)))
    found = permutation_interval(
        "roc_auc", auc_statistic(table), np.arange(24) < 12, Sample(n_rows=200, n_groups=24, bounds=(-1, 1))
    )
    assert found.se is None
