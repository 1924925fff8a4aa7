"""A cascade's deferred views are looked up only for the rows of a batch that its first model does not decide."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace
from running import bundle, release, serving
from tests.serving.flushed_log import log_writer, worker_log
from tests.serving.plain_client import post

from headway.core.feature_view import (
    Aggregation,
    ColumnValue,
    ConstantValue,
    Feature,
    FeatureSource,
    FeatureView,
    FunctionCall,
)
from headway.core.release import Bounds, Contract, SelfTest
from headway.core.selective import SelectiveCertificate
from headway.core.variant import Artifact, Field, Signature
from headway.engines.formats.nested import NestedHeader, NestedModel, pack_models
from headway.evaluation.selective import measure_risk
from headway.features.compute import event_rows
from headway.features.materialize_windows import events_by_entity
from headway.features.online.sqlite import SqliteOnlineStore
from headway.features.online_rows import DEFERRED_US, NEVER_US
from headway.features.window_state import merge_events
from headway.serving.loading import load_model
from headway.serving.routing.staged_features import DECIDED, StagedFeatures
from headway.serving.telemetry.prediction_log import LogBuffers
from headway.storage import segments, traffic

NOW_US = time.time_ns() // 1000
SOURCE = FeatureSource(location="planes.parquet", event_time="at")
PLANE = FeatureView(
    name="plane",
    version=1,
    entities=("tail",),
    source=SOURCE,
    features=(Feature(name="age"), Feature(name="seats", when_missing="refuse")),
    columns=("age",),
)
WEATHER = FeatureView(
    name="weather",
    version=1,
    entities=("origin",),
    source=SOURCE,
    features=(Feature(name="wind"), Feature(name="gust")),
)
INFER = "/v2/models/flights/infer"


class CountingStore(SqliteOnlineStore):
    """A store that notes how many keys of each table are read."""

    def __init__(self, folder):
        super().__init__(folder)
        self.read_keys: list[dict[str, int]] = []

    def read(self, requests):
        self.read_keys.append({table: len(keys) for table, keys in requests})
        return super().read(requests)


@pytest.fixture
def store(tmp_path):
    found = CountingStore(tmp_path / "online")
    found.write("plane.v1", ["N1", "N2"], np.array([[0.5, 100.0], [0.25, np.nan]]), np.array([NOW_US, NOW_US]))
    found.write("weather.v1", ["JFK"], np.array([[0.5, 0.75]]), np.array([NOW_US]))
    yield found
    found.close()


def certificate() -> SelectiveCertificate:
    coverage, risk = measure_risk(np.ones(100, dtype=bool), np.zeros(100))
    return SelectiveCertificate(threshold=0.6, coverage=coverage, risk=risk, limit=0.05)


def cascade_of(inputs, read):
    """Return an artifact whose first model is the mean of some columns, and whose full model is that of all."""
    names = [field.name for field in inputs]
    columns = tuple(names.index(name) for name in read)
    first = pack_models(
        NestedHeader(models=(NestedModel(engine="echo", size_bytes=4),), columns=columns or (0,)), b"echo"
    )
    models = (NestedModel(engine="columns", size_bytes=len(first)), NestedModel(engine="echo", size_bytes=4))
    header = NestedHeader(
        models=models,
        numbers={"low": 0.4, "high": 0.6},
        columns=columns,
        certificate=certificate(),
    )
    return pack_models(header, first, b"echo")


def model(store, views, names, read, **fields):
    """Load a cascade whose first model reads some of these inputs."""
    signature = Signature(inputs=tuple(names))
    content = cascade_of(names, read)
    width = len(names)
    test = SelfTest(rows=((1.0,) * width,), answers=((1.0,),))
    made = release(signature=signature, test=test)
    variant = replace(
        made.variant,
        engine="cascade",
        artifact=Artifact(format="cascade", digest=made.variant.artifact.digest, size_bytes=len(content)),
    )
    return load_model(bundle(replace(made, variant=variant, views=tuple(views), **fields), content), store)


def features_of(loaded, **columns):
    """Return what a batch with these columns becomes."""
    inputs = [
        {
            "name": name,
            "shape": [len(values)],
            "datatype": "BYTES" if isinstance(values[0], str) else "FP64",
            "data": values,
        }
        for name, values in columns.items()
    ]
    decoded = loaded.reader.read(json.dumps({"inputs": inputs}).encode())
    return loaded.features.get_online_features(decoded.rows, [decoded.key] * len(decoded.rows))


NUMBERS = (Field(name="a"), Field(name="age"))


def test_only_undecided_rows_are_looked_up(store):
    loaded = model(store, [PLANE], NUMBERS, ["a"])
    store.read_keys.clear()

    found = features_of(loaded, a=[0.1, 0.5, 0.9, 0.45], tail=["N1", "N1", "N2", "N2"])

    assert isinstance(loaded.features, StagedFeatures)
    assert store.read_keys == [{"plane.v1": 2}]
    assert np.array_equal(found.rows, [[0.1, np.nan], [0.5, 0.5], [0.9, np.nan], [0.45, 0.25]], equal_nan=True)
    assert [times.tolist() for times in found.seen] == [[DEFERRED_US, NOW_US, DEFERRED_US, NOW_US]]
    assert found.texts == (["N1", "N1", "N2", "N2"],)
    assert loaded.engine.predict(found.rows)[:, 0].tolist() == [0.1, 0.5, 0.9, 0.35]
    assert {key[0]: n for counts in loaded.features.counts for key, n in counts.items()}[DECIDED] == 2


def test_nothing_is_looked_up_if_every_row_is_decided(store):
    loaded = model(store, [PLANE], NUMBERS, ["a"])
    store.read_keys.clear()

    found = features_of(loaded, a=[0.1], tail=["N1"])

    assert store.read_keys == []
    assert found.seen[0].tolist() == [DEFERRED_US]


def test_a_score_at_the_end_of_the_band_is_looked_up(store):
    loaded = model(store, [PLANE], NUMBERS, ["a"])

    found = features_of(loaded, a=[0.4, 0.6, 0.6 + 1e-12], tail=["N1", "N1", "N1"])

    assert found.seen[0].tolist() == [NOW_US] * 3


def test_cheap_views_are_looked_up_for_all_rows_and_all_of_their_features_then(store):
    names = (Field(name="a"), Field(name="wind"), Field(name="gust"), Field(name="age"))
    loaded = model(store, [WEATHER, PLANE], names, ["a", "wind"])
    store.read_keys.clear()

    found = features_of(loaded, a=[0.1, 0.5], tail=["N1", "N9"], origin=["JFK", "JFK"])

    assert store.read_keys == [{"weather.v1": 2}, {"plane.v1": 1}]
    assert np.array_equal(found.rows, [[0.1, 0.5, 0.75, np.nan], [0.5, 0.5, 0.75, np.nan]], equal_nan=True)
    assert [times.tolist() for times in found.seen] == [[NOW_US, NOW_US], [DEFERRED_US, NEVER_US]]
    assert loaded.features.names == ("weather", "plane")


def windowed(name, entity):
    """Return a view that counts the events of a day."""
    feature = Feature(name=f"{name}_1d", aggregation=Aggregation(function="count", window_s=86_400))
    return FeatureView(name=name, version=1, entities=(entity,), source=SOURCE, features=(feature,))


@pytest.mark.parametrize("first", ["a", "weather_1d"])
def test_windows_are_aggregated_in_their_stage_and_have_one_time(store, first):
    views = [windowed("weather", "origin"), windowed("plane", "tail")]
    for view in views:
        table = pl.DataFrame({view.entities[0]: ["X"], "at": [datetime.now(UTC) - timedelta(hours=1)]})
        events = events_by_entity(store, view, event_rows(view, table), are_numbered=False)
        merge_events(store, view, events, now_us=NOW_US)
    names = (Field(name="a"), Field(name="weather_1d"), Field(name="plane_1d"))
    loaded = model(store, views, names, ["a", "weather_1d"] if first == "weather_1d" else ["a"])

    found = features_of(loaded, a=[0.0, -9.0], tail=["X", "X"], origin=["X", "X"])

    *_, windows_us = found.seen
    if first == "a":
        assert np.array_equal(found.rows, [[0.0, np.nan, np.nan], [-9.0, np.nan, np.nan]], equal_nan=True)
        assert windows_us.tolist() == [DEFERRED_US] * 2
    else:  # the mean of 0 and 1 event is not decided
        assert np.array_equal(found.rows, [[0.0, 1.0, 1.0], [-9.0, 1.0, np.nan]], equal_nan=True)
        assert windows_us[0] == windows_us[1] >= NOW_US
    assert loaded.features.seen_names == ("weather", "plane", "windows")


def test_features_of_the_request_are_computed_in_the_stage_that_needs_them(store):
    ratio = FunctionCall(function="divide", arguments=(ColumnValue(name="age"), ColumnValue(name="wind")))
    double = FunctionCall(function="add", arguments=(ColumnValue(name="b"), ColumnValue(name="b")))
    trip = FeatureView(
        name="trip",
        version=1,
        features=(Feature(name="double", expression=double), Feature(name="ratio", expression=ratio)),
    )
    names = (Field(name="wind"), Field(name="double"), Field(name="ratio"))
    views = [WEATHER, PLANE, trip]
    loaded = model(store, [replace(WEATHER, columns=("wind",)), *views[1:]], names, ["wind", "double"])
    store.read_keys.clear()

    found = features_of(loaded, b=[0.25, 9.0], tail=["N1", "N1"], origin=["JFK", "JFK"])

    assert store.read_keys == [{"weather.v1": 2}, {"weather.v1": 1, "plane.v1": 1}]
    assert np.array_equal(found.rows, [[0.5, 0.5, 1.0], [0.5, 18.0, np.nan]], equal_nan=True)
    assert [times.tolist() for times in found.seen[:2]] == [[NOW_US, NOW_US], [NOW_US, DEFERRED_US]]
    assert loaded.features.seen_names == ("weather", "plane", "input.age", "input.b")
    age, b = (numbers.view(np.float64) for numbers in found.seen[2:])
    assert np.array_equal(age, [0.5, np.nan], equal_nan=True) and b.tolist() == [0.25, 9.0]


def test_a_string_that_a_late_feature_of_the_request_reads_is_logged_where_it_was_looked_up(store):
    make = Feature(name="make", dtype="string")
    (code,) = store.codes("planes.v1", "make", ["BOEING"])
    store.write("planes.v1", ["N1"], np.array([[float(code)]]), np.array([NOW_US]))
    planes = replace(PLANE, table="planes.v1", features=(make,), columns=("make",))
    is_boeing = FunctionCall(function="equal", arguments=(ColumnValue(name="make"), ConstantValue(value="BOEING")))
    trip = FeatureView(name="trip", version=1, features=(Feature(name="is_boeing", expression=is_boeing),))
    names = (Field(name="wind"), Field(name="is_boeing"), Field(name="a"))
    loaded = model(store, [replace(WEATHER, columns=("wind",)), planes, trip], names, ["wind", "a"])

    found = features_of(loaded, a=[0.5, 9.0], tail=["N1", "N1"], origin=["JFK", "JFK"])

    strings = dict(zip(loaded.features.logged_texts, found.texts, strict=True))
    looked_up = [value if value == 1 else None for value in found.rows[:, 1].tolist()]
    assert strings["make"] == ["BOEING" if value else None for value in looked_up]
    assert looked_up.count(1.0) == 1


def test_a_category_of_the_model_that_is_an_entity_of_a_deferred_view_is_read_in_both_stages(store):
    names = (Field(name="tail", datatype="BYTES", categories=("N1", "N2")), Field(name="age"))
    loaded = model(store, [PLANE], names, ["tail"])

    found = features_of(loaded, tail=["N1", "N2"])

    assert np.array_equal(found.rows, [[0.0, np.nan], [1.0, np.nan]], equal_nan=True)


def test_a_row_that_a_deferred_feature_refuses_is_named_by_its_index_in_the_batch(store):
    names = (Field(name="a"), Field(name="seats"))
    loaded = model(store, [replace(PLANE, columns=("seats",))], names, ["a"])

    found = features_of(loaded, a=[0.1, 0.5, 0.5], tail=["N2", "N1", "N2"])

    assert list(found.refused) == [2]
    assert found.refused[2].where == "row 2, for 'N2'"
    with serving(loaded) as server:
        tensors = [
            {"name": "a", "shape": [2], "datatype": "FP64", "data": [0.1, 0.5]},
            {"name": "tail", "shape": [2], "datatype": "BYTES", "data": ["N2", "N2"]},
        ]
        answer = post(server.port, INFER, {"inputs": tensors})
        assert answer.status == 422 and "row 1" in answer.json["error"]


def test_a_deferred_value_does_not_violate_the_contract(store):
    columns = tuple(Bounds(name=name, lowest=0.0, highest=1.0, may_miss=False) for name in ("a", "age"))
    loaded = model(store, [PLANE], NUMBERS, ["a"], contract=Contract(columns=columns, n_rows=9))

    rows = features_of(loaded, a=[0.1, 0.5], tail=["N1", "N1"]).rows

    assert len(loaded.validator.find(rows)) == 0
    assert len(loaded.validator.find(np.array([[np.nan, np.nan]]))) == 1


@pytest.mark.parametrize("read", [["a", "age"], []])
def test_a_first_model_that_reads_all_views_has_one_stage(store, read):
    loaded = model(store, [PLANE], NUMBERS, read)

    assert not isinstance(loaded.features, StagedFeatures)
    assert features_of(loaded, a=[0.1], tail=["N1"]).rows.tolist() == [[0.1, 0.5]]


def test_the_server_answers_counts_and_logs_what_was_not_looked_up(store, tmp_path):
    buffers, loaded = LogBuffers(1, 1 << 20), model(store, [PLANE], NUMBERS, ["a"])
    with serving(loaded, log=worker_log(buffers)) as server:
        tensors = [
            {"name": "a", "shape": [3], "datatype": "FP64", "data": [0.1, 0.5, 0.9]},
            {"name": "tail", "shape": [3], "datatype": "BYTES", "data": ["N1", "N1", "N1"]},
        ]
        answer = post(server.port, INFER, {"inputs": tensors})
        assert answer.json["outputs"][0]["data"] == [0.1, 0.5, 0.9]
        lines = server.plane.metrics.text({}).decode().splitlines()
        assert 'headway_feature_decided_total{model="flights"} 2' in lines
        assert 'headway_feature_rows_total{model="flights",view="plane"} 1' in lines
    log_writer(tmp_path, buffers).write()
    (path,) = segments.segments(traffic.log_folder(tmp_path, "flights", loaded.digest))
    table = segments.load(path)
    assert list(table["seen_us.plane"]) == [DEFERRED_US, NOW_US, DEFERRED_US]
    assert np.array_equal(table["in.age"], [np.nan, 0.5, np.nan], equal_nan=True)
