"""Windowed aggregations against the filter of each request in plain Python, and their text form."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.errors import ConfigError, DataError
from headway.core.feature_view import DAY_S, HOUR_S, Aggregation
from headway.features import windows
from headway.features.windows import aggregate, parse_window

START = datetime(2026, 3, 1, tzinfo=UTC)
FUNCTIONS = ("count", "sum", "mean", "min", "max", "last", "distinct")
TIME = pl.Datetime("us", "UTC")
STEP_S = 1_800
COMPILED = windows.kernel

steps = st.integers(-8, 60)
integers = st.none() | st.integers(-3, 3) | st.integers(-(2**56), 2**56)
floats = st.none() | st.sampled_from((0.0, -0.0, 1.0, 0.1, math.nan)) | st.floats(allow_nan=False, allow_infinity=False)
events_of = st.lists(
    st.tuples(st.sampled_from("AB"), steps, st.none() | st.integers(-4, 30), integers, floats, st.sampled_from("xyz")),
    max_size=14,
)
requests_of = st.lists(st.tuples(st.sampled_from("ABC"), steps, st.sampled_from((-1, 0, 1))), max_size=10)


@pytest.fixture(autouse=True, scope="module", params=["compiled", "numpy"] if COMPILED else ["numpy"])
def passes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Take the passes over events by each implementation in turn."""
    windows.kernel = COMPILED if request.param == "compiled" else None
    yield
    windows.kernel = COMPILED


def time_of(step: int | None, extra_us: int = 0) -> datetime | None:
    return None if step is None else START + timedelta(seconds=step * STEP_S, microseconds=extra_us)


def events_table(events: list[tuple[Any, ...]]) -> pl.DataFrame:
    rows = [
        (who, time_of(step), None if late is None else time_of(step + late), *values)
        for who, step, late, *values in events
    ]
    schema = {"who": pl.String, "event_time": TIME, "created_time": TIME}
    return pl.DataFrame(
        rows, schema={**schema, "number": pl.Int64, "real": pl.Float64, "text": pl.String}, orient="row"
    )


def requests_table(requests: list[tuple[str, int, int]]) -> pl.DataFrame:
    rows = [(who, time_of(step, extra)) for who, step, extra in requests]
    return pl.DataFrame(rows, schema={"who": pl.String, "time": TIME}, orient="row")


def brute_force(events: pl.DataFrame, who: str, at: datetime, one: Aggregation) -> Any:
    """Filter the events of one request, and aggregate them with exact arithmetic."""
    seen = [
        (event, created or event, index, row[one.column] if one.column else True)
        for index, row in enumerate(events.iter_rows(named=True))
        for event, created in [(row["event_time"], row["created_time"])]
        if row["who"] == who and at - timedelta(seconds=one.window_s) < event <= at and (created or event) <= at
    ]
    present = [one for one in seen if one[3] is not None and one[3] == one[3]]
    values = [value for *_, value in present]
    if one.function in ("count", "distinct"):
        return len(values) if one.function == "count" else len(set(values))
    if not values:
        return None
    if one.function in ("sum", "mean"):
        total = sum(map(Fraction, values))
        return total if one.function == "sum" else total / len(values)
    return {"min": min, "max": max, "last": lambda _: max(present)[3]}[one.function](values)


def expect_equal(found: Any, expected: Any) -> None:
    if isinstance(expected, Fraction) and isinstance(found, float):
        limit = Fraction(2) ** 1024
        expected = math.copysign(math.inf, expected) if abs(expected) >= limit else float(expected)
        assert found == pytest.approx(expected, rel=1e-15, abs=5e-324) or abs(expected) > 1e308
    else:
        assert found == expected


