"""Requests with the entities of feature views: their features are looked up and computed in the server."""

from __future__ import annotations

import http.client
import json
import struct
import time

import numpy as np
import pytest
from msgspec.structs import replace
from running import bundle, release, serving
from tests.serving.flushed_log import log_writer, worker_log
from tests.serving.grpc_calls import grpc_client
from tests.serving.plain_client import post

from headway.core.errors import Refused, StoreError, StoreUnavailable
from headway.core.feature_view import (
    ColumnValue,
    ConstantValue,
    Feature,
    FeatureSource,
    FeatureView,
    FunctionCall,
)
from headway.core.release import SelfTest
from headway.core.variant import Field, Signature
from headway.features.online.sqlite import SqliteOnlineStore
from headway.features.online_rows import entity_key
from headway.serving.loading import load_model
from headway.serving.routing.online_features import OnlineFeatures
from headway.serving.telemetry.prediction_log import LogBuffers
from headway.storage import segments, traffic

SOURCE = FeatureSource(location="weather.parquet", event_time="at")
NOW_US = time.time_ns() // 1000
TEMP = Feature(name="temp")
WEATHER = FeatureView(name="weather", version=1, entities=("origin",), source=SOURCE, features=(TEMP,))
NUMBERS = Signature(inputs=(Field(name="a"), Field(name="temp")))
INFER = "/v2/models/flights/infer"


class LateStore(SqliteOnlineStore):
    """A store on another machine that can be away."""

    is_remote = True
    away = False

    def read(self, requests):
        if self.away:
            raise StoreUnavailable("the store for online does not answer", role="online")
        return super().read(requests)


@pytest.fixture
def store(tmp_path):
    """Return a store with the weather of two airports."""
    found = LateStore(tmp_path / "online")
    found.write("weather.v1", ["JFK", "LGA"], np.array([[30.0], [np.nan]]), np.array([NOW_US, NOW_US]))
    yield found
    found.close()


def view(**fields):
    """Return the view of the weather, changed."""
    return replace(WEATHER, **fields)


def model(store, *views, signature=NUMBERS):
    """Load a model that returns the mean of a row, with these views."""
    width = len(signature.inputs)
    test = SelfTest(rows=((1.0,) * width,), answers=((1.0,),))
    return load_model(bundle(replace(release(signature=signature, test=test), views=views)), store)


def tensor(name, values, datatype="FP64"):
    """Return an input."""
    return {"name": name, "shape": [len(values)], "datatype": datatype, "data": list(values)}


def infer(server, *inputs, **parameters):
    """Return the response to a request."""
    return post(server.port, INFER, {"inputs": list(inputs), "parameters": parameters})


def rows_of(store, *views, signature=NUMBERS, **columns):
    """Return what a batch with these columns becomes."""
    loaded = model(store, *views, signature=signature)
    body = {"inputs": [tensor(name, *column) for name, column in columns.items()]}
    decoded = loaded.reader.read(json.dumps(body).encode())
    return loaded.features.get_online_features(decoded.rows, [decoded.key] * len(decoded.rows)), loaded.features


def test_a_request_with_the_entity_alone_gets_its_features(store):
    with serving(model(store, WEATHER)) as server:
        answer = infer(server, tensor("a", [10.0, 10.0, 10.0]), tensor("origin", ["JFK", "LGA", "XXX"], "BYTES"))
        assert answer.json["outputs"][0]["data"] == [20.0, None, None]
        again = infer(server, tensor("origin", ["JFK"], "BYTES"), tensor("a", [20.0]))
        assert again.value == 25.0


def test_a_looked_up_column_that_is_sent_is_ignored(store):
    with serving(model(store, WEATHER)) as server:
        inputs = tensor("a", [10.0]), tensor("origin", ["JFK"], "BYTES"), tensor("temp", [1000.0])
        assert infer(server, *inputs).value == 20.0


