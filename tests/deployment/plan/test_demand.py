"""Demand of logged requests."""

from __future__ import annotations

import numpy as np
import pytest

from headway.core.errors import DataError
from headway.deployment.plan.demand import demand_of_log

HOUR, DAY = 3_600_000_000, 86_400_000_000


def test_a_log_of_days_gives_rate_hours_days_and_gaps() -> None:
    each = np.concatenate([np.arange(0, 24) * HOUR, 12 * HOUR + np.arange(1, 201) * 1_000_000])
    at_us = np.sort(np.concatenate([day * DAY + each for day in range(8)]))
    found = demand_of_log(at_us, np.ones(len(at_us)), sites=3)
    assert found.per_s == pytest.approx(len(at_us) / ((at_us[-1] - at_us[0]) / 1e6))
    assert found.daily == (224.0,) * 6
    assert int(np.argmax(found.hours)) == 12
    assert np.mean(found.hours) == pytest.approx(1)
    assert found.gaps_us[:2] == (1e6, 1e6)
    assert (found.sites, found.source) == (3, "log")


def test_a_log_that_samples_stands_for_more_requests_and_has_no_gaps() -> None:
    at_us = np.arange(1_000) * 1_000_000
    found = demand_of_log(at_us, np.full(1_000, 4.0))
    assert found.per_s == pytest.approx(4, rel=0.01)
    assert (found.gaps_us, found.hours, found.daily) == ((), (), ())


def test_a_short_log_gives_no_demand() -> None:
    with pytest.raises(DataError, match="99 requests"):
        demand_of_log(np.arange(99), np.ones(99))
