"""Counts and their Prometheus text."""

from __future__ import annotations

import pytest

from headway.serve.metrics import Metrics


def lines_of(metrics: Metrics, **versions: str) -> list[str]:
    return metrics.text(versions).decode().splitlines()


def test_latencies_fall_into_the_bucket_that_holds_them():
    metrics = Metrics()
    metrics.of("m").add([0, 900_000, 1_000_000_000 - 100_000], engine_ns=(0, 0), ended_ns=1_000_000_000, rows=5)
    buckets = [line for line in lines_of(metrics) if line.startswith("headway_request_seconds_bucket")]
    assert [int(line.split()[1]) for line in buckets] == [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 3]
    assert 'headway_request_seconds_sum{model="m"} 1.999200000' in lines_of(metrics)


def test_calls_of_the_engine_are_counted_beside_requests_and_rows():
    metrics = Metrics()
    for _ in range(2):
        metrics.of("m").add([0, 0], engine_ns=(0, 1), ended_ns=1, rows=3)
    assert {
        'headway_requests_total{model="m"} 4',
        'headway_rows_total{model="m"} 6',
        'headway_engine_calls_total{model="m"} 2',
    } <= set(lines_of(metrics))


def test_each_family_is_named_once_with_its_type():
    metrics = Metrics()
    metrics.of("a")
    metrics.of("b")
    metrics.errors[404] += 2
    lines = lines_of(metrics, a="1", b="2")
    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(types) == len(set(types)) == 9
    assert 'headway_release_info{model="b",version="2"} 1' in lines and 'headway_errors_total{code="404"} 2' in lines


@pytest.mark.parametrize(("name", "text"), [('a"b', 'a\\"b'), ("a\\b", "a\\\\b"), ("a\nb", "a\\nb")])
def test_a_name_cannot_break_out_of_its_label(name, text):
    metrics = Metrics()
    metrics.of(name)
    assert f'headway_rows_total{{model="{text}"}} 0' in lines_of(metrics)