def test_the_key_of_a_request_stands_for_the_only_entity(store):
    with serving(model(store, WEATHER)) as server:
        assert infer(server, tensor("a", [10.0]), key="JFK").value == 20.0
        missing = infer(server, tensor("a", [10.0]))
        assert missing.status == 400 and "column 'origin' is missing" in missing.json["error"]


def test_binary_values_and_grpc_are_read_as_json_is(store):
    with serving(model(store, WEATHER)) as server, grpc_client(server) as call:
        raw = struct.pack("<d", 10.0), struct.pack("<I", 3) + b"JFK"
        inputs = [
            {"name": name, "shape": [1], "datatype": kind, "parameters": {"binary_data_size": len(content)}}
            for name, kind, content in zip(("a", "origin"), ("FP64", "BYTES"), raw, strict=True)
        ]
        head = json.dumps({"inputs": inputs}).encode()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        headers = {"Inference-Header-Content-Length": str(len(head))}
        connection.request("POST", INFER, head + b"".join(raw), headers)
        assert json.loads(connection.getresponse().read())["outputs"][0]["data"] == [20.0]
        connection.close()
        named = [{"name": "a", "datatype": "FP64", "shape": [1]}, {"name": "origin", "datatype": "BYTES", "shape": [1]}]
        for _ in range(2):  # an entity that was read before is read in C
            found = call("ModelInfer", model_name="flights", inputs=named, raw_input_contents=raw)
            assert np.frombuffer(found.raw_output_contents[0]).tolist() == [20.0]
        typed = [
            {**named[0], "contents": {"fp64_contents": [10.0]}},
            {**named[1], "contents": {"bytes_contents": [b"JFK"]}},
        ]
        assert call("ModelInfer", model_name="flights", inputs=typed).outputs[0].contents.fp64_contents == [20.0]


def test_an_integer_entity_keeps_all_of_its_digits_on_every_path(store):
    large = 2**60 + 1
    store.write("weather.v1", ["17", str(large)], np.array([[1.0], [2.0]]), np.array([NOW_US, NOW_US]))
    with serving(model(store, WEATHER)) as server, grpc_client(server) as call:
        for _ in range(2):
            for number, temp in ((17, 1.0), (large, 2.0), (large - 1, None)):
                expected = None if temp is None else (3.0 + temp) / 2
                assert infer(server, tensor("a", [3.0]), tensor("origin", [number], "INT64")).value == expected
                assert infer(server, tensor("a", [3.0]), tensor("origin", [str(number)], "BYTES")).value == expected
                named = [
                    {"name": "a", "datatype": "FP64", "shape": [1]},
                    {"name": "origin", "datatype": "INT64", "shape": [1]},
                ]
                raw = struct.pack("<d", 3.0), struct.pack("<q", number)
                found = call("ModelInfer", model_name="flights", inputs=named, raw_input_contents=raw)
                answer = np.frombuffer(found.raw_output_contents[0])[0]
                assert (None if np.isnan(answer) else answer) == expected
    with serving(model(store, WEATHER)) as server:
        refused = infer(server, tensor("a", [3.0]), tensor("origin", [17.0], "FP64"))
        assert refused.status == 400 and "expected a string: BYTES, or an integer: INT64" in refused.json["error"]


def test_several_entities_make_one_key(store):
    both = view(entities=("origin", "plane"), table="both")
    store.write("both", [entity_key(["JFK", "17"])], np.array([[30.0]]), np.array([NOW_US]))
    found, _ = rows_of(
        store, both, a=([1.0] * 3,), origin=(["JFK", "JFK", None], "BYTES"), plane=([17, 1, 17], "INT64")
    )
    assert found.rows[:, 1].tolist()[0] == 30.0 and np.isnan(found.rows[1:, 1]).all()
    assert found.texts == (["JFK", "JFK", None], ["17", "1", "17"])


