"""Push rows: good ones are stored, bad ones are refused by their line, and nothing is lost."""

from __future__ import annotations

import json
from contextlib import closing

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.features.test_materialize import NOW, VIEW, day, served

from headway.core.errors import DataError
from headway.core.feature_view import Aggregation, Feature, FeatureSource, FeatureView
from headway.features.expressions import parse_expression
from headway.features.online.sqlite import SqliteOnlineStore
from headway.features.push import MAX_LINE_BYTES, lines_of, push_lines
from headway.features.window_state import MAX_TILE_EVENTS, WindowPlan


@pytest.fixture
def store(tmp_path):
    with closing(SqliteOnlineStore(tmp_path)) as opened:
        yield opened


def line(**changes: object) -> bytes:
    row = {"origin": "JFK", "at": "2026-01-02T00:00:00Z", "stored": "2026-01-02T01:00:00Z"}
    return json.dumps({**row, "temp": 1.5, "sky": "rain", "wet": True, **changes}).encode() + b"\n"


def push(store, *lines: bytes, view: FeatureView = VIEW):
    refused = []
    done = push_lines(store, view, lines, refuse=refused.append, now=lambda: NOW)
    return done, refused


def test_rows_are_stored_newest_first_and_an_older_one_changes_nothing(store):
    done, refused = push(
        store, line(), b"\n", line(origin="EWR", temp=None), line(at="2026-01-01T00:00:00Z", temp=9), line(temp=2)
    )
    assert served(store, "JFK", "EWR") == [[2.0, "rain", 1.0], [None, "rain", 1.0]]
    assert (done.rows, done.stored, done.refused, refused) == (4, 2, 0, [])
    assert push(store, line(at="2026-01-01T12:00:00Z"))[0].stored == 0


BAD = {
    b"{": "Input data was truncated",
    b"[1]\n": "a line is not an object",
    b'{"origin": "\x80"}': "can't decode byte 0x80",
    b'{"origin": "JFK"}\n': "no value of at, sky, stored, temp, wet",
    line(typo=1): "the view does not read typo",
    line(origin=None): "origin is missing",
    line(at=""): "at is missing",
    line(at="yesterday"): "not a time",
    line(temp="warm"): "a value is not a number: warm",
    line(temp=[1]): "temp is not one value",
    line(wet=2): "a value is not a boolean: 2",
    line(origin=1.5): "entity 'origin' is not a whole number",
    line(temp=2**64): "temp is beyond 64 bits",
    line(at="2026-02-01T00:00:00Z"): "its time is in the future",
    line(sky="x" * MAX_LINE_BYTES): "a line has at most",
    b"\xff\xfe\n": "malformed",
    b"[" * 5_000 + b"\n": "truncated",
}


def test_each_bad_line_is_refused_with_its_number_and_the_rest_is_stored(store):
    lines = [part for number, bad in enumerate(BAD) for part in (line(origin=f"k{number}"), bad)]
    done, refused = push(store, *lines)
    refused = sorted(refused, key=lambda one: one.number)
    assert [one.number for one in refused] == list(range(2, 2 * len(BAD) + 1, 2)), refused
    for one, (text, reason) in zip(refused, BAD.items(), strict=True):
        assert reason.lower() in one.reason.lower(), one
        assert one.line == text.decode("utf-8", "replace").rstrip("\n")
    assert (done.rows, done.stored, done.refused) == (2 * len(BAD), len(BAD), len(BAD))
    assert served(store, *(f"k{number}" for number in range(len(BAD)))) == [[1.5, "rain", 1.0]] * len(BAD)


@settings(max_examples=20)
@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_every_line_is_stored_or_refused_in_any_mixture(tmp_path_factory, good):
    with closing(SqliteOnlineStore(tmp_path_factory.mktemp("online"))) as store:
        lines = [line(origin=f"k{number}") if is_good else b"no\n" for number, is_good in enumerate(good)]
        done, refused = push(store, *lines)
        assert [one.number - 1 for one in refused] == [number for number, is_good in enumerate(good) if not is_good]
        assert done.stored == sum(good)


