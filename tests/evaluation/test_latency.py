"""Metric `latency`: real calls of both models on real rows."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from headway.core.errors import NotApplicable
from headway.evaluation.benchmark import time_model
from headway.evaluation.metrics.latency import plugin

pytestmark = pytest.mark.slow


class Slow:
    """Works for a given time, and for each row, before it answers, and records the shapes of its inputs."""

    formats = ("slow",)

    def __init__(self, works_us: float, row_us: float = 0) -> None:
        self.works_us, self.row_us = works_us, row_us
        self.asked: set[tuple[int, ...]] = set()

    def predict(self, rows):
        assert rows.dtype == np.float64 and rows.flags.c_contiguous
        self.asked.add(rows.shape)
        end = time.perf_counter_ns() + (self.works_us + self.row_us * len(rows)) * 1e3
        while time.perf_counter_ns() < end:
            pass
        return rows[:, :1]


@pytest.fixture
def raced(make_subject):
    subject = replace(make_subject(count=20), model=Slow(60), reference=Slow(240))
    start = time.perf_counter()
    found = {measurement.name: measurement for measurement in plugin(subject)}
    return subject, found, time.perf_counter() - start


def test_times_are_those_of_the_model_and_the_speedup_is_their_ratio(raced):
    _, found, _ = raced
    assert 60 <= found["latency.one_row"].value < 120 and found["latency.one_row"].unit == "us"
    assert 2.5 < found["latency.speedup"].value < 4.5
    assert 1e6 * 256 / 120 < found["throughput.batch"].value < 1e6 * 256 / 60
    assert 2.5 < found["throughput.speedup"].value < 4.5


def test_each_is_an_interval_over_rounds_within_the_time_allowed(raced):
    _, found, took_s = raced
    assert all(
        measurement.n_groups == 25 and measurement.low <= measurement.value <= measurement.high
        for measurement in found.values()
    )
    assert took_s < 2


def test_one_row_and_a_batch_have_the_shapes_of_the_contract(raced):
    subject, _, _ = raced
    assert subject.model.asked == subject.reference.asked - {(16, 1)} == {(1, 1), (256, 1)}


def test_a_slow_network_is_timed_on_smaller_batches(make_subject):
    subject = replace(make_subject(count=20), model=Slow(10), reference=Slow(10, row_us=4_400))
    time_model(subject.model, subject.rows, reference=subject.reference, rounds=2)
    assert max(rows for rows, _ in subject.model.asked) in range(40, 58)


def test_a_model_whose_call_costs_much_but_whose_rows_cost_little_is_timed_on_whole_batches(make_subject):
    subject = replace(make_subject(count=20), model=Slow(10), reference=Slow(20_000, row_us=10))
    time_model(subject.model, subject.rows, reference=subject.reference, rounds=2, limit_s=1)
    assert max(rows for rows, _ in subject.model.asked) == 256


def test_a_slow_model_is_timed_in_fewer_rounds_and_the_interval_says_so(make_subject):
    subject = replace(make_subject(count=20), model=Slow(10_000), reference=Slow(20_000), timing_s=0.4)
    found = plugin(subject)
    assert all(measurement.n_groups in range(4, 25) for measurement in found)
    assert found[0].low < found[0].high


def test_a_table_shorter_than_a_batch_is_repeated(make_subject):
    subject = make_subject(count=20)
    found = plugin(replace(subject, rows=subject.rows[:3]))
    assert [measurement.name for measurement in found] == [
        "latency.one_row",
        "latency.speedup",
        "throughput.batch",
        "throughput.speedup",
    ]


def test_no_rows_cannot_be_timed(make_subject):
    subject = make_subject(count=20)
    with pytest.raises(NotApplicable, match="no rows to time"):
        plugin(replace(subject, rows=subject.rows[:0]))
