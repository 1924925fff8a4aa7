"""Declarations of views: features.toml and Python say the same, and all mistakes are named at once."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import headway as hw
from headway.core.errors import ConfigError
from headway.core.feature_view import Aggregation, Feature, FeatureSource
from headway.features.definitions import feature_view, read_views
from headway.features.expressions import parse_expression

pytestmark = pytest.mark.slow
TOML = """
[views.weather]
description = "Weather of airports"
owner = "ann"
entities = ["origin"]
source = "weather.parquet"
event_time = "observed_at"
created_time = "stored_at"
time_zone = "America/New_York"
ttl = "6h"
features = ["temp", "sky"]
types = { sky = "string" }

[views.weather.expressions]
celsius = "(temp - 32) / 1.8"
is_hot = "temp > 90"
kind = "case when temp > 60 then 'warm' else 'cold' end"

[views.weather.windows]
rain_1d = "sum(precip) over 1d"
hours = "count() over 2h"

[views.weather.when_missing]
temp = "refuse"
celsius = { default = 15.0 }

[views.plane]
entities = ["tailnum", "carrier"]
source = { location = "postgresql://host/db", query = "SELECT * FROM planes" }
sql = "SELECT tailnum, carrier, max(seats) AS seats FROM source GROUP BY ALL"
features = ["seats"]

[views.trip]
expressions = { is_weekend = "weekday >= 6" }
"""


def written(folder: Path, text: str) -> Path:
    (folder / "features.toml").write_text(text, encoding="utf-8")
    return folder


def test_a_file_declares_views_as_python_does(tmp_path: Path) -> None:
    weather, plane, trip = read_views(written(tmp_path, TOML.replace(" GROUP BY ALL", " GROUP BY tailnum, carrier")))

    assert weather == feature_view(
        "weather",
        description="Weather of airports",
        owner="ann",
        entities=["origin"],
        source="weather.parquet",
        event_time="observed_at",
        created_time="stored_at",
        time_zone="America/New_York",
        ttl="6h",
        features=["temp", "sky"],
        types={"sky": "string"},
        expressions={
            "celsius": (pl.col("temp") - 32) / 1.8,
            "is_hot": "temp > 90",
            "kind": "case when temp > 60 then 'warm' else 'cold' end",
        },
        windows={"rain_1d": "sum(precip) over 1d", "hours": "count() over 2h"},
        when_missing={"temp": "refuse", "celsius": {"default": 15.0}},
    )
    assert weather.ttl_s == 6 * 3600
    assert weather.source == FeatureSource(
        location="weather.parquet",
        event_time="observed_at",
        created_time="stored_at",
        time_zone="America/New_York",
    )
    assert weather.features == (
        Feature(name="temp", when_missing="refuse"),
        Feature(name="sky", dtype="string"),
        Feature(name="celsius", expression=parse_expression("(temp - 32) / 1.8"), when_missing="default", default=15.0),
        Feature(name="is_hot", dtype="boolean", expression=parse_expression("temp > 90")),
        Feature(
            name="kind",
            dtype="string",
            expression=parse_expression("case when temp > 60 then 'warm' else 'cold' end"),
        ),
        Feature(name="rain_1d", aggregation=Aggregation(function="sum", window_s=86_400, column="precip")),
        Feature(name="hours", dtype="integer", aggregation=Aggregation(function="count", window_s=7_200)),
    )
    assert (plane.entities, plane.source.query if plane.source else "") == (
        ("tailnum", "carrier"),
        "SELECT * FROM planes",
    )
    assert trip.is_on_demand
    assert trip.features[0].dtype == "boolean"


def test_all_mistakes_of_a_file_are_named_with_their_lines(tmp_path: Path) -> None:
    text = """
[views.weather]
entitys = ["origin"]
source = "weather.parquet"
ttl = "6 hours"
features = ["temp", 7]
sql = "COPY source TO 'x.csv'"
[views.weather.expressions]
celsius = "getenv('HOME')"
[views.weather.windows]
rain = "sum(precip) over 100d"
[views.weather.when_missing]
tmp = "refuse"
[views.empty]
[views.plane]
entities = ["tailnum"]
source = "planes.parquet"
features = ["seats", "seats"]
ttl = "1d"
"""
    with pytest.raises(ConfigError) as caught:
        read_views(written(tmp_path, text))

    message = str(caught.value)
    for line, words in (
        (3, "views.weather.entitys: unknown key 'entitys'"),
        (5, "'6 hours' is not a duration"),
        (6, "'features': expected `str`, got `int`"),
        (7, "not one SELECT but COPY"),
        (9, "'getenv' is not allowed in an expression"),
        (11, "a window is between 1h and 90d"),
        (13, "no feature 'tmp'"),
        (14, "the view has no features"),
        (18, "'seats' is named twice"),
        (19, "'ttl' needs an event time"),
    ):
        assert any(f"features.toml:{line}" in row and words in row for row in message.splitlines()), (line, words)
    assert "10 mistakes" in message or "11 mistakes" in message
    assert "nearest: entities" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("", "no view is declared", "[views.NAME]"),
        ("[views]\nweather = 7", "view 'weather' is not a table", "[views.weather]"),
        ("[view.weather]\n", "unknown key 'view'", ""),
        ("[views.weather\n", "is not TOML", ""),
        ('[views.a]\nexpressions = { b = "x" }\nwhen_missing = { b = "zero" }', "'when_missing'", "refuse"),
        ('[views.a]\nexpressions = { b = "x" }\nwhen_missing = { b = { default = "x" } }', "default of 'b' is 'x'", ""),
        ('[views.a]\nexpressions = { b = "x" }\ntypes = { b = "text" }', "'types'", "string"),
    ],
)
def test_one_mistake_is_an_error_of_one_line(tmp_path: Path, text: str, what: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_views(written(tmp_path, text))

    assert what in caught.value.what
    assert hint in caught.value.hint


def test_a_file_that_is_absent_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no file 'features.toml'"):
        read_views(tmp_path)
    (tmp_path / "features.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_views(tmp_path)


def test_mistakes_in_python_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        feature_view(
            "weather",
            entities=["origin"],
            source="weather.parquet",
            ttl="soon",
            expressions={"a": pl.col("x").sum(), "b": "x +"},
        )
    assert "3 mistakes in view 'weather'" in caught.value.what
    assert "Agg of polars" in caught.value.what
    with pytest.raises(ConfigError, match="needs entities"):
        hw.feature_view("weather", source="weather.parquet", features=["temp"])
