"""Counters and their Prometheus text."""

from __future__ import annotations

import pytest

from headway.serving.telemetry.metrics import ALIVE, LOGS, WORKERS, Metrics, SharedMetrics, gauges


def lines_of(metrics: Metrics, **versions: str) -> list[str]:
    return metrics.text(versions).decode().splitlines()


def test_latencies_fall_into_the_right_bucket():
    metrics = Metrics()
    metrics.of("m").add([0, 900_000, 1_000_000_000 - 100_000], engine_ns=(0, 0), ended_ns=1_000_000_000, rows=5)
    buckets = [line for line in lines_of(metrics) if line.startswith("headway_request_seconds_bucket")]
    assert [int(line.split()[1]) for line in buckets] == [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 3]
    assert 'headway_request_seconds_sum{model="m"} 1.999200000' in lines_of(metrics)


def test_batch_sizes_fall_into_buckets_that_double_and_the_last_is_open():
    metrics = Metrics()
    for size in (1, 1, 2, 3, 4, 5, 1024, 1025, 5000):
        metrics.of("m").add([0] * size, engine_ns=(0, 0), ended_ns=1, rows=size)
    lines = [line for line in lines_of(metrics) if line.startswith("headway_batch_requests")]
    counted = {line.split('le="')[1].split('"')[0]: int(line.split()[1]) for line in lines if "le=" in line}
    assert (counted["1"], counted["2"], counted["4"], counted["8"], counted["512"]) == (2, 3, 5, 6, 6)
    assert (counted["1024"], counted["+Inf"]) == (7, 9)
    assert lines[-2:] == ['headway_batch_requests_sum{model="m"} 7065', 'headway_batch_requests_count{model="m"} 9']
    assert sum(metrics.total("m").buckets) == 7065


def test_engine_calls_requests_and_rows_are_counted():
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
    assert len(types) == len(set(types)) == 31
    assert 'headway_release_info{model="b",version="2"} 1' in lines and 'headway_errors_total{code="404"} 2' in lines


@pytest.mark.parametrize(("name", "text"), [('a"b', 'a\\"b'), ("a\\b", "a\\\\b"), ("a\nb", "a\\nb")])
def test_a_name_cannot_break_out_of_its_label(name, text):
    metrics = Metrics()
    metrics.of(name)
    assert f'headway_rows_total{{model="{text}"}} 0' in lines_of(metrics)


def test_a_scrape_includes_all_workers_and_dead_ones():
    memory = SharedMetrics(2)
    first, second, log = (Metrics(memory, row) for row in range(3))
    for metrics, ended in ((first, 5), (second, 9), (Metrics(memory, 0), 7)):  # the last took the first one's place
        metrics.of("m").add([0], engine_ns=(1, 2), ended_ns=ended, rows=2)
        metrics.errors[404] += 1
        metrics.canary_errors["m"] += 1
    second.of("m").fail(0, ended_ns=3)
    first.dropped["m"] += 4
    log.lost["m"], log.aside["m"], first.lost["m"] = 5, 5, 2
    first.log_lines = lambda: gauges([("headway_log_healthy", "Health.", True)])
    first.refused["m@live"], second.refused["m@live"] = False, True
    memory.fleet.row(0)[[ALIVE, WORKERS, LOGS]] = 2, 1, 3
    assert {
        'headway_requests_total{model="m"} 3',
        'headway_rows_total{model="m"} 6',
        'headway_failed_requests_total{model="m"} 1',
        'headway_errors_total{code="404"} 3',
        'headway_canary_errors_total{model="m"} 3',
        'headway_log_dropped_rows_total{model="m"} 4',
        'headway_log_lost_rows_total{model="m"} 7',
        'headway_log_aside_rows_total{model="m"} 5',
        "# TYPE headway_log_healthy gauge",
        "headway_log_healthy 1",
        'headway_pointer_refused{pointer="m@live"} 1',
        "headway_workers 2",
        'headway_restarts_total{process="worker"} 1',
        'headway_restarts_total{process="log"} 3',
    } <= set(lines_of(first, m="1"))
    total = second.total("m")
    assert (total.requests, total.last_ns, total.failed_ns, sum(total.buckets)) == (3, 9, 3, 3)


def test_counters_also_have_the_names_and_labels_of_triton_and_mlserver():
    metrics = Metrics()
    metrics.of("m").add([0, 0], engine_ns=(1_000_000, 3_000_000), ended_ns=4_000_000, rows=3)
    metrics.of("gone").fail(0, ended_ns=1)
    label = '{model="m",version="1"}'
    assert {
        f"nv_inference_request_success{label} 2",
        f"nv_inference_count{label} 3",
        f"nv_inference_exec_count{label} 1",
        f"nv_inference_request_duration_us{label} 8000",
        f"nv_inference_queue_duration_us{label} 2000",
        f"nv_inference_compute_infer_duration_us{label} 4000",
        f"nv_inference_compute_output_duration_us{label} 2000",
        f"model_infer_request_success_total{label} 2",
        f"model_infer_request_duration_sum{label} 0.008000000",
        'nv_inference_request_failure{model="gone",version=""} 1',
        'model_infer_request_failure_total{model="gone",version=""} 1',
    } <= set(lines_of(metrics, m="1"))