def test_an_entity_that_the_model_reads_too_is_sent_once(store):
    signature = Signature(
        inputs=(Field(name="origin", datatype="BYTES", categories=("JFK", "LGA")), Field(name="temp")),
    )
    found, features = rows_of(store, WEATHER, signature=signature, origin=(["LGA", "JFK", "XXX"], "BYTES"))
    assert found.rows[:2, 0].tolist() == [1.0, 0.0] and np.isnan(found.rows[2, 0])
    assert features.request.names == ("origin",)
    refusing = Signature(inputs=(replace(signature.inputs[0], unseen="refused"), Field(name="temp")))
    found, _ = rows_of(store, WEATHER, signature=refusing, origin=(["LGA", "XXX"], "BYTES"))
    assert "column 'origin' cannot hold 'XXX'" in str(found.refused[1])


def test_an_entity_that_the_model_reads_as_a_number_is_sent_once(store):
    signature = Signature(inputs=(Field(name="plane"), Field(name="temp")))
    store.write("planes", ["17"], np.array([[30.0]]), np.array([NOW_US]))
    planes = view(table="planes", entities=("plane",))
    found, features = rows_of(store, planes, signature=signature, plane=(["17", None, "N17"], "BYTES"))
    assert features.request.names == ("plane",)
    assert found.rows[0].tolist() == [17.0, 30.0] and np.isnan(found.rows[1]).all()
    assert list(found.refused) == [2] and "column 'plane' cannot hold 'N17'" in str(found.refused[2])


def test_a_missing_value_is_null_a_default_or_refuses_its_row_and_is_counted(store):
    columns = {"a": ([1.0, 1.0, 1.0],), "origin": (["JFK", "LGA", "XXX"], "BYTES")}
    found, features = rows_of(store, WEATHER, **columns)
    assert found.rows[0, 1] == 30.0 and np.isnan(found.rows[1:, 1]).all()
    assert features.counts.pop()["missing", "weather", "temp"] == 2
    found, _ = rows_of(store, view(features=(replace(TEMP, when_missing="default", default=15.0),)), **columns)
    assert found.rows[:, 1].tolist() == [30.0, 15.0, 15.0]
    refusing = view(features=(replace(TEMP, when_missing="refuse"),))
    found, _ = rows_of(store, refusing, **columns)
    assert list(found.refused) == [1, 2]
    with serving(model(store, refusing)) as server:
        answer = infer(server, tensor("a", [1.0, 1.0]), tensor("origin", ["JFK", "XXX"], "BYTES"))
        assert answer.status == 422
        assert "feature 'temp' of weather@v1 is missing (row 1, for 'XXX')" in answer.json["error"]
        assert "headway features materialize weather" in answer.json["error"]
        assert infer(server, tensor("a", [10.0]), tensor("origin", ["JFK"], "BYTES")).value == 20.0


def test_a_stale_value_is_missing_and_counted_as_stale(store):
    store.write("weather.v1", ["OLD"], np.array([[30.0]]), np.array([NOW_US - 7 * 3_600_000_000]))
    columns = {"a": ([1.0, 1.0],), "origin": (["JFK", "OLD"], "BYTES")}
    found, features = rows_of(store, view(ttl_s=6 * 3600.0), **columns)
    assert found.rows[0, 1] == 30.0 and np.isnan(found.rows[1, 1])
    counts = features.counts.pop()
    assert counts["stale", "weather", ""] == 1 and ("missing", "weather", "temp") not in counts
    refusing = view(ttl_s=6 * 3600.0, features=(replace(TEMP, when_missing="refuse"),))
    found, _ = rows_of(store, refusing, **columns)
    assert "is too old" in str(found.refused[1])


def test_only_the_features_that_the_model_reads_are_taken(store):
    wide = view(table="wide", columns=("temp",), features=(Feature(name="wind"), TEMP))
    store.write("wide", ["JFK"], np.array([[5.0, 30.0]]), np.array([NOW_US]))
    found, _ = rows_of(store, wide, a=([1.0],), origin=(["JFK"], "BYTES"))
    assert found.rows.tolist() == [[1.0, 30.0]]


