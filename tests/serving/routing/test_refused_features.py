"""Rows that a feature refuses, integers over gRPC, counts of many features, and an online store that is away."""

from __future__ import annotations

import json
import signal
import time
import urllib.request

import numpy as np
import pytest
from msgspec.structs import replace
from running import project, serving, started
from tests.serving.grpc_calls import grpc_client
from tests.serving.manual_loop import RecordingCall
from tests.serving.routing.test_online_features import NOW_US, TEMP, WEATHER, infer, model, rows_of, store, tensor, view

from headway.core.feature_view import ColumnValue, Feature, FeatureView, FunctionCall
from headway.core.variant import Field, Signature
from headway.serving.batching.executor import Batch, BatchExecutor, ExecutorSettings
from headway.serving.telemetry.metrics import Metrics, SharedMetrics

pytestmark = pytest.mark.slow
__all__ = ["store"]
REFUSING = view(features=(replace(TEMP, when_missing="refuse"),))


def test_a_request_of_which_every_row_is_refused_names_the_row_and_the_feature(store):
    with serving(model(store, REFUSING)) as server:
        refused = infer(server, tensor("a", [1.0]), tensor("origin", ["nowhere"], "BYTES"))
        answered = infer(server, tensor("a", [10.0]), tensor("origin", ["JFK"], "BYTES"))

    assert refused.status == 422
    assert "temp" in refused.json["error"] and "nowhere" in refused.json["error"]
    assert answered.value == 20.0


def test_a_refused_request_leaves_the_others_of_its_batch_answered(store):
    loaded = model(store, REFUSING)
    bodies = [{"inputs": [tensor("a", [10.0]), tensor("origin", [name], "BYTES")]} for name in ("JFK", "nowhere")]
    decoded = [loaded.reader.read(json.dumps(body).encode()) for body in bodies]
    calls = [RecordingCall(*found.rows.tolist(), key=key) for found, key in zip(decoded, "ab", strict=True)]
    batch = Batch(calls=calls, numbers=np.arange(2))

    refused, answered = BatchExecutor(ExecutorSettings(batch_rows=64)).run(loaded, batch)

    assert [call.key for call in refused.batch.calls] == ["b"]
    assert "row 0" in refused.error.where and "nowhere" in str(refused.error)
    assert [call.key for call in answered.batch.calls] == ["a"]
    assert answered.answers.tolist() == [[20.0]]


REFUSES = Signature(
    inputs=(Field(name="sky", datatype="BYTES", categories=("cloudy", "clear"), unseen="refused"), Field(name="a"))
)


def test_a_looked_up_string_that_the_model_refuses_refuses_its_row(store):
    clouds = view(table="sky", features=(Feature(name="sky", dtype="string"),))
    codes = store.codes("sky", "sky", ["clear", "odd"])
    store.write("sky", ["A", "B"], codes.reshape(-1, 1).astype(float), np.full(2, NOW_US))

    for _ in range(2):  # the second time from memory
        columns = {"a": ([1.0] * 3,), "origin": (["A", "B", "C"], "BYTES")}
        found, _ = rows_of(store, clouds, signature=REFUSES, **columns)
        assert found.rows[0].tolist() == [1.0, 1.0]
        assert list(found.refused) == [1]
        assert "feature 'sky' cannot hold 'odd'" in str(found.refused[1])


@pytest.mark.parametrize(
    ("signature", "refused"), [(REFUSES, [1]), (Signature(inputs=(Field(name="sky"), Field(name="a"))), [0, 1])]
)
def test_a_computed_string_that_the_model_cannot_read_refuses_its_row(store, signature, refused):
    sky = Feature(
        name="sky", dtype="string", expression=FunctionCall(function="lower", arguments=(ColumnValue(name="text"),))
    )
    trip = FeatureView(name="trip", features=(sky,))

    found, _ = rows_of(store, trip, signature=signature, a=([1.0] * 3,), text=(["CLEAR", "ODD", None], "BYTES"))

    assert list(found.refused) == refused
    assert "feature 'sky' cannot hold 'odd'" in str(found.refused[1])


def test_an_integer_entity_in_the_contents_of_a_grpc_message_is_looked_up(store):
    store.write("weather.v1", ["17"], np.array([[1.0]]), np.array([NOW_US]))
    inputs = [
        {"name": "a", "datatype": "FP64", "shape": [1], "contents": {"fp64_contents": [3.0]}},
        {"name": "origin", "datatype": "INT64", "shape": [1], "contents": {"int64_contents": [17]}},
    ]
    with serving(model(store, WEATHER)) as server, grpc_client(server) as call:
        found = call("ModelInfer", model_name="flights", inputs=inputs)

    assert found.outputs[0].contents.fp64_contents == [2.0]


def test_a_server_starts_while_its_online_store_is_away_and_shows_it(tmp_path):
    project(tmp_path)
    with (tmp_path / "headway.toml").open("a") as file:
        file.write('[store]\nonline = "redis://127.0.0.1:1/0"\n')
    process = started(tmp_path, "flights@live")
    try:
        port = int(process.stdout.readline().split()[2].rpartition(":")[2])
        until = time.monotonic() + 60
        while 'headway_store_up{role="online"} 0' not in metrics_of(port):
            assert time.monotonic() < until
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def metrics_of(port: int) -> str:
    """Return the metrics of a server."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        return response.read().decode()


def test_features_beyond_the_space_of_the_counters_are_not_counted_and_the_others_are():
    metrics = Metrics(SharedMetrics(1))
    many = {("missing", "weather", f"feature {number}"): 1 for number in range(2_000)}

    for _ in range(2):
        metrics.count_features("flights", many)

    counted = [
        line for line in metrics.text({}).decode().splitlines() if line.startswith("headway_feature_missing_total{")
    ]
    assert 0 < len(counted) < 2_000
    assert all(line.endswith(" 2") for line in counted)
