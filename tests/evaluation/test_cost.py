"""Metric `cost`: CPU seconds of real calls, and their price."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from headway.core.errors import NotApplicable
from headway.evaluation.machine_load import LoadMeter
from headway.evaluation.metrics.cost import plugin
from headway.evaluation.settings.cost import CostSection

pytestmark = pytest.mark.usefixtures("whole_rounds")


class Works:
    """Works for some time on a core in a number of threads, then waits without using one."""

    formats = ("works",)

    def __init__(self, works_us: float, *, threads: int = 1, waits_us: float = 0.0) -> None:
        self.works_ns, self.threads, self.waits_s = works_us * 1e3, threads, waits_us / 1e6

    def predict(self, rows):
        others = [threading.Thread(target=self._work) for _ in range(self.threads - 1)]
        for item in others:
            item.start()
        self._work()
        for item in others:
            item.join()
        threading.Event().wait(self.waits_s)
        return rows[:, :1]

    def _work(self) -> None:
        end = time.thread_time_ns() + self.works_ns
        while time.thread_time_ns() < end:
            pass


def found(subject, model, **price):
    priced = replace(subject, model=model, price=CostSection(**price))
    return {
        measurement.name: measurement for measurement in plugin(priced) if not isinstance(measurement, NotApplicable)
    }


def test_costs_measured_on_a_shared_machine_have_wide_intervals(make_subject, monkeypatch):
    monkeypatch.setattr(LoadMeter, "is_shared", lambda _: True)
    costs = found(make_subject(count=20), Works(100), core_hour=0.04, currency="EUR")
    assert len(costs) >= 4
    assert all(one.high > 1.5 * one.value and one.low < one.value / 1.5 for one in costs.values())


@pytest.mark.slow
def test_the_cost_counts_cpu_time_and_not_waiting(make_subject):
    seconds = found(make_subject(count=20), Works(100, waits_us=1000))["cost.cpu_s.one_row"]
    assert 100 <= seconds.value < 1000 and seconds.low <= seconds.value <= seconds.high
    assert (seconds.unit, seconds.n_groups) == ("s", 20)


@pytest.mark.slow
def test_the_work_of_all_threads_counts(make_subject):
    one, two = (found(make_subject(count=20), Works(500, threads=n))["cost.cpu_s.one_row"].value for n in (1, 2))
    assert two / one > 1.6  # a busy machine makes the work of two threads dearer still


@pytest.mark.slow
def test_a_batch_shares_its_work_and_the_price_is_that_of_a_core_for_an_hour(make_subject):
    measured = found(make_subject(count=20), Works(100), core_hour=3.6, currency="EUR")
    seconds, cost = measured["cost.cpu_s.batch"], measured["cost.per_million.batch"]
    assert seconds.value < measured["cost.cpu_s.one_row"].value / 100
    assert cost.value == pytest.approx(seconds.value / 1000) and cost.unit == "EUR"
    assert cost.high - cost.low == pytest.approx((seconds.high - seconds.low) / 1000)


def test_without_a_row_nothing_works(make_subject):
    subject = make_subject(count=20)
    with pytest.raises(NotApplicable, match="no rows"):
        plugin(replace(subject, rows=subject.rows[:0]))