@pytest.mark.slow
@given(events_of, requests_of, st.sampled_from((1, 5, 24)))
def test_every_window_equals_the_filter_of_each_request(events, requests, hours):
    table, at = events_table(events), requests_table(requests)
    numeric = {
        f"{function} {column}": Aggregation(function=function, window_s=hours * HOUR_S, column=column)
        for function in FUNCTIONS
        for column in ("number", "real")
    }
    text = {
        f"{function} text": Aggregation(function=function, window_s=hours * HOUR_S, column="text")
        for function in ("count", "min", "max", "last", "distinct")
    }
    rows = {"rows": Aggregation(function="count", window_s=hours * HOUR_S), **numeric, **text}

    found = aggregate(table, at, rows, entities=["who"], time="time")

    assert len(found) == len(at)
    for name, one in rows.items():
        for index, (who, time) in enumerate(at.iter_rows()):
            expect_equal(found[name][index], brute_force(table, who, time, one))


def drawn_tables(n_entities: int, dtype: Any, order: str, *, events: int = 1_500, requests: int = 400) -> Any:
    """Draw events and requests whose times repeat, and most of which lie in one minute of three days."""
    draw = np.random.default_rng(n_entities)

    def times(count: int) -> Any:
        seconds = np.where(draw.random(count) < 0.6, draw.integers(0, 60, count), draw.integers(0, 3 * DAY_S, count))
        return START.timestamp() + seconds

    def entities(count: int) -> pl.Series:
        return (pl.Series(draw.integers(0, n_entities, count)) * 3).cast(dtype)

    event_s = np.sort(times(events)) if order == "sorted" else times(events)
    late_s = draw.choice([0, 0, 5, 40_000], events) if order == "late" else np.zeros(events)
    table = pl.DataFrame({"who": entities(events), "event_s": event_s, "created_s": event_s + late_s})
    values = pl.DataFrame({"number": draw.integers(-50, 50, events), "real": draw.normal(size=events)})
    at = pl.DataFrame({"who": entities(requests), "at_s": times(requests)})
    as_times = [
        pl.from_epoch((pl.col(f"{name}_s") * 10**6).cast(pl.Int64), "us") for name in ("event", "created", "at")
    ]
    table = table.hstack(values).with_columns(event_time=as_times[0], created_time=as_times[1])
    return table, at.with_columns(time=as_times[2])


def filtered(table: pl.DataFrame, at: pl.DataFrame, window_s: int, column: str) -> dict[str, list[Any]]:
    """Compute all functions by a mask of the events of each request."""
    events = {name: table[name].to_numpy() for name in ("who", "event_s", "created_s", column)}
    found: dict[str, list[Any]] = {function: [] for function in FUNCTIONS}
    for who, at_s in at.select("who", "at_s").iter_rows():
        since = (events["event_s"] > at_s - window_s) & (events["event_s"] <= at_s) & (events["created_s"] <= at_s)
        row = np.flatnonzero(since & (events["who"] == who))
        values = events[column][row].tolist()
        newest = max(row, key=lambda one: (events["event_s"][one], events["created_s"][one], one), default=None)
        found["count"].append(len(values))
        found["distinct"].append(len(set(values)))
        found["sum"].append(math.fsum(values) if values else None)
        found["mean"].append(math.fsum(values) / len(values) if values else None)
        found["min"].append(min(values, default=None))
        found["max"].append(max(values, default=None))
        found["last"].append(None if newest is None else events[column][newest])
    return found


@pytest.mark.parametrize("order", ["sorted", "shuffled", "late"])
@pytest.mark.parametrize(("n_entities", "dtype"), [(1, pl.Int64), (3, pl.UInt8), (300, pl.Int32), (300, pl.String)])
def test_events_in_any_order_of_one_or_many_entities_give_what_filters_give(n_entities, dtype, order):
    table, at = drawn_tables(n_entities, dtype, order)
    for column in ("number", "real"):
        wanted = {one: Aggregation(function=one, window_s=DAY_S, column=column) for one in FUNCTIONS}

        found = aggregate(table, at, wanted, entities=["who"], time="time")

        for name, expected in filtered(table, at, DAY_S, column).items():
            answers = found[name].to_list()
            assert [one is None for one in answers] == [one is None for one in expected], name
            pairs = [(one, other) for one, other in zip(answers, expected, strict=True) if other is not None]
            assert [one for one, _ in pairs] == pytest.approx([other for _, other in pairs], rel=1e-13), name


