"""A feature view is read as it was written, also by earlier versions; its digest follows what its values depend on."""

import msgspec
import pytest
from msgspec.structs import replace

from headway.core.feature_view import (
    Aggregation,
    ColumnValue,
    ConstantValue,
    Feature,
    FeatureSource,
    FeatureView,
    FunctionCall,
)

CELSIUS = FunctionCall(
    function="divide",
    arguments=(
        FunctionCall(function="subtract", arguments=(ColumnValue(name="temp"), ConstantValue(value=32))),
        ConstantValue(value=1.8),
    ),
)
WEATHER = FeatureView(
    name="weather",
    entities=("origin",),
    source=FeatureSource(location="weather.parquet", event_time="observed_at"),
    ttl_s=21_600,
    features=(
        Feature(name="wind_speed"),
        Feature(name="celsius", expression=CELSIUS),
        Feature(name="rain_1d", aggregation=Aggregation(function="sum", column="precip", window_s=86_400)),
    ),
)


def test_a_view_is_read_as_it_was_written() -> None:
    assert msgspec.json.decode(msgspec.json.encode(WEATHER), type=FeatureView) == WEATHER


def test_a_view_of_an_earlier_release_keeps_its_bytes() -> None:
    content = b'{"name":"schedule","table":"feed","columns":["dep_minute","weekday"]}'

    view = msgspec.json.decode(content, type=FeatureView)

    assert msgspec.json.encode(view) == content
    assert (view.online_table, view.feature_names, view.reference) == ("feed", ("dep_minute", "weekday"), "schedule")


def test_the_table_and_the_features_of_a_view_follow_its_version_and_definition() -> None:
    view = replace(WEATHER, version=2)

    assert (view.reference, view.online_table) == ("weather@v2", "weather.v2")
    assert view.feature_names == ("wind_speed", "celsius", "rain_1d")
    assert replace(view, columns=("celsius",)).feature_names == ("celsius",)
    assert not view.is_on_demand
    assert replace(view, source=None).is_on_demand


@pytest.mark.parametrize(
    ("changes", "is_other"),
    [
        ({"version": 7, "columns": ("celsius",), "description": "hourly", "owner": "ops"}, False),
        ({"ttl_s": 3_600.0}, True),
        ({"entities": ("origin", "carrier")}, True),
        ({"features": WEATHER.features[:2]}, True),
    ],
)
def test_the_digest_follows_what_the_values_depend_on(changes: dict[str, object], is_other: bool) -> None:
    assert (replace(WEATHER, **changes).digest != WEATHER.digest) is is_other
