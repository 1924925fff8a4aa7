from __future__ import annotations

import math

import numpy as np
import pytest

from headway.core.evidence import Evidence, Machine, Measurement
from headway.evaluation.statistics.intervals import CHANGE, UNBOUNDED, Estimate, Sample, exact_measurement, t_interval
from headway.evaluation.statistics.seeds import pool_seeds

SAMPLE = Sample(n_rows=900, n_groups=30, bounds=CHANGE)


def of(*measurements: Measurement) -> Evidence:
    machine = Machine(cpu="x", cores=1, system="x", python="3")
    return Evidence(subject="s", dataset="d", period="p", machine=machine, measurements=measurements)


def loss(value: float, se: float = 0.01) -> Measurement:
    return t_interval("brier.drop", Estimate(value=value, se=se, dof=29, method="m"), SAMPLE)


def test_a_single_training_keeps_its_evidence():
    assert pool_seeds([of(loss(0.1))]) == of(loss(0.1))


def test_the_variance_of_seeds_is_added_to_that_of_groups():
    (found,) = pool_seeds([of(loss(0.10)), of(loss(0.11)), of(loss(0.12))]).measurements

    assert found.value == pytest.approx(0.11)
    assert found.se == pytest.approx(math.sqrt(0.01**2 + 0.01**2 * (1 + 1 / 3)))
    assert found.low < 0.11 - 2 * found.se < 0.11 + 2 * found.se < found.high
    assert "mean of 3 seeds" in found.method


def test_equal_seeds_do_not_widen_the_interval():
    (found,) = pool_seeds([of(loss(0.1)), of(loss(0.1)), of(loss(0.1))]).measurements

    assert (found.low, found.high, found.dof) == pytest.approx((loss(0.1).low, loss(0.1).high, 29))


def test_seeds_that_differ_by_far_more_than_groups_leave_no_interval():
    (found,) = pool_seeds([of(loss(-0.3, 1e-4)), of(loss(0.0, 1e-4)), of(loss(0.3, 1e-4))]).measurements

    assert (found.low, found.high, found.se, found.dof) == (-1.0, 1.0, None, None)


def test_a_loss_that_has_no_end_is_cut_off_at_none():
    of_squares = Sample(n_rows=900, n_groups=30, bounds=UNBOUNDED)
    trained = [
        of(t_interval("mse.drop", Estimate(value=value, se=2.0, dof=29, method="m"), of_squares))
        for value in (40.0, 42.0)
    ]
    (found,) = pool_seeds(trained).measurements

    assert found.low < 41 - 2 * found.se < 41 + 2 * found.se < found.high


def test_an_interval_is_clipped_to_the_bounds_of_its_measure():
    of_two = Sample(n_rows=900, n_groups=30, bounds=(0.0, 2.0))
    trained = [
        of(t_interval("brier", Estimate(value=value, se=0.2, dof=29, method="m"), of_two)) for value in (1.7, 1.8)
    ]
    (found,) = pool_seeds(trained).measurements

    assert (found.high, found.bounds) == (2.0, (0.0, 2.0))


def test_pooling_takes_the_largest_maximum_and_needs_every_interval():
    few = t_interval("ece", Estimate(value=0.1, se=0.01, dof=5, method="m"), SAMPLE)
    facts = [exact_measurement("max_change", value, n_rows=9, method="m") for value in (0.1, 0.3, 0.2)]
    one, other, third = (of(item, few) for item in facts)

    found = pool_seeds([one, other, third])
    assert found.find("max_change").value == 0.3
    assert found.find("ece").se is None


@pytest.mark.slow
def test_intervals_hold_the_truth_of_a_recipe_in_95_of_100():
    draw, held, times = np.random.default_rng(0), 0, 2000
    for _ in range(times):
        day = draw.normal(0, 0.01)
        seeds = draw.normal(0, 0.01, 3) + day
        (found,) = pool_seeds([of(loss(float(value))) for value in seeds]).measurements
        held += found.low <= 0 <= found.high
    assert held / times >= 0.95
