"""Conformal sets: limits worked by hand; coverage overall, by slice and under drift."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.errors import DataError
from headway.evaluation.audits.conformal import (
    AdaptiveConformal,
    adaptive_limits,
    aps_scores,
    aps_sets,
    conformal_quantile,
    lac_scores,
    lac_sets,
    two_class_probabilities,
)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_a_limit_is_the_higher_quantile_of_numpy(values, coverage):
    values = np.array(values)
    level = np.ceil((len(values) + 1) * coverage - 1e-9) / len(values)
    # a hair below, as 25 * (14 / 25) is more than 14 in floats, and numpy then takes the 15th
    expected = np.inf if level > 1 else np.quantile(values, max(0.0, level - 1e-12), method="inverted_cdf")
    assert conformal_quantile(values, coverage) == expected


def test_a_limit_for_coverage_0_covers_nothing():
    assert conformal_quantile(np.array([0.5]), 0.0) == -np.inf


def test_a_set_holds_the_classes_within_the_limit():
    found = lac_sets(two_class_probabilities(np.array([0.1, 0.5, 0.95])), 0.5)
    assert found.tolist() == [[True, False], [True, True], [False, True]]


def test_a_set_that_adapts_holds_the_most_probable_classes_until_they_reach_the_limit():
    scores = np.array([[0.2, 0.5, 0.3], [0.05, 0.9, 0.05], [0.4, 0.3, 0.3]])
    assert aps_sets(scores, 0.6).tolist() == [[False, True, True], [False, True, False], [True, False, True]]
    assert aps_scores(scores, np.array([2, 1, 1]), np.array([0.0, 0.5, 1.0])).tolist() == pytest.approx(
        [0.8, 0.45, 0.7]
    )


def test_sets_that_adapt_cover_what_was_promised_and_hold_no_set_empty():
    rng = np.random.default_rng(3)
    scores = rng.dirichlet(np.full(4, 0.5), 20_000)
    labels = (rng.random((20_000, 1)) > np.cumsum(scores, axis=1)).sum(axis=1)
    known = aps_scores(scores[:10_000], labels[:10_000], rng.random(10_000))
    found = aps_sets(scores[10_000:], conformal_quantile(known, 0.9))
    assert found[np.arange(10_000), labels[10_000:]].mean() >= 0.9 and found.any(axis=1).all()


def test_randomised_sets_over_150_classes_cover_as_promised_where_plain_ones_cover_more():
    rng = np.random.default_rng(4)
    found = []
    for _ in range(20):
        scores = rng.dirichlet(np.full(150, 0.01), 4_000)  # the most probable class is right in 4 of 5 rows
        labels = (rng.random((4_000, 1)) > np.cumsum(scores, axis=1)).sum(axis=1).clip(max=149)
        chance, rows = rng.random(4_000), np.arange(2_000)
        limit = conformal_quantile(aps_scores(scores[:2_000], labels[:2_000], chance[:2_000]), 0.9)
        drawn = aps_sets(scores[2_000:], limit, chance=chance[2_000:])
        plain = aps_sets(scores[2_000:], limit)
        found.append([drawn[rows, labels[2_000:]].mean(), plain[rows, labels[2_000:]].mean()])
        assert (drawn <= plain).all()
    exact, more = np.mean(found, axis=0)
    assert exact == pytest.approx(0.9, abs=0.01)  # five standard errors
    assert more >= 0.92


def test_exchangeable_rows_are_covered_as_promised_in_every_part():
    found = [_coverage_by_part(np.random.default_rng(seed)) for seed in range(100)]
    assert np.mean(found, axis=0) == pytest.approx([0.9, 0.9], abs=0.003)  # four standard errors


def _coverage_by_part(rng):
    parts = rng.integers(0, 2, 8_000)
    values = rng.random(8_000) ** (1 + parts)
    limits = np.array([conformal_quantile(values[:4_000][parts[:4_000] == part], 0.9) for part in (0, 1)])
    inside = values[4_000:] <= limits[parts[4_000:]]
    return [inside[parts[4_000:] == part].mean() for part in (0, 1)]


def test_adaptive_limits_keep_the_coverage_under_drift_where_a_fixed_limit_does_not():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(200), 100)
    scores = rng.random(20_000)
    odds = np.log(scores / (1 - scores)) * (1 - groups / 200)  # the model knows less and less
    labels = (rng.random(20_000) < 1 / (1 + np.exp(-odds))).astype(float)
    values = lac_scores(two_class_probabilities(scores), labels.astype(int))
    late = groups >= 100
    fixed = conformal_quantile(values[groups < 28], 0.9)
    online = adaptive_limits(values, groups)
    assert (values[late] <= fixed).mean() < 0.87
    assert (values[late] <= online[late]).mean() == pytest.approx(0.9, abs=0.02)


def test_a_limit_comes_from_groups_whose_labels_were_known():
    values, groups = np.array([0.1, 0.2, 0.3, 0.4, 0.5]), np.arange(5)
    plan = AdaptiveConformal(coverage=0.5, rate=0.0, window=1, delay=2)
    assert adaptive_limits(values, groups, plan).tolist() == [np.inf, np.inf, np.inf, 0.1, 0.2]


def test_lengths_that_differ_are_refused():
    with pytest.raises(DataError, match="1 scores, 2 groups"):
        adaptive_limits(np.zeros(1), np.zeros(2, np.int64))
