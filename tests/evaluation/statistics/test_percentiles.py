"""Percentiles by order statistics: the minimum sample size, and the effect of stalls shared by many requests."""

from __future__ import annotations

import numpy as np
import pytest

from headway.core.errors import NotApplicable
from headway.evaluation.statistics.percentiles import (
    binomial_cdf,
    median_interval,
    min_sample_size,
    percentile_interval,
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("share", "beyond", "count"),
    [(0.9, 0, 44), (0.9, 1, 64), (0.95, 1, 130), (0.99, 0, 459), (0.99, 1, 662), (0.99, 2, 838)],
)
def test_a_percentile_needs_the_requests_of_the_small_sample_law(share, beyond, count):
    assert min_sample_size(share, beyond=beyond) == count


def test_chances_of_many_requests_are_those_of_the_binomial_distribution():
    assert binomial_cdf(10, 0.1)[1] == pytest.approx(0.9**10 + 10 * 0.1 * 0.9**9)
    assert binomial_cdf(200_000, 0.5)[100_000] == pytest.approx(0.5, abs=0.002)


@pytest.mark.slow
def test_the_interval_of_independent_requests_has_its_coverage():
    rng, truth = np.random.default_rng(0), -np.log(0.01)
    found = [percentile_interval("p99", rng.exponential(size=5000), np.arange(5000) // 125, 0.99) for _ in range(300)]
    assert sum(measurement.low <= truth <= measurement.high for measurement in found) / 300 >= 0.93


def test_a_stall_that_strikes_many_at_once_widens_it_or_takes_the_claim():
    rng = np.random.default_rng(1)
    times, buckets = rng.exponential(size=20_000), np.arange(20_000) // 500
    alone = percentile_interval("p99", times, buckets, 0.99)
    stalled = times + 10 * np.isin(buckets, [7, 8])
    with pytest.raises(NotApplicable, match=r"requests, there are [0-9,]+ worth"):
        percentile_interval("p99", stalled, buckets, 0.99)
    assert alone.low < alone.value < alone.high and "worth" in alone.method and alone.n_rows == 20_000


def test_too_few_requests_or_too_many_failures_give_no_percentile():
    times, buckets = np.arange(700.0), np.arange(700) // 20
    with pytest.raises(NotApplicable, match="needs 662 requests"):
        percentile_interval("load.p99_ms", times[:661], buckets[:661], 0.99)
    with pytest.raises(NotApplicable, match="needs 662 requests"):
        percentile_interval("load.p99_ms", times[:0], buckets[:0], 0.99)
    spread = np.where(np.arange(7000) % 50 == 0, np.inf, 1.0)
    with pytest.raises(NotApplicable, match="no right answer"):
        percentile_interval("load.p99_ms", spread, np.arange(7000) // 200, 0.99)


def test_the_median_of_eleven_starts_lies_between_the_second_and_the_second_last():
    found = median_interval("start.seconds", np.arange(11.0), of="starts")
    assert (found.value, found.low, found.high, found.n_rows) == (5.0, 1.0, 9.0, 11)
    assert found.method == "median over starts, order statistics"
    with pytest.raises(NotApplicable, match="needs 11 starts, there are 10"):
        median_interval("start.seconds", np.arange(10.0), of="starts")


@pytest.mark.slow
def test_the_interval_of_a_median_of_eleven_has_its_coverage():
    rng = np.random.default_rng(0)
    found = [median_interval("x", rng.exponential(size=11), of="starts") for _ in range(1000)]
    assert sum(measurement.low <= np.log(2) <= measurement.high for measurement in found) / 1000 >= 0.95