def test_strings_go_through_the_vocabulary_into_the_categories_of_the_model(store):
    sky = Feature(name="sky", dtype="string", when_missing="default", default="clear")
    clouds = view(table="sky", features=(sky,))
    codes = store.codes("sky", "sky", ["clear", "cloudy", "odd"])
    values = np.array([[float(code)] for code in codes] + [[np.nan]])
    store.write("sky", ["A", "B", "C", "D"], values, np.full(4, NOW_US))
    signature = Signature(inputs=(Field(name="sky", datatype="BYTES", categories=("cloudy", "clear")), Field(name="a")))
    found, features = rows_of(
        store, clouds, signature=signature, a=([1.0] * 5,), origin=(["A", "B", "C", "D", "E"], "BYTES")
    )
    assert found.rows[[0, 1, 3, 4], 0].tolist() == [1.0, 0.0, 1.0, 1.0]
    assert np.isnan(found.rows[2, 0])  # a category that training never saw, and not a missing value
    assert features.counts.pop()["missing", "weather", "sky"] == 2


def test_features_of_the_request_are_computed_from_it_and_from_looked_up_ones(store):
    hot = FunctionCall(function="greater", arguments=(ColumnValue(name="temp"), ColumnValue(name="limit")))
    weekend = FunctionCall(function="in", arguments=(ColumnValue(name="day"), ConstantValue(value="Sat")))
    trip = FeatureView(
        name="trip", features=(Feature(name="hot", expression=hot), Feature(name="weekend", expression=weekend))
    )
    signature = Signature(inputs=(Field(name="hot"), Field(name="weekend")))
    found, features = rows_of(
        store,
        WEATHER,
        trip,
        signature=signature,
        origin=(["JFK", "JFK"], "BYTES"),
        limit=([20.0, 40.0],),
        day=(["Sat", "Mon"], "BYTES"),
    )
    assert found.rows.tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert features.request.names == ("origin", "day", "limit")
    assert (features.logged_texts, features.logged_inputs) == (("origin", "day"), ("limit", "temp"))
    _, limits, temps = found.seen
    assert limits.view(np.float64).tolist() == [20.0, 40.0] and temps.view(np.float64).tolist() == [30.0, 30.0]


def test_looked_up_strings_and_times_that_only_features_of_the_request_read_are_logged(store):
    built = Feature(name="built", dtype="datetime")
    sky = Feature(name="sky", dtype="string")
    (code,) = store.codes("sky", "sky", ["cloudy"])
    store.write("sky", ["A", "B"], np.array([[float(code), 1e6], [np.nan, np.nan]]), np.full(2, NOW_US))
    dark = FunctionCall(function="equal", arguments=(ColumnValue(name="sky"), ConstantValue(value="cloudy")))
    month = FunctionCall(function="month", arguments=(ColumnValue(name="built"),))
    trip = FeatureView(
        name="trip", features=(Feature(name="dark", expression=dark), Feature(name="month", expression=month))
    )
    signature = Signature(inputs=(Field(name="dark"), Field(name="month")))
    stored = view(table="sky", features=(sky, built))
    found, features = rows_of(store, stored, trip, signature=signature, origin=(["A", "B"], "BYTES"))
    assert (features.texts, features.logged_texts, features.logged_inputs) == (
        ("origin",),
        ("origin", "sky"),
        ("built",),
    )
    assert found.texts == (["A", "B"], ["cloudy", None])
    np.testing.assert_array_equal(found.seen[-1].view(np.float64), [1e6, np.nan])


