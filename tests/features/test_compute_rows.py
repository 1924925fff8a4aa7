"""Rows of a view: what is read of its source, and the declared types of its features."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import polars as pl
import pytest

from headway.core.errors import ConfigError, DataError
from headway.core.feature_view import (
    ColumnValue,
    ConstantValue,
    Feature,
    FeatureSource,
    FeatureView,
    FunctionCall,
)
from headway.features.compute import compute_rows, read_view_source, utc_times

NOON = datetime(2024, 1, 31, 12, tzinfo=UTC)
TABLE = pl.DataFrame({"place": ["A", "B"], "seen_at": [NOON, NOON], "temp": [1.5, None], "secret": ["x", "y"]})


def view_of(location: str, *, query: str = "", dtype: str = "number", name: str = "temp") -> FeatureView:
    source = FeatureSource(location=location, query=query, event_time="seen_at")
    return FeatureView(
        name="weather", entities=("place",), source=source, features=(Feature(name=name, dtype=dtype),), version=2
    )


def test_a_file_a_folder_and_a_pattern_give_only_the_columns_that_the_view_needs(tmp_path):
    (tmp_path / "day=1").mkdir()
    TABLE.write_parquet(tmp_path / "day=1/weather.parquet")

    for location in (".", "day=1/*.parquet", "day=1/weather.parquet"):
        assert {"secret"} & set(read_view_source(view_of(location), folder=tmp_path).columns) == set()
        rows = compute_rows(view_of(location), read_view_source(view_of(location), folder=tmp_path))
        assert rows.rows() == [("A", NOON, NOON, 1.5), ("B", NOON, NOON, None)]
    assert compute_rows(view_of(".", name="day"), read_view_source(view_of(".", name="day"), folder=tmp_path))[
        "day"
    ].to_list() == [1, 1]


def test_a_database_gives_the_rows_of_its_query(tmp_path):
    with closing(sqlite3.connect(tmp_path / "weather.db")) as database, database:
        database.execute("CREATE TABLE weather (place TEXT, seen_at TEXT, temp REAL)")
        database.execute("INSERT INTO weather VALUES ('A', '2024-01-31T12:00:00Z', 1.5)")
    view = view_of("sqlite:///weather.db", query="SELECT * FROM weather")

    assert compute_rows(view, read_view_source(view, folder=tmp_path)).rows() == [("A", NOON, NOON, 1.5)]


def test_a_view_never_calls_a_function(tmp_path):
    (tmp_path / "table.py").write_text("raise SystemExit('was run')")
    with pytest.raises(ConfigError, match="'table:load' is not a table"):
        read_view_source(view_of("table:load"), folder=tmp_path)


def test_a_view_without_a_source_has_no_rows():
    view = FeatureView(name="trip", features=(Feature(name="hour"),))
    with pytest.raises(DataError, match="the view has no source"):
        compute_rows(view, TABLE)


def test_rows_without_an_entity_or_time_are_left_out_and_the_others_keep_their_order():
    table = pl.DataFrame({"place": ["B", None, "A", "C"], "seen_at": [NOON, NOON, NOON, None], "temp": [1, 2, 3, 4]})

    assert compute_rows(view_of("x"), table)["temp"].to_list() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        ("number", [1.5, float("nan"), None], [1.5, None, None]),
        ("number", [float("inf"), 1.0, 2.0], [float("inf"), 1.0, 2.0]),
        ("number", [True, False, None], [1.0, 0.0, None]),
        ("number", ["1.5", "2", None], [1.5, 2.0, None]),
        ("integer", [1.0, float("nan"), None], [1, None, None]),
        ("boolean", [1, 0, None], [True, False, None]),
        ("string", pl.Series(["a", "b", None], dtype=pl.Categorical), ["a", "b", None]),
        ("datetime", ["2024-01-31T12:00:00Z", None, None], [NOON, None, None]),
    ],
)
def test_a_feature_has_its_declared_type(dtype, values, expected):
    table = pl.DataFrame({"place": ["A"] * 3, "seen_at": [NOON] * 3, "temp": values})

    assert compute_rows(view_of("x", dtype=dtype), table)["temp"].to_list() == expected


@pytest.mark.parametrize(
    ("dtype", "values", "what"),
    [
        ("integer", [1.0, 1.5], "a value is not an integer: 1.5"),
        ("integer", [1.0, 1e30], "a value is not an integer"),
        ("boolean", [1, 2], "a value is not a boolean: 2"),
        ("number", ["1", "warm"], "a value is not a number: warm"),
        ("number", [NOON, NOON], "a number is declared, and the column is Datetime"),
        ("number", [[1], [2]], "a number is declared, and the column is List"),
        ("string", [1, 2], "a string is declared, and the column is Int64"),
        ("datetime", [1, 2], "'temp' is Int64, not a time"),
    ],
)
def test_a_value_of_another_type_is_named_with_its_row(dtype, values, what):
    table = pl.DataFrame({"place": ["A"] * 2, "seen_at": [NOON] * 2, "temp": values})
    with pytest.raises(DataError, match=what) as caught:
        compute_rows(view_of("x", dtype=dtype), table)
    assert "view 'weather@v2'" in caught.value.where


def test_a_column_that_the_source_lacks_is_named():
    with pytest.raises(DataError, match="no column 'rain'") as caught:
        compute_rows(view_of("x", name="rain"), TABLE)
    assert "place, seen_at, temp" in caught.value.hint


def test_a_feature_cannot_have_the_name_of_a_time():
    with pytest.raises(DataError, match="two columns 'event_time'"):
        compute_rows(view_of("x", name="event_time"), TABLE.with_columns(event_time=1))


def test_only_some_of_many_rows_are_named():
    times = pl.Series("at", [datetime(2013, 11, 3, 1, minute) for minute in range(30)])
    with pytest.raises(DataError) as caught:
        utc_times(times, "America/New_York", where="a table")
    assert caught.value.where == "rows 0, 1, 2, 3, 4 and 25 more (from 0) of 'at', a table"


def call(function, *arguments):
    return FunctionCall(function=function, arguments=arguments)


def test_an_expression_reads_other_features_and_its_own_column_whatever_their_order():
    temp, celsius = ColumnValue(name="temp"), ColumnValue(name="celsius")
    features = (
        Feature(name="is_warm", dtype="boolean", expression=call("greater", celsius, ConstantValue(value=20))),
        Feature(name="celsius", expression=call("subtract", temp, ConstantValue(value=32))),
        Feature(name="temp", expression=call("multiply", temp, ConstantValue(value=2))),
        Feature(name="one", dtype="integer", expression=ConstantValue(value=1)),
    )
    source = FeatureSource(location="x", event_time="seen_at")
    view = FeatureView(name="weather", entities=("place",), source=source, features=features)

    rows = compute_rows(view, TABLE.with_columns(temp=pl.Series([30.0, None])))

    assert rows["temp"].to_list() == [60.0, None]
    assert rows["celsius"].to_list() == [28.0, None]
    assert rows["is_warm"].to_list() == [True, None]
    assert rows["one"].to_list() == [1, 1]


def test_features_that_read_each_other_in_a_circle_are_named():
    features = tuple(Feature(name=name, expression=ColumnValue(name=other)) for name, other in (("a", "b"), ("b", "a")))
    view = FeatureView(name="weather", entities=("place",), source=FeatureSource(location="x"), features=features)
    with pytest.raises(DataError, match="features of the view read each other: "):
        compute_rows(view, TABLE)


def test_a_source_without_rows_gives_no_rows():
    view = FeatureView(
        name="weather",
        entities=("place",),
        source=FeatureSource(location="x", event_time="seen_at"),
        features=(Feature(name="one", expression=ConstantValue(value=1)), Feature(name="temp")),
    )
    assert compute_rows(view, TABLE.clear()).shape == (0, 5)
