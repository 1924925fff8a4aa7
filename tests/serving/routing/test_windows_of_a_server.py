"""Requests whose features are windows: aggregated in the server at the time of the request."""

from __future__ import annotations

import json
import time

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from running import bundle, release, serving
from tests.serving.flushed_log import log_writer, worker_log
from tests.serving.plain_client import post

from headway.core.errors import StoreError, StoreUnavailable
from headway.core.feature_view import (
    Aggregation,
    ColumnValue,
    ConstantValue,
    Feature,
    FeatureSource,
    FeatureView,
    FunctionCall,
)
from headway.core.release import SelfTest
from headway.core.variant import Field, Signature
from headway.features.compute import event_rows
from headway.features.materialize_windows import events_by_entity
from headway.features.online.sqlite import SqliteOnlineStore
from headway.features.window_state import head_key, merge_events
from headway.features.windows import aggregate
from headway.serving.loading import load_model
from headway.serving.telemetry.prediction_log import LogBuffers
from headway.storage import segments, traffic

NOW_US, HOUR_US = time.time_ns() // 1000, 3_600_000_000
SPENT = Feature(name="spent", aggregation=Aggregation(function="sum", window_s=7_200, column="amount"))
PAID = Feature(
    name="paid", dtype="integer", aggregation=Aggregation(function="count", window_s=86_400, column="amount")
)
SHOP = Feature(name="shop", dtype="string", aggregation=Aggregation(function="last", window_s=86_400, column="place"))
LIMIT = Feature(name="limit")
SOURCE = FeatureSource(location="payments.parquet", event_time="at")
WINDOWS = FeatureView(name="pays", version=1, entities=("card",), source=SOURCE, features=(SPENT, PAID, SHOP))
MIXED = replace(WINDOWS, name="mixed", features=(LIMIT, SPENT, PAID), ttl_s=3_000.0)
NUMBERS = Signature(inputs=(Field(name="a"), Field(name="spent"), Field(name="paid")))


class CountingStore(SqliteOnlineStore):
    """A store that counts its reads, and can be away."""

    away, reads = False, 0

    def read_with_states(self, requests, states):
        if self.away:
            raise StoreUnavailable("the store for online does not answer", role="online")
        self.reads += 1
        return super().read_with_states(requests, states)


@pytest.fixture
def store(tmp_path):
    found = CountingStore(tmp_path / "online")
    yield found
    found.close()


def push(store, view, *events):
    """Push events: card, hours before now, amount, place."""
    cards, hours, amounts, places = zip(*events, strict=True)
    at = pl.Series([NOW_US - round(hour * HOUR_US) for hour in hours]).cast(pl.Datetime("us", "UTC"))
    table = pl.DataFrame({"card": cards, "at": at, "amount": amounts, "place": places, "limit": amounts}).cast(
        {"amount": pl.Float64}
    )
    rows = event_rows(view, table)
    merge_events(store, view, events_by_entity(store, view, rows, are_numbered=False), now_us=NOW_US)
    return rows


def model(store, *views, signature=NUMBERS):
    test = SelfTest(rows=((1.0,) * len(signature.inputs),), answers=((1.0,),))
    names = {column.name for column in signature.inputs}
    views = [
        view
        if view.is_on_demand
        else replace(view, columns=tuple(one.name for one in view.features if one.name in names))
        for view in views
    ]
    return load_model(bundle(replace(release(signature=signature, test=test), views=tuple(views))), store)


def answers(store, *views, cards, signature=NUMBERS):
    """Return the rows of requests with these cards, and 1 as `a`."""
    loaded = model(store, *views, signature=signature)
    inputs = [{"name": "card", "shape": [len(cards)], "datatype": "BYTES", "data": list(cards)}]
    if "a" in signature.names:
        inputs.append({"name": "a", "shape": [len(cards)], "datatype": "FP64", "data": [1.0] * len(cards)})
    decoded = loaded.reader.read(json.dumps({"inputs": inputs}).encode())
    store.reads = 0
    found = loaded.features.get_online_features(decoded.rows, [decoded.key] * len(decoded.rows))
    return found, loaded.features


EVENTS = (("A", 1, 5.0, "north"), ("A", 1.5, 2.5, "south"), ("A", 5, 1.0, "east"), ("B", 30, 9.0, "west"))