def test_entities_of_small_integers_are_distinguished_over_their_whole_range():
    rows = pl.DataFrame({"who": pl.Series([-128, 127, 0, 127], dtype=pl.Int8), "event_time": [START] * 4})
    at = pl.DataFrame({"who": pl.Series([127, -128], dtype=pl.Int8), "time": [START, START]})
    wanted = {"n": parse_window("count() over 1h")}
    assert aggregate(rows, at, wanted, entities=["who"], time="time")["n"].to_list() == [2, 1]


def test_more_entities_and_time_than_one_number_holds_are_put_in_order():
    count = 2_000
    at = pl.DataFrame(
        {"who": range(count), "time": [datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)] * 1_000}
    )
    rows = at.rename({"time": "event_time"}).reverse()
    wanted = {"n": parse_window("count() over 1h")}
    assert aggregate(rows, at.reverse(), wanted, entities=["who"], time="time")["n"].to_list() == [1] * count


def test_entities_beyond_those_of_the_requests_are_not_seen():
    days = [START] * 4
    rows = pl.DataFrame({"who": [-(2**63), 2**63 - 1, 5, None], "event_time": days}, schema_overrides={"who": pl.Int64})
    at = pl.DataFrame({"who": [5, 6], "time": [START, START]})
    wanted = {"n": parse_window("count() over 1h")}
    for events in (rows, rows.drop_nulls()):
        assert aggregate(events, at, wanted, entities=["who"], time="time")["n"].to_list() == [1, 0]


def value_at(values: list[Any], dtype: Any, function: Any, *, hours: int = 1) -> Any:
    """Aggregate values of one entity, one every hour, at the time of the last."""
    times = [START + timedelta(hours=hour) for hour in range(len(values))]
    rows = pl.DataFrame({"who": ["A"] * len(values), "event_time": times, "v": pl.Series(values, dtype=dtype)})
    at = pl.DataFrame({"who": ["A"], "time": [times[-1]]})
    one = Aggregation(function=function, window_s=hours * HOUR_S, column="v")
    return aggregate(rows, at, {"f": one}, entities=["who"], time="time")["f"][0]


@pytest.mark.parametrize("huge", [1e300, -1.7e308, 1e20])
def test_a_window_after_a_huge_value_is_not_changed_by_it(huge):
    assert value_at([huge, 0.1, 0.2], pl.Float64, "sum", hours=2) == 0.1 + 0.2
    assert value_at([huge, 3e-310, 1e-310], pl.Float64, "sum", hours=2) == 3e-310 + 1e-310


def test_a_window_after_a_value_near_the_smallest_is_not_changed_by_it():
    values = [math.ldexp(1 + 2**-52, -975), 2.0**-1030]
    rows = pl.DataFrame({"who": "A", "event_time": [START, START + timedelta(minutes=40)], "v": values})
    at = pl.DataFrame({"who": "A", "time": [START + timedelta(minutes=minutes) for minutes in (0, 50, 70)]})
    found = aggregate(rows, at, {"f": parse_window("sum(v) over 1h")}, entities=["who"], time="time")["f"]
    assert found.to_list() == [values[0], sum(values), values[1]]


def test_values_that_cancel_leave_what_remains():
    assert value_at([1e16, 1.0, -1e16], pl.Float64, "sum", hours=3) == 1.0
    assert value_at([1e300, 1.0, -1e300], pl.Float64, "sum", hours=3) == 1.0


def test_infinite_values_count_only_in_their_windows():
    assert value_at([math.inf, 1.0], pl.Float64, "sum") == 1.0
    assert value_at([math.inf, 1.0], pl.Float64, "sum", hours=2) == math.inf
    assert math.isnan(value_at([math.inf, -math.inf], pl.Float64, "sum", hours=2))


