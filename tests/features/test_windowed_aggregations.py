"""Windowed aggregations against the filter of each request in plain Python, and their text form."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.errors import ConfigError, DataError
from headway.core.feature_view import DAY_S, HOUR_S, Aggregation
from headway.features.windows import aggregate, parse_window

START = datetime(2026, 3, 1, tzinfo=UTC)
FUNCTIONS = ("count", "sum", "mean", "min", "max", "last", "distinct")
TIME = pl.Datetime("us", "UTC")
STEP_S = 1_800

steps = st.integers(-8, 60)
integers = st.none() | st.integers(-3, 3) | st.integers(-(2**56), 2**56)
floats = st.none() | st.sampled_from((0.0, -0.0, 1.0, 0.1, math.nan)) | st.floats(allow_nan=False, allow_infinity=False)
events_of = st.lists(
    st.tuples(st.sampled_from("AB"), steps, st.none() | st.integers(-4, 30), integers, floats, st.sampled_from("xyz")),
    max_size=14,
)
requests_of = st.lists(st.tuples(st.sampled_from("ABC"), steps, st.sampled_from((-1, 0, 1))), max_size=10)


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
