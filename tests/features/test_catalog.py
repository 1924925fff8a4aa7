"""The catalog: a changed definition makes the next version, and a version never changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from headway.core.contracts import State
from headway.core.errors import ConfigError, LeaseHeld
from headway.core.feature_view import Aggregation, ColumnValue, Feature, FeatureSource, FeatureView
from headway.core.plugins import load_state
from headway.features import catalog
from headway.features.catalog import apply, compare_views, newest_views, resolve_view, versions
from headway.features.expressions import parse_expression
from headway.features.rules import find_mistakes

SOURCE = FeatureSource(location="weather.parquet", event_time="observed_at")
TEMP = Feature(name="temp")
WEATHER = FeatureView(name="weather", entities=("origin",), source=SOURCE, ttl_s=3600.0, features=(TEMP,))
CELSIUS = Feature(name="celsius", expression=parse_expression("(temp - 32) / 1.8"))
TRIP = FeatureView(name="trip", features=(Feature(name="weekend", expression=parse_expression("day_of_week >= 6")),))


@pytest.fixture(params=["file", "sqlite"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    opened = load_state(request.param)(tmp_path if request.param == "sqlite" else tmp_path.as_uri())
    yield opened
    opened.close()


def test_the_same_definition_makes_no_version_and_a_changed_one_the_next(state: State) -> None:
    first = apply(state, [WEATHER, TRIP], who="ann")
    again = apply(state, [replace(WEATHER, description="of airports"), TRIP], who="bob")
    changed = apply(state, [replace(WEATHER, features=(TEMP, CELSIUS)), TRIP], who="bob")
    back = apply(state, [WEATHER], who="ann")

    assert [version.view.reference for version in (*first, *changed, *back)] == [
        "weather@v1",
        "trip@v1",
        "weather@v2",
        "weather@v3",
    ]
    assert again == []
    assert [version.who for version in versions(state, "weather")] == ["ann", "bob", "ann"]


def test_a_reference_names_the_newest_version_or_one_of_them(state: State) -> None:
    apply(state, [WEATHER, TRIP], who="ann")
    apply(state, [replace(WEATHER, features=(TEMP, CELSIUS))], who="ann")

    assert resolve_view(state, "weather").version == 2
    assert resolve_view(state, "weather@v1").features == (TEMP,)
    assert resolve_view(state, "weather@v2").online_table == "weather.v2"
    assert [view.reference for view in newest_views(state)] == ["trip@v1", "weather@v2"]


@pytest.mark.parametrize(
    ("reference", "what", "hint"),
    [
        ("wether", "no view 'wether'", "nearest: weather"),
        ("plane", "no view 'plane'", "headway features apply"),
        ("weather@v7", "no version 'weather@v7'", "headway features list"),
        ("weather@2", "not a reference", "weather@v2"),
        ("weather@v0", "not a reference", "weather@v2"),
        ("../weather", "not a reference", "weather@v2"),
    ],
)
def test_a_reference_to_nothing_is_named(state: State, reference: str, what: str, hint: str) -> None:
    apply(state, [WEATHER], who="ann")

    with pytest.raises(ConfigError) as caught:
        resolve_view(state, reference)

    assert what in caught.value.what
    assert hint in caught.value.hint


def test_one_process_applies_at_a_time(state: State) -> None:
    with state.lease(catalog.LEASE), pytest.raises(LeaseHeld):
        apply(state, [WEATHER], who="ann")
    assert versions(state, "weather") == []


def test_a_view_with_mistakes_saves_nothing_of_its_file(state: State) -> None:
    wrong = replace(TRIP, features=(*TRIP.features, Feature(name="b"), Feature(name="b")))

    with pytest.raises(ConfigError) as caught:
        apply(state, [WEATHER, wrong], who="ann")
    with pytest.raises(ConfigError, match="declared twice: weather"):
        apply(state, [WEATHER, WEATHER], who="ann")

    assert "'b' has no expression" in caught.value.what
    assert "'b' is named twice" in caught.value.what
    assert newest_views(state) == []


def test_what_a_change_means_is_shown_field_by_field() -> None:
    after = replace(
        WEATHER,
        entities=("origin", "day"),
        ttl_s=60.0,
        owner="ann",
        features=(
            replace(CELSIUS, expression=parse_expression("temp / 2"), when_missing="refuse"),
            Feature(name="rain", aggregation=Aggregation(function="sum", window_s=86_400, column="precip")),
        ),
    )
    before = replace(WEATHER, features=(TEMP, CELSIUS))

    changes = compare_views(before, after)

    assert [(change.field, change.feature, change.effect) for change in changes] == [
        ("entities", "", "breaks"),
        ("features", "temp", "breaks"),
        ("ttl_s", "", "values"),
        ("expression", "celsius", "values"),
        ("when_missing", "celsius", "serving"),
        ("owner", "", "none"),
        ("features", "rain", "none"),
    ]
    assert (changes[3].before, changes[3].after) == ("((temp - 32) / 1.8)", "(temp / 2)")
    assert compare_views(before, before) == []


@pytest.mark.parametrize(
    ("view", "what"),
    [
        (replace(WEATHER, name="1st"), "not a name of a view"),
        (replace(WEATHER, entities=()), "needs entities"),
        (replace(WEATHER, source=None), "'entities' needs a source"),
        (replace(WEATHER, source=FeatureSource(location="")), "no location"),
        (replace(WEATHER, source=FeatureSource(location="a.csv")), "'ttl' needs an event time"),
        (
            replace(WEATHER, ttl_s=0.0, source=FeatureSource(location="a.csv", created_time="c")),
            "'created_time' needs an event time",
        ),
        (replace(WEATHER, features=()), "no features"),
        (replace(WEATHER, features=(Feature(name="origin"),)), "'origin' is named twice"),
        (replace(WEATHER, features=(Feature(name="event_time"),)), "time of every row"),
        (replace(WEATHER, features=(Feature(name="a\nb"),)), "not a name of a column"),
        (replace(WEATHER, columns=("wind",)), "no feature 'wind'"),
        (replace(WEATHER, features=(Feature(name="a", when_missing="default"),)), "default of 'a' is None"),
        (replace(WEATHER, features=(Feature(name="a", when_missing="default", default=True),)), "is True"),
        (
            replace(WEATHER, features=(Feature(name="a", aggregation=Aggregation(function="sum", window_s=3600)),)),
            "has no column",
        ),
        (
            replace(TRIP, features=(Feature(name="a", aggregation=Aggregation(function="count", window_s=3600)),)),
            "needs an event time",
        ),
        (
            replace(
                WEATHER,
                features=(
                    Feature(name="a", aggregation=Aggregation(function="count", window_s=3600)),
                    Feature(name="b", expression=ColumnValue(name="a")),
                ),
            ),
            "reads the window 'a', which a row does not have",
        ),
        (
            replace(
                WEATHER,
                features=(
                    Feature(name="a", expression=parse_expression("b + 1")),
                    Feature(name="b", expression=parse_expression("c + a")),
                    Feature(name="c", expression=parse_expression("c + 1")),
                ),
            ),
            "the features a -> b -> a need each other",
        ),
        (
            replace(
                WEATHER,
                features=(
                    Feature(
                        name="a",
                        expression=ColumnValue(name="a"),
                        aggregation=Aggregation(function="count", window_s=3600),
                    ),
                ),
            ),
            "an expression and a window",
        ),
        (replace(TRIP, features=(Feature(name="a", expression=ColumnValue(name="")),)), "a column has no name"),
    ],
)
def test_each_mistake_of_a_view_is_found(view: FeatureView, what: str) -> None:
    assert any(what in mistake.what for mistake in find_mistakes(view))


def test_a_feature_that_reads_its_own_name_reads_the_source() -> None:
    halved = Feature(name="temp", expression=parse_expression("temp / 2"))
    assert list(find_mistakes(replace(WEATHER, features=(halved, CELSIUS)))) == []


@pytest.mark.parametrize(
    ("location", "query", "message"),
    [
        (
            "postgresql://ann:secret@db/fleet",
            "SELECT 1",
            "holds a password, which each release would hold: postgresql://",
        ),
        ("postgresql://ann@db/fleet", "", "a source in a database needs a query"),
        ("weather.parquet", "SELECT 1", "a query of the source is for a database"),
        ("s3://team/weather", "SELECT 1", "a query of the source is for a database"),
    ],
)
def test_an_address_that_cannot_be_read_or_shared_is_refused(
    state: State, location: str, query: str, message: str
) -> None:
    view = replace(WEATHER, source=replace(SOURCE, location=location, query=query))
    with pytest.raises(ConfigError) as refused:
        apply(state, [view], who="ann")
    assert message in str(refused.value) and "secret" not in str(refused.value)
    assert not list(find_mistakes(view))  # a release that has it is opened
