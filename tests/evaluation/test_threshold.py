"""The decision threshold: the one with the lowest cost, between two scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.errors import DataError
from headway.core.variant import LIBRARY_THRESHOLD
from headway.evaluation.threshold import choose_threshold, library_threshold

scored = st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=1, max_size=40)


def cost(threshold, labels, scores, false_positive, false_negative):
    decided = scores >= threshold
    return false_positive * (decided & (labels == 0)).sum() + false_negative * (~decided & (labels == 1)).sum()


@pytest.mark.slow
@given(scored, st.floats(0.1, 10), st.floats(0.1, 10))
def test_no_other_threshold_costs_less_and_none_is_a_score(rows, false_positive, false_negative):
    scores, labels = np.array([s / 10 for s, _ in rows]), np.array([float(label) for _, label in rows])
    chosen = choose_threshold(labels, scores, costs=(false_positive, false_negative))
    others = [cost(t, labels, scores, false_positive, false_negative) for t in np.linspace(-0.05, 1.05, 23)]
    assert cost(chosen, labels, scores, false_positive, false_negative) <= min(others) + 1e-9
    assert chosen not in scores


def test_a_miss_that_costs_more_lowers_the_threshold():
    rng = np.random.default_rng(0)
    scores = rng.random(20_000)
    labels = (rng.random(20_000) < scores).astype(float)
    assert choose_threshold(labels, scores, costs=(1, 4)) == pytest.approx(0.2, abs=0.05)
    assert choose_threshold(labels, scores) == pytest.approx(0.5, abs=0.05)


def test_rounding_of_scores_flips_no_decision():
    labels, scores = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.1, 0.4, 0.35, 0.8])
    threshold = choose_threshold(labels, scores, costs=(1, 4))
    assert np.abs(scores - threshold).min() > 0.01


def test_without_rows_or_with_a_cost_of_nothing_it_refuses():
    with pytest.raises(DataError, match="needs at least one row"):
        choose_threshold(np.array([]), np.array([]))
    with pytest.raises(DataError, match="costs must be positive"):
        choose_threshold(np.array([1.0]), np.array([0.5]), costs=(0, 1))


SCORES = np.array([0.1, 0.3, 0.5, 0.5 + 1e-15, 0.7])


def test_a_tie_goes_to_the_first_class_however_it_was_added_up():
    assert library_threshold(SCORES, None) == LIBRARY_THRESHOLD
    assert (SCORES >= LIBRARY_THRESHOLD).tolist() == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("decided", "thresholds", "expected"),
    [
        ([0, 0, 0, 0, 1], (0.2,), LIBRARY_THRESHOLD),
        ([0, 0, 1, 1, 1], (), 0.5),
        ([0, 1, 1, 1, 1], (0.25,), 0.25),
        ([0, 1, 1, 1, 1], (), 0.2),
        ([1, 0, 0, 0, 1], (), LIBRARY_THRESHOLD),
    ],
    ids=["argmax", "from one half on", "its own threshold", "between two scores", "no threshold at all"],
)
def test_the_threshold_follows_the_decisions_of_the_library(decided, thresholds, expected):
    assert library_threshold(SCORES, np.array(decided), thresholds) == pytest.approx(expected, abs=1e-13)
