"""`headway.FeatureStore`: Feast's calls over the views of a project, offline and online."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import headway as hw
from headway.core.errors import ConfigError, DataError, RowRefused, StoreError
from headway.features import catalog
from headway.features.materialize import materialize_views
from headway.registry.project import open_project
from headway.storage.addresses import open_online

START = datetime(2026, 1, 1, tzinfo=UTC)


def hours(*numbers: float | None) -> list[datetime | None]:
    return [None if number is None else START + timedelta(hours=number) for number in numbers]


def weather(**changes: Any) -> hw.FeatureView:  # type: ignore[name-defined]
    declared = {
        "entities": ["origin"],
        "source": "weather.parquet",
        "event_time": "at",
        "ttl": "36500d",
        "features": ["temp", "sky", "gusts", "wet"],
        "expressions": {"celsius": "(temp - 32) / 1.8"},
        "windows": {"rain_90d": "sum(rain) over 90d"},
        "types": {"sky": "string", "gusts": "integer", "wet": "boolean"},
    }
    return hw.feature_view("weather", **(declared | changes))


TRIP = hw.feature_view("trip", expressions={"felt": "celsius - 2 * is_windy", "doubled": "felt * 2"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "headway.toml").write_text('[project]\nname = "flights"\n')
    now = datetime.now(UTC).replace(microsecond=0)
    pl.DataFrame(
        {
            "origin": ["JFK", "LGA", "JFK", "EWR"],
            "at": [*hours(0, 1, 5), now - timedelta(hours=1)],
            "temp": [32.0, 50.0, 212.0, None],
            "sky": ["clear", None, "rain", "fog"],
            "gusts": [3, None, 5, 1],
            "wet": [False, True, None, True],
            "rain": [0.5, 0.25, 1.0, 2.0],
        }
    ).write_parquet(tmp_path / "weather.parquet")
    apply(tmp_path, weather(), TRIP)
    return tmp_path


def apply(folder: Path, *views: Any) -> None:
    catalog.apply(open_project(folder).state, views, who="ann")


def materialized(folder: Path, *references: str) -> None:
    project = open_project(folder)
    with closing(open_online(project.config)) as store:
        materialize_views(project.state, store, references, folder=folder)


@pytest.fixture
def store(folder: Path) -> Iterator[hw.FeatureStore]:
    with hw.FeatureStore(folder) as opened:
        yield opened


ALL = [f"weather:{name}" for name in ("temp", "sky", "gusts", "wet", "celsius")]


def test_historical_features_keep_every_row_in_its_place(store):
    rows = pl.DataFrame({"origin": ["LGA", "JFK", "JFK", None, "JFK"], "event_timestamp": hours(9, 4, 5, 5, -1)})
    found = store.get_historical_features(entity_df=rows, features=["weather:celsius", "weather:sky"]).to_df()
    assert found.columns == ["origin", "event_timestamp", "celsius", "sky"]
    assert found["celsius"].to_list() == [10.0, 0.0, 100.0, None, None]
    assert found["sky"].to_list() == [None, "clear", "rain", None, None]


def test_pandas_comes_back_as_pandas_with_its_index_and_types(store):
    rows = pd.DataFrame(
        {"origin": ["LGA", "JFK"], "event_timestamp": pd.to_datetime(hours(9, 5)), "label": [1, 0]}, index=[7, 7]
    )
    found = store.get_historical_features(entity_df=rows, features=ALL, full_feature_names=True).to_df()
    assert isinstance(found, pd.DataFrame) and list(found.index) == [7, 7]
    assert list(found.columns) == ["origin", "event_timestamp", "label", *(f.replace(":", "__") for f in ALL)]
    pd.testing.assert_frame_equal(found[rows.columns], rows)
    assert found["weather__temp"].tolist() == [50.0, 212.0]
    assert found["weather__sky"].isna().tolist() == [True, False] and found["weather__sky"].iloc[1] == "rain"
    assert found["weather__gusts"].tolist() == [pd.NA, 5] and found["weather__gusts"].dtype == "Int64"
    assert found["weather__wet"].tolist() == [True, pd.NA] and found["weather__wet"].dtype == "boolean"


@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_times_of_pandas_are_utc_or_of_their_zone(store, zone):
    times = pd.DatetimeIndex(hours(4.999, 5))
    rows = pd.DataFrame(
        {"origin": "JFK", "event_timestamp": times.tz_convert(zone) if zone else times.tz_localize(None)}
    )
    assert store.get_historical_features(rows, ["weather:temp"]).to_df()["temp"].tolist() == [32.0, 212.0]


def test_the_time_is_the_only_column_of_times_or_the_one_that_is_named(store):
    rows = pl.DataFrame({"origin": ["JFK"], "decided": hours(5)})
    assert store.get_historical_features(rows, ["weather:temp"]).to_df()["temp"].to_list() == [212.0]
    two = rows.with_columns(early=pl.lit(START))
    assert store.get_historical_features(two, ["weather:temp"], time="early").to_df()["temp"].to_list() == [32.0]
    with pytest.raises(DataError, match="no column 'event_timestamp', and 2 columns of dates or times"):
        store.get_historical_features(two, ["weather:temp"])
    with pytest.raises(DataError, match="and 0 columns of dates or times"):
        store.get_historical_features(rows.select("origin"), ["weather:temp"])


def test_online_features_are_what_the_join_finds_at_this_time(store, folder):
    materialized(folder)
    features = [*ALL, "weather:rain_90d", "trip:doubled"]
    entities = [{"origin": name, "is_windy": 1.0} for name in ("EWR", "JFK", "LGA", "XXX", None)]
    found = store.get_online_features(features=features, entity_rows=entities)
    now = pl.DataFrame(entities).with_columns(event_timestamp=datetime.now(UTC))
    joined = store.get_historical_features(now, features).to_df()
    assert_frame_equal(found.to_df(), joined.drop("event_timestamp", "is_windy"), check_exact=True)
    assert list(found.to_dict()) == ["origin", *(name.partition(":")[2] for name in features)]
    assert found.to_dict()["doubled"] == [None, 196.0, 16.0, None, None]
    assert found.to_dict()["rain_90d"] == [2.0, None, None, None, None]


def test_event_times_are_seconds_as_in_feast(store, folder):
    materialized(folder)
    found = store.get_online_features(["weather:temp"], [{"origin": "JFK"}, {"origin": "XXX"}], True)
    assert found.to_dict(include_event_timestamps=True) == {
        "origin": ["JFK", "XXX"],
        "weather__temp": [212.0, None],
        "weather__temp__ts": [int(START.timestamp()) + 5 * 3600, 0],
    }
    on_demand = store.get_online_features(["trip:felt", "weather:celsius"], [{"origin": "JFK", "is_windy": 1}])
    assert on_demand.to_df(include_event_timestamps=True).columns == [
        "origin",
        "felt",
        "felt__ts",
        "celsius",
        "celsius__ts",
    ]
    assert on_demand.to_dict(True)["felt__ts"] == [0]


@pytest.mark.parametrize(
    "entities",
    [
        [{"origin": "JFK"}, {"origin": None}],
        {"origin": ["JFK", None]},
        pl.DataFrame({"origin": ["JFK", None]}),
        pd.DataFrame({"origin": ["JFK", None]}),
    ],
    ids=["rows", "columns", "polars", "pandas"],
)
def test_entities_come_as_rows_columns_or_a_table(store, folder, entities):
    materialized(folder)
    found = store.get_online_features(features=["weather:temp"], entity_rows=entities)
    assert found.to_dict() == {"origin": ["JFK", None], "temp": [212.0, None]}
    table = found.to_df()
    assert isinstance(table, pd.DataFrame) == isinstance(entities, pd.DataFrame)
    assert np.array_equal(table["temp"].to_numpy().astype(float), [212.0, np.nan], equal_nan=True)


def test_versions_of_a_view_can_be_read_next_to_each_other(store, folder):
    apply(folder, weather(expressions={"celsius": "temp + 0"}))
    materialized(folder, "weather@v1", "weather@v2")
    features = ["weather@v1:celsius", "weather:celsius", "trip:felt"]
    rows = pl.DataFrame({"origin": ["JFK"], "event_timestamp": hours(6), "is_windy": [0]})
    joined = store.get_historical_features(rows, features, full_feature_names=True).to_df()
    found = store.get_online_features(features, [{"origin": "JFK", "is_windy": 0}], full_feature_names=True).to_dict()
    assert found == {
        "origin": ["JFK"],
        "weather@v1__celsius": [100.0],
        "weather__celsius": [212.0],
        "trip__felt": [100.0],
    }
    assert joined.select(list(found)[1:]).row(0) == (100.0, 212.0, 100.0)
    with pytest.raises(DataError, match="two columns would be named 'celsius'"):
        store.get_online_features(features, [{"origin": "JFK", "is_windy": 0}])
    with pytest.raises(DataError, match="two columns would be named 'celsius'"):
        store.get_historical_features(rows, features)


def test_a_feature_on_demand_needs_what_it_reads(store, folder):
    materialized(folder)
    with pytest.raises(DataError, match="no column 'celsius'"):
        store.get_online_features(["trip:felt"], [{"is_windy": 1}])
    given = store.get_online_features(["trip:felt"], [{"is_windy": 1, "celsius": 7.0}])
    assert given.to_dict() == {"felt": [5.0]}


def test_stale_and_missing_values_are_what_the_view_declares(store, folder):
    view = weather(ttl="6h", when_missing={"temp": {"default": 50.0}, "sky": "refuse"})
    apply(folder, view)
    materialized(folder)
    entities = [{"origin": "EWR"}, {"origin": "JFK"}]
    found = store.get_online_features(["weather:temp", "weather:celsius", "weather:gusts"], entities).to_dict()
    assert found == {"origin": ["EWR", "JFK"], "temp": [50.0, 50.0], "celsius": [None, None], "gusts": [1, None]}
    assert store.get_online_features(["weather:sky"], entities[:1]).to_dict()["sky"] == ["fog"]
    with pytest.raises(RowRefused, match=r"feature 'sky' of weather@v2 is missing or too old") as refused:
        store.get_online_features(["weather:sky"], entities)
    assert refused.value.where == "row 1, for 'JFK'" and refused.value.hint == "headway features materialize weather"
    rows = pl.DataFrame({"origin": ["LGA", "EWR"], "event_timestamp": hours(1, 1)})
    assert store.get_historical_features(rows, ["weather:temp"]).to_df()["temp"].to_list() == [50.0, 50.0]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (["wether:temp"], "no view 'wether' was applied\n  at: views: trip, weather\n  try: nearest: weather"),
        (["weather:tmp"], "view 'weather@v1' has no feature 'tmp'\n  at: features\n  try: nearest: weather:temp"),
        (["trip:wind"], "view 'trip@v1' has no feature 'wind'\n  at: features\n  try: it has felt, doubled"),
        (["weather@v9:temp"], "no version 'weather@v9'"),
        (["weather"], "'weather' is not a reference to a feature"),
        ([], "no feature is named"),
        ("weather:temp", "features is a list of references"),
    ],
)
def test_an_unknown_reference_is_named_with_the_nearest_one(store, features, message):
    rows = pl.DataFrame({"origin": ["JFK"], "event_timestamp": hours(5)})
    for call in (
        lambda: store.get_historical_features(rows, features),
        lambda: store.get_online_features(features, [{"origin": "JFK"}]),
    ):
        with pytest.raises(ConfigError) as error:
            call()
        assert message in str(error.value)


@pytest.mark.parametrize("feature", ["weather:temp", "weather:rain_90d"])
def test_a_view_without_a_table_names_the_command_that_makes_it(store, feature):
    with pytest.raises(StoreError, match=r"view 'weather@v1' has no table in the online store") as error:
        store.get_online_features([feature], [{"origin": "JFK"}])
    assert error.value.hint == "headway features materialize weather"


@pytest.mark.parametrize(
    ("entities", "message"),
    [
        ([{"origin": "JFK"}, {"dest": "JFK"}], "no entity 'origin'\n  at: entity row 1\n  try: it has dest"),
        ([{}], "it has nothing"),
        (["JFK"], "a row is str, not a mapping"),
        ([{"origin": "JFK"}, {"origin": ["LGA"]}], "the entities cannot be read: could not append value"),
        ({"dest": ["JFK"]}, "no column 'origin' (entity of view 'weather@v1')"),
        ([{"origin": 1.5}], "entity 'origin' is not a whole number"),
    ],
)
def test_wrong_entities_are_errors_that_name_the_row(store, folder, entities, message):
    materialized(folder)
    with pytest.raises(DataError) as error:
        store.get_online_features(["weather:temp"], entities)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("origins", "flights"),
    [
        (["JFK", "XXX", None], [7, 8, None]),
        (["JFK", "LGA"], [7.0, None]),
        ([None, None], [7, 7]),
        (["JFK", "JFK"], [-(2**63), 2**63 - 1]),
    ],
)
def test_rows_of_plain_values_are_looked_up_like_a_table(tmp_path, origins, flights):
    (tmp_path / "headway.toml").write_text('[project]\nname = "flights"\n')
    keys = [("JFK", 7), ("LGA", 7), ("JFK", -(2**63)), ("JFK", 2**63 - 1)]
    pl.DataFrame(
        {
            "origin": [origin for origin, _ in keys],
            "flight": [flight for _, flight in keys],
            "at": hours(1, 2, 3, 4),
            "delay": [1.0, None, 3.0, 4.0],
            "seats": [None, 2, 3, 4],
            "late": [True, None, False, True],
            "gate": ["A", None, "C", "A"],
            "seen": hours(None, 1, 2, 3),
        }
    ).write_parquet(tmp_path / "delays.parquet")
    types = {"seats": "integer", "late": "boolean", "gate": "string", "seen": "datetime"}
    names = ["delay", *types]
    view = {"source": "delays.parquet", "event_time": "at", "features": names, "types": types}
    apply(tmp_path, hw.feature_view("delays", entities=["origin", "flight"], **view))
    materialized(tmp_path)
    rows = [{"origin": origin, "flight": flight} for origin, flight in zip(origins, flights, strict=True)]
    table = pl.DataFrame(rows, infer_schema_length=None)
    with hw.FeatureStore(tmp_path) as store:
        plain, of_table = (store.get_online_features([f"delays:{name}" for name in names], of) for of in (rows, table))
    assert_frame_equal(plain.to_df(True), of_table.to_df(True), check_exact=True)
    assert plain.to_dict(True) == of_table.to_dict(True) == plain.to_df(True).to_dict(as_series=False)
    rows[0]["origin"] = "changed later"
    assert plain.to_dict()["origin"] == origins


def test_an_open_store_reads_the_version_that_is_newest_at_each_call(store, folder):
    materialized(folder)
    call = ["weather:celsius"], [{"origin": "JFK"}]
    assert store.get_online_features(*call).to_dict()["celsius"] == [100.0]
    apply(folder, weather(expressions={"celsius": "temp + 0"}))
    materialized(folder)
    assert store.get_online_features(*call).to_dict()["celsius"] == [212.0]


def test_the_online_store_is_opened_again_after_a_close(store, folder):
    materialized(folder)
    for _ in range(2):
        assert store.get_online_features(["weather:temp"], [{"origin": "JFK"}]).to_dict()["temp"] == [212.0]
        store.close()
