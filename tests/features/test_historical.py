"""The point-in-time join against a brute-force oracle, its edge cases, and the real flights."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import product

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from polars.testing import assert_frame_equal

from headway.cli.demo import flights
from headway.core.errors import ConfigError, DataError
from headway.core.feature_view import Aggregation, ColumnValue, Feature, FeatureSource, FeatureView, FunctionCall
from headway.features.historical import get_historical_features

START = datetime(2013, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TIME = pl.Datetime("us", "UTC")
hours = st.none() | st.integers(0, 12)
places = st.sampled_from(["A", "B", None])
numbers = st.sampled_from([1.0, 2.0, float("nan"), None])


def weather(*, created: bool = False, timed: bool = True, ttl_s: float = 0, entities=("place",)) -> FeatureView:
    source = FeatureSource(
        location="weather.parquet", event_time="seen_at" if timed else "", created_time="stored_at" if created else ""
    )
    return FeatureView(
        name="weather", entities=entities, source=source, ttl_s=ttl_s, features=(Feature(name="temp", dtype="integer"),)
    )


def at(hour: int | None) -> datetime | None:
    return None if hour is None else START + hour * HOUR


def rows_of(rows) -> pl.DataFrame:
    schema = {"place": pl.String, "gate": pl.Float64, "at": TIME}
    return pl.DataFrame([(place, gate, at(hour)) for place, gate, hour in rows], schema=schema, orient="row")


def source_of(observations) -> pl.DataFrame:
    schema = {"place": pl.String, "gate": pl.Float64, "seen_at": TIME, "stored_at": TIME, "temp": pl.Int64}
    data = [(*keys, at(event), at(stored), n) for n, (*keys, event, stored) in enumerate(observations)]
    return pl.DataFrame(data, schema=schema, orient="row")


def missing(value: object) -> bool:
    return value is None or value != value


def newest(rows, observations, *, created: bool, timed: bool, ttl: int, n_keys: int) -> list[int | None]:
    """Return the number of the observation that each row takes, by trying all of them."""
    taken = list[int | None]()
    for *keys, now in rows:
        best = None
        for number, (*entity, event, stored) in enumerate(observations):
            stored = stored if created else event
            event = event if timed else -1
            if not timed and not created:
                stored, moment = -1, 0
            else:
                moment = now
            if any(map(missing, [*keys[:n_keys], *entity[:n_keys], event, stored, moment])):
                continue
            if keys[:n_keys] == entity[:n_keys] and event <= moment and stored <= moment:
                best = max(best or (event, stored, number), (event, stored, number))
        stale = best is not None and ttl and now - best[0] > ttl
        taken.append(None if best is None or stale else best[2])
    return taken


@pytest.mark.slow
@pytest.mark.parametrize(("created", "timed", "n_keys"), [*product([False, True], [False, True], [0, 1, 2])])
@given(
    rows=st.lists(st.tuples(places, numbers, hours), max_size=10),
    observations=st.lists(st.tuples(places, numbers, hours, hours), max_size=14),
    ttl=st.integers(0, 6),
)
def test_each_row_takes_what_trying_all_observations_finds(created, timed, n_keys, rows, observations, ttl):
    view = weather(created=created, timed=timed, ttl_s=3600 * ttl * timed, entities=("place", "gate")[:n_keys])

    joined = get_historical_features(rows_of(rows), [view], time="at", sources={"weather": source_of(observations)})

    expected = newest(rows, observations, created=created, timed=timed, ttl=ttl * timed, n_keys=n_keys)
    assert joined["temp"].to_list() == expected
    assert_frame_equal(joined.drop("temp"), rows_of(rows))


def test_a_row_that_was_stored_later_is_not_seen_and_an_older_one_is():
    observations = [("A", 1.0, 1, 1), ("A", 1.0, 2, 8), ("A", 1.0, 3, 5)]
    rows = rows_of([("A", 1.0, hour) for hour in (0, 2, 4, 6, 9)])

    joined = get_historical_features(
        rows, [weather(created=True)], time="at", sources={"weather": source_of(observations)}
    )

    assert joined["temp"].to_list() == [None, 0, 0, 2, 2]


def test_the_time_of_the_observation_is_kept_even_if_it_was_too_old():
    rows, source = rows_of([("A", 1.0, 2), ("A", 1.0, 9), ("B", 1.0, 2)]), source_of([("A", 1.0, 1, 1)])

    joined = get_historical_features(
        rows, [weather(ttl_s=3600)], time="at", sources={"weather": source}, with_times=True
    )

    assert joined["temp"].to_list() == [0, None, None]
    assert joined["weather__event_time"].to_list() == [at(1), at(1), None]


def test_features_of_several_views_keep_their_names_apart_if_asked(tmp_path):
    source_of([("A", 1.0, 1, 1)]).write_parquet(tmp_path / "weather.parquet")
    views = [weather(), FeatureView(**{**record(weather()), "name": "forecast"})]
    rows = rows_of([("A", 1.0, 2)])

    with pytest.raises(DataError, match="two columns would be named 'temp'"):
        get_historical_features(rows, views, time="at", folder=tmp_path)
    joined = get_historical_features(rows, views, time="at", folder=tmp_path, full_names=True)

    assert joined.columns == ["place", "gate", "at", "weather__temp", "forecast__temp"]


def record(view: FeatureView) -> dict[str, object]:
    return {name: getattr(view, name) for name in view.__struct_fields__}


def test_only_the_features_that_a_model_reads_are_joined():
    features = (Feature(name="absent"), Feature(name="temp"))
    view = FeatureView(**{**record(weather()), "features": features, "columns": ("temp",)})

    joined = get_historical_features(
        rows_of([("A", 1.0, 2)]), [view], time="at", sources={"weather": source_of([("A", 1.0, 1, 1)])}
    )

    assert joined["temp"].to_list() == [0.0]


def test_times_of_several_zones_are_one_moment():
    rows = pl.DataFrame({"place": ["A", "A"], "at": [datetime(2013, 7, 1, 8), datetime(2013, 1, 1, 7)]})
    source = pl.DataFrame(
        {
            "place": ["A"] * 3,
            "seen_at": [datetime(2013, 1, 1, 12), datetime(2013, 7, 1, 12), datetime(2013, 7, 1, 12, 1)],
        }
    )
    view = weather()

    joined = get_historical_features(
        rows,
        [view],
        time="at",
        time_zone="America/New_York",
        sources={"weather": source.with_columns(temp=pl.Series([1, 2, 3]))},
    )

    assert joined["temp"].to_list() == [2, 1]
    assert joined["at"].to_list() == rows["at"].to_list()


@pytest.mark.parametrize(
    ("times", "what"),
    [
        ([datetime(2013, 3, 10, 1, 30), datetime(2013, 3, 10, 2, 30)], "show this time never: 2013-03-10 02:30:00"),
        ([datetime(2013, 11, 3, 0, 30), datetime(2013, 11, 3, 1, 30)], "show this time twice: 2013-11-03 01:30:00"),
    ],
)
def test_a_local_time_that_the_clocks_skip_or_repeat_is_named_with_its_row(times, what):
    rows = pl.DataFrame({"place": ["A", "A"], "at": times})
    with pytest.raises(DataError, match=what) as caught:
        get_historical_features(rows, [weather()], time="at", time_zone="America/New_York", sources={})
    assert caught.value.where == "row 1 (from 0) of 'at', the rows"


def test_an_unknown_time_zone_is_named():
    rows = pl.DataFrame({"place": ["A"], "at": [datetime(2013, 3, 10)]})
    with pytest.raises(ConfigError, match="unknown time zone 'Mars/Base'"):
        get_historical_features(rows, [weather()], time="at", time_zone="Mars/Base", sources={})


@pytest.mark.parametrize(
    "times",
    [
        pl.Series("at", [date(2013, 1, 2)]),
        pl.Series("at", ["2013-01-02T00:00:00Z"]),
        pl.Series("at", [datetime(2013, 1, 2)], dtype=pl.Datetime("ms")),
        pl.Series("at", [datetime(2013, 1, 2)], dtype=pl.Datetime("ns")),
        pl.Series("at", [datetime(2013, 1, 2, tzinfo=UTC)], dtype=pl.Datetime("us", "Asia/Tokyo")),
    ],
    ids=lambda series: str(series.dtype),
)
def test_a_time_can_have_any_type_of_times(times):
    rows = pl.DataFrame([pl.Series("place", ["A"]), times])

    joined = get_historical_features(
        rows, [weather(ttl_s=1)], time="at", sources={"weather": source_of([("A", 1.0, 24, 24), ("A", 1.0, 25, 25)])}
    )

    assert joined["temp"].to_list() == [0]


@pytest.mark.parametrize(
    ("times", "what"),
    [
        (["yesterday"], "'at' is String, not a time"),
        ([3.0], "'at' is Float64, not a time"),
        (pl.Series([2**62], dtype=pl.Datetime("ms")), "beyond the years 1 to 9999"),
        (pl.Series([2**31 - 1], dtype=pl.Int32).cast(pl.Date), "beyond the years 1 to 9999"),
    ],
)
def test_values_that_are_not_times_are_named(times, what):
    rows = pl.DataFrame({"place": ["A"], "at": times})
    with pytest.raises(DataError, match=what):
        get_historical_features(rows, [weather()], time="at", sources={})


@pytest.mark.parametrize(
    ("entities", "dtype"),
    [
        ([1, 2, None], pl.Int8),
        ([1, 2, None], pl.UInt64),
        ([1.0, 2.0, float("nan")], pl.Float64),
        (["1", "2", None], pl.String),
        (["1", "2", None], pl.Categorical),
        (["1", "2", None], pl.Enum(["1", "2"])),
        ([True, False, None], pl.Boolean),
        ([date(2013, 1, 1), date(2013, 1, 2), None], pl.Date),
    ],
    ids=str,
)
def test_an_entity_is_found_whatever_the_size_of_its_type(entities, dtype):
    rows = pl.DataFrame({"place": pl.Series(entities, dtype=dtype), "at": [at(1)] * 3})
    known = pl.Series(entities[:2] * 2).cast(pl.Int64 if dtype.is_numeric() else rows["place"].dtype)
    source = pl.DataFrame({"place": known, "seen_at": [at(0)] * 4, "temp": [1, 2, 3, 4]})

    joined = get_historical_features(rows, [weather()], time="at", sources={"weather": source})

    assert joined["temp"].to_list() == [3, 4, None]


@pytest.mark.parametrize(
    ("entities", "what"),
    [
        (["A"], "entity 'place' is String in the rows, and Int64 in view 'weather'"),
        ([date(2013, 1, 1)], "entity 'place' is Date in the rows, and Int64 in view 'weather'"),
        ([1.5], "entity 'place' is not a whole number: 1.5"),
        ([float("inf")], "entity 'place' is not a whole number: inf"),
        (pl.Series([2**63], dtype=pl.UInt64), "entity 'place' is too large"),
        ([datetime(2013, 1, 1)], "entity 'place' is Datetime"),
    ],
)
def test_an_entity_of_another_type_is_an_error_and_not_a_missing_feature(entities, what):
    rows = pl.DataFrame({"place": entities, "at": [at(1)]})
    source = pl.DataFrame({"place": [1], "seen_at": [at(0)], "temp": [1]})
    with pytest.raises(DataError, match=what):
        get_historical_features(rows, [weather()], time="at", sources={"weather": source})


def test_empty_tables_and_entities_that_are_all_missing_give_missing_features():
    rows = pl.DataFrame({"place": [None, None], "at": [at(1), at(2)]})
    source = source_of([("A", 1.0, 1, 1)])

    for table in (source, source.clear(), source.with_columns(place=None)):
        joined = get_historical_features(rows, [weather()], time="at", sources={"weather": table})
        assert joined["temp"].to_list() == [None, None]
    assert len(get_historical_features(rows.clear(), [weather()], time="at", sources={"weather": source})) == 0


@pytest.mark.parametrize(("name", "role"), [("at", "time"), ("place", "entity of view 'weather'")])
def test_a_column_that_the_rows_lack_is_named(name, role):
    with pytest.raises(DataError) as caught:
        get_historical_features(rows_of([]).drop(name), [weather()], time="at", sources={"weather": source_of([])})
    assert caught.value.what == f"no column '{name}' ({role})"


@pytest.mark.slow
def test_the_flights_keep_every_row_and_get_no_later_weather(monkeypatch):
    seen = {}

    def recorded(rows, views, **how):
        seen["joined"] = get_historical_features(rows, views, **how, with_times=True)
        return seen["joined"]

    monkeypatch.setattr(flights, "get_historical_features", recorded)
    table = flights.load()

    joined = seen["joined"]
    age = joined["decides_at"] - joined["weather__event_time"]
    assert len(table) == len(joined) == 336_776
    assert age.min() >= timedelta(0)
    assert ((age > timedelta(hours=6)) | age.is_null()).sum() == 776
    assert joined["temp"].filter((age > timedelta(hours=6)).fill_null(True)).null_count() == 776


def test_features_of_the_request_are_computed_from_the_row_and_from_other_views():
    colder = FunctionCall(function="less", arguments=(ColumnValue(name="temp"), ColumnValue(name="wanted")))
    trip = FeatureView(name="trip", features=(Feature(name="is_colder", dtype="boolean", expression=colder),))
    rows = rows_of([("A", 1.0, 2), ("B", 1.0, 2)]).with_columns(wanted=pl.Series([7, 7]))

    joined = get_historical_features(
        rows, [trip, weather()], time="at", sources={"weather": source_of([("A", 1.0, 1, 1)])}
    )

    assert joined["is_colder"].to_list() == [True, None]


def windowed(*, created: bool) -> FeatureView:
    aggregations = {
        "n": ("integer", Aggregation(function="count", window_s=2 * 3600)),
        "total": ("number", Aggregation(function="sum", window_s=2 * 3600, column="temp")),
        "last": ("integer", Aggregation(function="last", window_s=3600, column="temp")),
    }
    features = [Feature(name=name, dtype=dtype, aggregation=one) for name, (dtype, one) in aggregations.items()]
    return FeatureView(**{**record(weather(created=created)), "features": (*features, *weather().features)})


@pytest.mark.slow
@pytest.mark.parametrize("created", [False, True])
@given(
    rows=st.lists(st.tuples(places, numbers, hours), max_size=10),
    observations=st.lists(st.tuples(places, numbers, hours, hours), max_size=14),
)
def test_windows_are_those_of_all_observations_next_to_the_newest_one(created, rows, observations):
    joined = get_historical_features(
        rows_of(rows), [windowed(created=created)], time="at", sources={"weather": source_of(observations)}
    )

    for (place, _, now), n, total in zip(rows, joined["n"], joined["total"], strict=True):
        seen = [
            number
            for number, (where, _, event, stored) in enumerate(observations)
            if None not in (place, now, event, stored if created else 0) and where == place
            if now - 2 < event <= now and (not created or stored <= now)
        ]
        assert n == (None if place is None or now is None else len(seen))
        assert total == (sum(seen) if seen else None)
    assert joined["temp"].to_list() == newest(rows, observations, created=created, timed=True, ttl=0, n_keys=1)
    assert joined.schema["n"] == joined.schema["last"] == pl.Int64


def test_windows_of_a_view_without_entities_are_those_of_all_rows():
    view = FeatureView(**{**record(windowed(created=False)), "entities": ()})

    joined = get_historical_features(
        rows_of([("A", 1.0, 2), ("B", 1.0, 3)]),
        [view],
        time="at",
        sources={"weather": source_of([("A", 1.0, 1, 1), ("B", 1.0, 2, 2)])},
    )

    assert joined["n"].to_list() == [2, 1]


def test_features_on_demand_are_computed_from_defaults_as_in_a_server_and_from_the_names_of_features():
    default = Feature(name="temp", dtype="integer", when_missing="default", default=7)
    warm = FunctionCall(function="add", arguments=(ColumnValue(name="temp"), ColumnValue(name="gate")))
    trip = FeatureView(name="trip", features=(Feature(name="warm", expression=warm),))
    views = [replace(weather(), features=(default,)), trip]
    table, sources = rows_of([("A", 1.0, 1), ("B", 1.0, 1)]), {"weather": source_of([("B", 1.0, 0, 0)])}
    found = get_historical_features(table, views, time="at", sources=sources, full_names=True)
    assert found["weather__temp"].to_list() == [None, 0]
    assert found["trip__warm"].to_list() == [8.0, 1.0]


def test_a_feature_of_two_views_is_not_read_on_demand():
    trip = FeatureView(name="trip", features=(Feature(name="warm", expression=ColumnValue(name="temp")),))
    views = [weather(), replace(weather(), name="forecast"), trip]
    sources = dict.fromkeys(("weather", "forecast"), source_of([("A", 1.0, 0, 0)]))
    with pytest.raises(DataError, match=r"two views have a feature 'temp', which view 'trip' reads"):
        get_historical_features(rows_of([("A", 1.0, 1)]), views, time="at", sources=sources, full_names=True)
