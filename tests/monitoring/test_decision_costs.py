"""Decisions priced, and what a release costs more than when it was judged."""

from __future__ import annotations

import numpy as np
import pytest

from headway.core.errors import DataError
from headway.data.settings.model import Costs
from headway.monitoring.degradation import DecisionCosts, decision_costs, expected_loss


def period(rate: float, *, seed: int = 0, count: int = 30) -> DecisionCosts:
    """Costs of 0 or 1 whose mean is the rate, days of 100 rows that differ a little."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(count), 100)
    daily = np.clip(rate + 0.05 * rng.normal(size=count), 0, 1)[day]
    return DecisionCosts(costs=(rng.random(len(day)) < daily).astype(np.float64), groups=day)


def test_false_negatives_and_false_positives_have_their_own_costs():
    scores, labels = np.array([0.7, 0.7, 0.2, 0.2]), np.array([0.0, 1.0, 0.0, 1.0])
    assert decision_costs(scores, labels, threshold=0.5, costs=Costs(false_positive=2, false_negative=7)).tolist() == [
        2,
        0,
        0,
        7,
    ]


def test_a_score_at_the_threshold_is_positive():
    assert decision_costs(np.array([0.5]), np.array([0.0]), threshold=0.5, costs=Costs()).tolist() == [1.0]


def test_the_cost_of_a_row_without_a_label_is_unknown():
    costs = decision_costs(np.array([0.9, 0.1, 0.1]), np.array([np.nan, np.nan, 0.0]), threshold=0.5, costs=Costs())
    assert np.isnan(costs).tolist() == [True, True, False]


def test_the_loss_of_a_month_is_the_change_of_the_mean_cost_times_its_rows():
    found = expected_loss(period(0.5, seed=1), period(0.3, seed=2), rows_a_month=1000)
    assert found.value == pytest.approx(200, abs=30)
    assert 100 < found.low < 200 < found.high < 300
    assert (found.name, found.unit, found.n_groups) == ("retrain.expected_loss", "cost a month", 60)


def test_without_a_change_the_interval_contains_zero():
    found = expected_loss(period(0.3, seed=1), period(0.3, seed=2), rows_a_month=1000)
    assert found.low < 0 < found.high


def test_few_groups_give_no_interval():
    assert expected_loss(period(0.3, count=10), period(0.3), rows_a_month=1).se is None


def test_an_empty_period_is_rejected():
    empty = DecisionCosts(costs=np.empty(0), groups=np.empty(0, np.int64))
    with pytest.raises(DataError, match="both periods need rows"):
        expected_loss(empty, period(0.3), rows_a_month=1)
