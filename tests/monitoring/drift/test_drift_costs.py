"""What drift costs: features ordered by the loss that their drift explains."""

from __future__ import annotations

import numpy as np
import pytest
from tests.monitoring.worlds import days, in_order

from headway.core.errors import DataError, NotApplicable
from headway.monitoring.drift import rank_drift_costs


def world(*, seed: int = 0, to: float = 0.5, count: int = 60):
    """Two binary features that move from a share of .5 to `to`; only x0 has to do with the loss, 1 where it is 1."""
    rng = np.random.default_rng(seed)
    _, day = days(rng, count=count, features=2)
    rate = np.where(day < count // 2, 0.5, to)
    swing = np.clip(rate + 0.1 * rng.normal(size=count)[day], 0, 1)
    rows = (rng.random((len(day), 2)) < swing[:, None]).astype(np.float64)
    return in_order(rows, day), rows[day < count // 2, 0]


def test_the_most_costly_feature_comes_first_although_another_moved_as_far():
    first, second = rank_drift_costs(*world(to=0.8))
    assert (first.name, first.slice, second.slice) == ("drift.loss", "x0", "x1")
    assert first.value == pytest.approx(0.3, abs=0.06)
    assert abs(second.value) < 0.03
    assert first.low > 0 and second.low < 0 < second.high


def test_without_drift_no_explained_loss_is_significant():
    assert all(cost.low <= 0 <= cost.high for cost in rank_drift_costs(*world()))


def test_rows_without_a_label_are_ignored():
    windows, losses = world(to=0.8)
    losses[::2] = np.nan
    found = rank_drift_costs(windows, losses)[0]
    assert found.value == pytest.approx(0.3, abs=0.06)
    assert found.n_rows == 1200 + 600


def test_a_bin_without_labels_costs_the_mean():
    rows, day = days(np.random.default_rng(0), features=1)
    rows[:, 0] = day >= 30
    assert rank_drift_costs(in_order(rows, day), np.full(1200, 0.25))[0].value == pytest.approx(0)


def test_few_groups_give_no_standard_error():
    windows, losses = world(count=30)
    assert all(cost.se is None for cost in rank_drift_costs(windows, losses))


def test_losses_of_another_length_are_rejected():
    windows, losses = world()
    with pytest.raises(DataError, match="1199 losses for 1200 rows"):
        rank_drift_costs(windows, losses[:-1])
    with pytest.raises(NotApplicable, match="no row"):
        rank_drift_costs(windows, np.full(1200, np.nan))


@pytest.mark.slow
def test_the_interval_covers_the_true_loss_in_about_95_of_100_simulations():
    covered = 0
    for seed in range(400):
        found = next(cost for cost in rank_drift_costs(*world(seed=seed, to=0.8)) if cost.slice == "x0")
        covered += found.low <= 0.3 <= found.high
    assert 0.92 <= covered / 400 <= 0.985