def test_a_string_may_be_read_by_the_model_and_by_a_feature_of_the_request(store):
    sky = Feature(name="sky", dtype="string", when_missing="default", default="clear")
    (code,) = store.codes("sky", "sky", ["cloudy"])
    store.write("sky", ["A"], np.array([[float(code)]]), np.array([NOW_US]))
    dark = FunctionCall(function="equal", arguments=(ColumnValue(name="sky"), ConstantValue(value="cloudy")))
    late = FunctionCall(function="hour", arguments=(ColumnValue(name="at"),))
    trip = FeatureView(
        name="trip", features=(Feature(name="dark", expression=dark), Feature(name="late", expression=late))
    )
    signature = Signature(
        inputs=(
            Field(name="sky", datatype="BYTES", categories=("clear", "cloudy")),
            Field(name="dark"),
            Field(name="late"),
        )
    )
    columns = {"origin": (["A", "B", "A"], "BYTES"), "at": (["2026-01-01T05:00:00Z", None, "noon"], "BYTES")}
    found, _ = rows_of(store, view(table="sky", features=(sky,)), trip, signature=signature, **columns)
    assert found.rows[:, :2].tolist() == [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]
    assert found.rows[0, 2] == 5.0 and np.isnan(found.rows[1, 2])
    assert "column 'at' cannot hold 'noon'" in str(found.refused[2])


def test_a_computed_string_becomes_a_category_or_a_number_as_the_model_reads_it(store):
    first = FunctionCall(function="coalesce", arguments=(ColumnValue(name="gate"), ConstantValue(value="none")))
    size = FunctionCall(function="lower", arguments=(ColumnValue(name="seats"),))
    trip = FeatureView(
        name="trip",
        features=(
            Feature(name="first", dtype="string", expression=first),
            Feature(name="size", dtype="string", expression=size),
        ),
    )
    signature = Signature(inputs=(Field(name="first", datatype="BYTES", categories=("A", "none")), Field(name="size")))
    columns = {"gate": (["A", None, "Z"], "BYTES"), "seats": (["180", "1E2", None], "BYTES")}
    found, features = rows_of(store, trip, signature=signature, **columns)
    assert found.rows[:2].tolist() == [[0.0, 180.0], [1.0, 100.0]] and np.isnan(found.rows[2]).all()
    counts = features.counts.pop()
    assert counts["missing", "request", "size"] == 1
    assert ("missing", "request", "first") not in counts  # a category that training never saw is not missing


def test_a_time_of_the_request_may_have_another_one_in_its_place(store):
    at = FunctionCall(function="coalesce", arguments=(ColumnValue(name="actual"), ColumnValue(name="planned")))
    trip = FeatureView(
        name="trip", features=(Feature(name="hour", expression=FunctionCall(function="hour", arguments=(at,))),)
    )
    columns = {
        "actual": (["2026-01-01T07:30:00+02:00", None], "BYTES"),
        "planned": (["2026-01-01T04:00:00Z"] * 2, "BYTES"),
    }
    found, _ = rows_of(store, trip, signature=Signature(inputs=(Field(name="hour"),)), **columns)
    assert found.rows.tolist() == [[5.0], [4.0]] and not found.refused


def test_while_the_store_is_away_requests_are_answered_without_it_and_it_is_tried_again(store, monkeypatch):
    with serving(model(store, view(features=(replace(TEMP, when_missing="default", default=15.0),)))) as server:
        inputs = tensor("a", [10.0]), tensor("origin", ["JFK"], "BYTES")
        monkeypatch.setattr("headway.serving.routing.online_features.RETRY_S", 0.0)
        store.away = True
        assert infer(server, *inputs).value == 12.5
        store.away = False
        assert infer(server, *inputs).value == 20.0
        lines = server.plane.metrics.text({}).decode().splitlines()
        assert 'headway_feature_away_total{model="flights"} 1' in lines
        assert 'headway_feature_missing_total{model="flights",view="weather",feature="temp"} 1' in lines
        assert 'headway_feature_rows_total{model="flights",view="weather"} 2' in lines
        assert 'headway_feature_lookup_seconds_count{model="flights"} 2' in lines