def test_windows_are_aggregated_at_the_request_and_an_entity_without_events_has_none(store):
    push(store, WINDOWS, *EVENTS)
    found, features = answers(store, WINDOWS, cards=["A", "B", "C", None, "A"])
    assert found.rows[:, 2].tolist()[:3] == [3.0, 0.0, 0.0] and np.isnan(found.rows[3, 1:]).all()
    assert found.rows[0].tolist() == found.rows[4].tolist() == [1.0, 7.5, 3.0] and np.isnan(found.rows[1:4, 1]).all()
    newest, asked = found.seen
    assert newest.tolist() == [NOW_US - HOUR_US, -1, -1, -1, NOW_US - HOUR_US]
    assert len(set(asked.tolist())) == 1 and 0 <= time.time_ns() // 1000 - asked[0] < 60_000_000
    counts = features.counts.pop()
    assert counts["missing", "pays", "spent"] == 3 and counts["missing", "pays", "paid"] == 1


def test_rows_and_windows_of_all_views_are_one_read(store):
    push(store, WINDOWS, *EVENTS)
    push(store, MIXED, *EVENTS)
    store.write("mixed.v1", ["A"], np.array([[100.0, np.nan, np.nan]]), np.array([NOW_US]))
    mixed = replace(MIXED, features=(LIMIT, replace(SPENT, name="sum"), PAID))
    signature = Signature(inputs=(Field(name="limit"), Field(name="sum"), Field(name="spent")))
    found, _ = answers(store, WINDOWS, mixed, cards=["A"], signature=signature)
    assert found.rows.tolist() == [[100.0, 7.5, 7.5]] and store.reads == 1
    assert [int(times[0]) for times in found.seen[:2]] == [NOW_US - HOUR_US, NOW_US]


def test_the_ttl_is_of_rows_and_not_of_windows(store):
    push(store, MIXED, *EVENTS)
    store.write("mixed.v1", ["A"], np.array([[100.0, np.nan, np.nan]]), np.array([NOW_US - HOUR_US]))
    refusing = replace(MIXED, features=(LIMIT, SPENT, replace(PAID, when_missing="refuse")))
    signature = Signature(inputs=(Field(name="limit"), Field(name="spent"), Field(name="paid")))
    found, features = answers(store, refusing, cards=["A", "Z"], signature=signature)
    assert np.isnan(found.rows[0, 0]) and found.rows[0, 1:].tolist() == [7.5, 3.0] and not found.refused
    counts = features.counts.pop()
    assert counts["stale", "mixed", ""] == 1 and counts["missing", "mixed", "limit"] == 1
    only_windows, features = answers(store, MIXED, cards=["A"])
    assert only_windows.rows.tolist() == [[1.0, 7.5, 3.0]] and ("stale", "mixed", "") not in features.counts.pop()


def test_a_missing_window_is_a_default_or_refuses_the_row(store):
    push(store, WINDOWS, *EVENTS)
    view = replace(WINDOWS, features=(replace(SPENT, when_missing="default", default=-1.0), PAID, SHOP))
    assert answers(store, view, cards=["B"])[0].rows.tolist() == [[1.0, -1.0, 0.0]]
    view = replace(WINDOWS, features=(replace(SPENT, when_missing="refuse"), PAID, SHOP))
    found, _ = answers(store, view, cards=["A", "B"])
    assert list(found.refused) == [1] and "feature 'spent' of pays@v1 is missing" in str(found.refused[1])


def test_the_last_string_is_a_category_and_features_of_the_request_read_windows(store):
    push(store, WINDOWS, *EVENTS)
    is_north = FunctionCall(function="equal", arguments=(ColumnValue(name="shop"), ConstantValue(value="north")))
    rate = FunctionCall(function="divide", arguments=(ColumnValue(name="spent"), ColumnValue(name="paid")))
    trip = FeatureView(
        name="trip",
        features=(Feature(name="north", dtype="boolean", expression=is_north), Feature(name="rate", expression=rate)),
    )
    places = Field(name="shop", datatype="BYTES", categories=("east", "north", "west"))
    signature = Signature(inputs=(places, Field(name="north"), Field(name="rate")))
    loaded = replace(WINDOWS, columns=("spent", "paid", "shop"))
    test = SelfTest(rows=((1.0,) * 3,), answers=((1.0,),))
    served = load_model(bundle(replace(release(signature=signature, test=test), views=(loaded, trip))), store)
    body = {"inputs": [{"name": "card", "shape": [2], "datatype": "BYTES", "data": ["A", "B"]}]}
    decoded = served.reader.read(json.dumps(body).encode())
    found = served.features.get_online_features(decoded.rows, ["", ""])
    assert found.rows[0].tolist() == [1.0, 1.0, 2.5] and np.isnan(found.rows[1, [0, 2]]).all()