def test_sums_of_integers_are_exact_to_64_bits_and_refused_beyond():
    assert value_at([2**62, 2**62 - 1], pl.Int64, "sum", hours=2) == 2**63 - 1
    assert value_at([2**63 + 5, 2**53 + 1], pl.UInt64, "sum") == 2**53 + 1
    assert value_at([2**62, 2**62], pl.Int64, "mean", hours=2) == 2.0**62
    assert value_at([100, 100], pl.Int8, "sum", hours=2) == 200
    with pytest.raises(DataError, match="beyond the integers of 64 bits"):
        value_at([2**62, 2**62], pl.Int64, "sum", hours=2)


def test_the_smallest_integer_is_a_value_like_others():
    assert value_at([-(2**63), 5], pl.Int64, "min", hours=2) == -(2**63)
    assert value_at([-(2**63)], pl.Int64, "max") == -(2**63)


def test_times_and_truth_values_have_min_max_and_last():
    later = START + timedelta(days=1)
    assert value_at([later, START], TIME, "max", hours=2) == later
    assert value_at([True, False], pl.Boolean, "sum", hours=2) == 1
    assert value_at([True, False], pl.Boolean, "last", hours=2) is False


def test_several_entity_columns_and_rows_without_an_entity_or_time_keep_their_position():
    rows = pl.DataFrame({"a": ["x", "x", None], "b": [1, 2, 1], "event_time": [START] * 3, "v": [1.0, 2.0, 4.0]})
    at = pl.DataFrame({"a": ["x", None, "x", "x"], "b": [2, 1, 1, 2], "time": [START, START, START, None]})
    wanted = {"v": parse_window("sum(v) over 1h"), "n": parse_window("count() over 1d")}

    found = aggregate(rows, at, wanted, entities=["a", "b"], time="time")

    assert found.to_dict(as_series=False) == {"v": [2.0, None, 1.0, None], "n": [1, None, 1, None]}


def test_no_rows_and_no_requests_give_empty_answers():
    rows, at = events_table([]), requests_table([("A", 0, 0)])
    wanted = {name: parse_window(f"{name}(number) over 1d") for name in FUNCTIONS}
    assert aggregate(rows, at, wanted, entities=["who"], time="time").row(0) == (0, None, None, None, None, None, 0)
    assert aggregate(rows, at.clear(), wanted, entities=["who"], time="time").shape == (0, 7)


def test_a_column_that_cannot_be_aggregated_is_named():
    rows, at = events_table([("A", 0, None, 1, 1.0, "x")]), requests_table([("A", 0, 0)])
    with pytest.raises(DataError, match="'text' is String; sum needs numbers"):
        aggregate(rows, at, {"f": parse_window("sum(text) over 1d")}, entities=["who"], time="time")
    with pytest.raises(DataError, match="no column 'other'"):
        aggregate(rows, at, {"f": parse_window("sum(other) over 1d")}, entities=["who"], time="time")
    with pytest.raises(DataError, match="'number' is Int64, not a time"):
        aggregate(rows, at, {}, entities=["who"], time="time", event_time="number")


@pytest.mark.parametrize(
    ("text", "function", "column", "window_s"),
    [
        ("sum(precip) over 1d", "sum", "precip", DAY_S),
        (" COUNT( * )  OVER 90 d", "count", "", 90 * DAY_S),
        ("count() over 2h", "count", "", 2 * HOUR_S),
        ("count(precip) over 1w", "count", "precip", 7 * DAY_S),
        ("avg(x) over 30d", "mean", "x", 30 * DAY_S),
        ('distinct("the card") over 1h', "distinct", "the card", HOUR_S),
    ],
)
def test_the_text_of_a_window_is_parsed(text, function, column, window_s):
    assert parse_window(text) == Aggregation(function=function, column=column, window_s=window_s)


@pytest.mark.parametrize(
    "text",
    ["", "sum(x)", "sum() over 1d", "sum(*) over 1d", "median(x) over 1d", "sum(x) over 30m", "last(x) over 91d"],
)
def test_what_is_not_a_window_is_refused_with_its_text_and_a_hint(text):
    with pytest.raises(ConfigError) as caught:
        parse_window(text)
    assert repr(text) in caught.value.what
    assert "sum(precip) over 1d" in caught.value.hint
