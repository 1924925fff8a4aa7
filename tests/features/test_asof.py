"""The point-in-time join against a brute-force oracle, and on the real flights."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.cli.demo import flights
from headway.core.errors import DataError
from headway.features.asof import join_asof

START = datetime(2013, 1, 1)
rows_of = st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 40)), max_size=12)


def table(rows: list[tuple[str, int]], time: str, value: str) -> pl.DataFrame:
    data = [(airport, START + timedelta(hours=hour), number) for number, (airport, hour) in enumerate(rows)]
    schema = {"place": pl.String, time: pl.Datetime("us"), value: pl.Int64}
    return pl.DataFrame(data, schema=schema, orient="row")


def join(rows: pl.DataFrame, seen: pl.DataFrame) -> pl.DataFrame:
    return join_asof(rows, seen, on=("at", "seen_at"), by="place", tolerance="6h")


@pytest.mark.slow
@given(rows_of, rows_of)
def test_each_row_gets_the_newest_observation_of_its_airport_within_six_hours_in_order(rows, observations):
    joined = join(table(rows, "at", "row"), table(observations, "seen_at", "value"))

    newest = [
        max((hour for airport, hour in observations if airport == here and now - 6 <= hour <= now), default=None)
        for here, now in rows
    ]
    seen = [None if hour is None else START + timedelta(hours=hour) for hour in newest]
    assert joined["row"].to_list() == list(range(len(rows)))
    assert joined["seen_at"].to_list() == seen


def test_a_time_column_of_another_type_is_named():
    wrong = pl.DataFrame({"place": ["A"], "at": ["2013-01-01"], "row": [0]})
    with pytest.raises(DataError, match="'at' is String, not a time"):
        join(wrong, table([], "seen_at", "value"))


def test_a_time_column_that_is_absent_is_named():
    with pytest.raises(DataError, match="no column 'seen_at'"):
        join(table([], "at", "row"), table([], "at", "value"))


def test_an_observation_never_replaces_a_column_of_the_rows():
    with pytest.raises(DataError, match="both tables have row"):
        join(table([], "at", "row"), table([], "seen_at", "row"))


@pytest.mark.slow
def test_the_flights_keep_every_row_and_get_no_later_weather(monkeypatch):
    seen = {}

    def recorded(rows, observations, **how):
        seen["joined"] = join_asof(rows, observations, **how)
        return seen["joined"]

    monkeypatch.setattr(flights, "join_asof", recorded)
    table = flights.load()

    joined = seen["joined"]
    assert len(table) == len(joined) == 336_776
    assert joined["observed_at"].null_count() == 776
    assert not (joined["observed_at"] > joined["decides_at"]).any()