def test_features_are_computed_as_those_of_the_source_are(store):
    view = FeatureView(
        name="w",
        entities=("origin",),
        source=FeatureSource(location="x", event_time="at"),
        features=(Feature(name="celsius", expression=parse_expression("(temp - 32) / 1.8")),),
    )
    frame = pl.DataFrame({"origin": [7], "at": [day(1)], "temp": [50.0]})
    done, refused = push(store, *lines_of(frame), view=view)
    assert (done.stored, refused) == (1, []) and served(store, "7", view=view) == [[pytest.approx(10.0)]]


def test_a_view_without_rows_of_its_own_is_refused(store):
    for view, message in (
        (FeatureView(name="v", features=VIEW.features), "computed from the request"),
        (FeatureView(name="v", source=VIEW.source, sql="SELECT 1", features=VIEW.features), "has a query"),
    ):
        with pytest.raises(DataError, match=message):
            push(store, line(), view=view)


def window(function: str, column: str = "", **fields: object) -> Feature:
    return Feature(
        name=f"{function}_{column}",
        aggregation=Aggregation(function=function, window_s=86_400 * 30, column=column),  # type: ignore[arg-type]
        **fields,  # type: ignore[arg-type]
    )


WINDOWED = FeatureView(
    name="windowed",
    version=1,
    entities=("origin",),
    source=VIEW.source,
    features=(
        window("sum", "temp"),
        window("count", dtype="integer"),
        window("last", "sky", dtype="string"),
        window("max", "stored", dtype="datetime"),
        Feature(name="temp"),
    ),
)


def windows_of(store, key: str, view: FeatureView = WINDOWED) -> list[object]:
    plan, at_us = WindowPlan.of_view(view), int(NOW.timestamp() * 1e6)
    [states] = store.read_with_states([], [(view.states_table, plan.keys_at(key, at_us))])[1]
    return plan.answer(key, dict(zip(plan.keys_at(key, at_us), states, strict=True)), at_us)


def windowed(**changes: object) -> bytes:
    row = json.loads(line(**changes))
    del row["wet"]
    return json.dumps(row).encode()


def test_a_pushed_row_is_an_event_of_windows_that_counts_once_however_late(store):
    lines = windowed(), windowed(temp=2), windowed(), windowed(at="2026-01-01T00:00:00Z", temp=4, sky="snow")
    done, refused = push(store, *lines, view=WINDOWED)
    assert (done.rows, done.stored, refused) == (4, 4, [])
    stored_us = int(day(1).timestamp() * 1e6) + 3_600_000_000
    assert windows_of(store, "JFK")[:2] == [7.5, 3] and windows_of(store, "JFK")[3] == stored_us
    assert store.strings(WINDOWED.states_table, "sky", [windows_of(store, "JFK")[2]]) == ["rain"]
    assert served(store, "JFK", view=WINDOWED)[0][4] == 1.5
    assert push(store, *lines, view=WINDOWED)[0].stored == 0 and windows_of(store, "JFK")[1] == 3


def test_a_row_that_no_window_can_aggregate_is_refused_by_its_line(store):
    bad = windowed(temp="warm"), windowed(sky=3), windowed(at="2026-02-01T00:00:00Z"), b"{}"
    done, refused = push(store, windowed(), *bad, windowed(origin="EWR"), view=replace(WINDOWED, features=WINDOWS))
    assert (done.stored, [one.number for one in refused]) == (2, [5, 2, 3, 4])
    assert "'sum_temp' is the sum, a number, of 'temp', which has strings" in refused[1].reason
    assert "'last_sky' is a string" in refused[2].reason


WINDOWS = WINDOWED.features[:4]


def test_events_beyond_what_an_entity_may_have_are_refused_and_those_of_others_are_stored(store):
    view = replace(WINDOWED, features=WINDOWS)
    many = [windowed(temp=number) for number in range(MAX_TILE_EVENTS + 3)]
    done, refused = push(store, windowed(origin="EWR"), *many, view=view)
    assert done.refused == len(refused) == 3 and "more than 16,384 events" in refused[0].reason
    assert windows_of(store, "EWR", view)[1] == 1 and windows_of(store, "JFK", view)[1] == MAX_TILE_EVENTS