def test_after_a_failure_the_store_is_left_alone_for_a_moment(store):
    features = OnlineFeatures(NUMBERS, (WEATHER,), store)
    store.away = True
    features.get_online_features(np.array([[1.0, np.nan]]), [""])
    store.away = False
    features.get_online_features(np.array([[1.0, np.nan]]), [""])
    assert [counts["away", "", ""] for counts in features.counts] == [1, 1]


def test_a_store_that_stays_away_is_logged_once_and_again_when_it_answers(store, monkeypatch, caplog):
    monkeypatch.setattr("headway.serving.routing.online_features.RETRY_S", 0.0)
    features = OnlineFeatures(NUMBERS, (WEATHER,), store)
    for store.away in (True, True, True, False, False):
        features.get_online_features(np.array([[1.0, np.nan]]), [""])
    assert [("away", "", "") in counts for counts in features.counts] == [True, True, True, False, False]
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "features are missing until the online store answers: the store for online does not answer"),
        ("WARNING", "the online store answers again"),
    ]


def test_a_vocabulary_that_cannot_be_read_leaves_its_view_missing(store, monkeypatch):
    def strings(*_):
        raise StoreUnavailable("the store for online does not answer", role="online")

    monkeypatch.setattr(store, "strings", strings)
    store.write("sky", ["A"], np.array([[0.0]]), np.array([NOW_US]))
    clouds = view(table="sky", features=(Feature(name="sky", dtype="string"),))
    signature = Signature(inputs=(Field(name="sky", datatype="BYTES", categories=("clear",)),))
    found, features = rows_of(store, clouds, signature=signature, origin=(["A"], "BYTES"))
    assert np.isnan(found.rows).all() and features.counts.pop()["away", "", ""] == 1


def test_a_store_that_is_away_at_the_start_does_not_keep_a_release_from_being_served(store):
    store.away = True
    loaded = model(store, WEATHER)
    store.away = False
    with serving(loaded) as server:
        assert infer(server, tensor("a", [10.0]), tensor("origin", ["JFK"], "BYTES")).value == 20.0


def test_a_view_without_a_table_names_it_and_the_command_that_makes_it(store):
    with pytest.raises(
        StoreError, match=r"view 'weather@v2' has no table in the online store: 'weather\.v2'"
    ) as caught:
        model(store, view(version=2))
    assert caught.value.hint == "headway features materialize weather"


def test_a_release_with_a_view_is_not_served_without_an_online_store():
    with pytest.raises(StoreError, match="view 'weather' needs an online store") as caught:
        model(None, WEATHER)
    assert caught.value.hint == "serve the release with headway serve"


def test_a_feature_of_the_request_without_an_expression_is_refused(store):
    with pytest.raises(Refused, match="invalid feature view 'trip': 'temp' has no expression"):
        model(store, FeatureView(name="trip", features=(TEMP,)))


def test_a_table_of_another_width_is_refused(store):
    with pytest.raises(Refused, match=r"has 2 columns, its table 'weather\.v1' has 1"):
        model(store, view(features=(TEMP, Feature(name="a"))))


def test_the_log_keeps_values_times_versions_and_entities(tmp_path, store):
    buffers, loaded = LogBuffers(1, 1 << 20), model(store, WEATHER)
    with serving(loaded, log=worker_log(buffers)) as server:
        for _ in range(2):
            infer(server, tensor("a", [1.0, 2.0]), tensor("origin", ["JFK", None], "BYTES"))
        infer(server, tensor("a", [3.0]), tensor("origin", ["LGA"], "BYTES"))
    log_writer(tmp_path, buffers).write()
    (path,) = segments.segments(traffic.log_folder(tmp_path, "flights", loaded.digest))
    table = segments.load(path)
    assert table["text.origin"] == ["JFK", None, "JFK", None, "LGA"]
    assert list(table["version.weather"]) == [1] * 5
    assert list(table["seen_us.weather"]) == [NOW_US, -1, NOW_US, -1, NOW_US]
    assert table["in.temp"][0] == 30.0 and np.isnan(table["in.temp"][1])