def test_the_windows_of_a_damaged_state_are_missing_and_those_of_others_are_not(store, caplog):
    push(store, WINDOWS, *EVENTS)
    [[state]] = store.read_with_states([], [(WINDOWS.states_table, [head_key("A")])])[1]
    store.replace_states(WINDOWS.states_table, {head_key("A"): state}, {head_key("A"): state[:-1]})
    found, _ = answers(store, WINDOWS, cards=["A", "B"])
    assert np.isnan(found.rows[0, 1:]).all() and found.rows[1, 2] == 0 and "damaged" in caplog.text


def test_while_the_store_is_away_windows_are_missing(store):
    push(store, WINDOWS, *EVENTS)
    loaded = model(store, WINDOWS)
    with serving(loaded) as server:
        store.away = True
        inputs = [
            {"name": "a", "shape": [1], "datatype": "FP64", "data": [1.0]},
            {"name": "card", "shape": [1], "datatype": "BYTES", "data": ["A"]},
        ]
        assert post(server.port, "/v2/models/flights/infer", {"inputs": inputs}).value is None


def test_a_release_whose_states_are_missing_names_the_tables(store):
    with pytest.raises(StoreError, match=r"'pays@v1' has no table in the online store: 'pays\.v1\.windows'") as caught:
        model(store, WINDOWS)
    assert caught.value.hint == "headway features materialize pays"
    store.write("mixed.v1", ["A"], np.array([[1.0, np.nan, np.nan]]), np.array([NOW_US]))
    model(store, MIXED, signature=Signature(inputs=(Field(name="limit"),)))  # reads no window


def test_the_log_keeps_the_time_at_which_windows_were_aggregated(tmp_path, store):
    push(store, WINDOWS, *EVENTS)
    buffers, loaded = LogBuffers(1, 1 << 20), model(store, WINDOWS)
    with serving(loaded, log=worker_log(buffers)) as server:
        for cards in (["A"], ["B", "A"]):
            inputs = [
                {"name": "a", "shape": [len(cards)], "datatype": "FP64", "data": [1.0] * len(cards)},
                {"name": "card", "shape": [len(cards)], "datatype": "BYTES", "data": cards},
            ]
            post(server.port, "/v2/models/flights/infer", {"inputs": inputs})
    log_writer(tmp_path, buffers).write()
    [path] = segments.segments(traffic.log_folder(tmp_path, "flights", loaded.digest))
    table = segments.load(path)
    assert list(table["seen_us.pays"]) == [NOW_US - HOUR_US, -1, NOW_US - HOUR_US]
    assert all(0 <= at - asked < 60_000_000 for at, asked in zip(table["at_us"], table["windows_us"], strict=True))


@pytest.mark.slow
@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("AB"),
            st.floats(0, 26).map(lambda hours: round(hours, 1)),
            st.sampled_from([0.5, 1.0, 2.0**60, -1e-3, None]),
            st.sampled_from(["x", "y", None]),
        ),
        min_size=1,
        max_size=40,
    ),
    st.integers(1, 5),
)
def test_what_is_served_equals_the_offline_answer_whatever_is_pushed_late_or_twice(tmp_path_factory, events, parts):
    store = CountingStore(tmp_path_factory.mktemp("online"))
    rows = [push(store, WINDOWS, *events[start::parts]) for start in range(min(parts, len(events)))]
    push(store, WINDOWS, *events[::2])
    found, _ = answers(store, WINDOWS, cards=["A", "B"])
    asked = pl.Series([int(found.seen[-1][0])] * 2).cast(pl.Datetime("us", "UTC"))
    requests = pl.DataFrame({"card": ["A", "B"], "event_time": asked})
    windows = {feature.name: feature.aggregation for feature in (SPENT, PAID)}
    known = pl.concat(rows, how="vertical_relaxed").unique(maintain_order=True)
    expected = aggregate(known, requests, windows, entities=["card"]).fill_null(float("nan")).to_numpy()
    assert np.array_equal(found.rows[:, 1:], expected, equal_nan=True)
    store.close()
