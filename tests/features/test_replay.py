"""Value replay finds each kind of skew by name, with examples and since when, and nothing where nothing is wrong."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
from msgspec.structs import replace
from tests.features.skews import INJECTED, SIGNATURE, VIEW, arguments, injected, make_world

from headway.core.errors import DataError
from headway.core.feature_view import Feature
from headway.features.replay import replay_view

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", range(3))
def test_a_log_with_the_right_values_has_no_skew(seed: int) -> None:
    world = make_world(seed)

    found = replay_view(world.log(), **arguments(world))

    assert (found.n_rows, found.skews, found.n_lagging) == (1_000, (), 0)


@pytest.mark.parametrize("name", INJECTED)
@pytest.mark.parametrize("seed", range(2))
def test_each_kind_of_skew_is_named(name: str, seed: int) -> None:
    world = make_world(seed)
    log = injected(world, name)

    found = replay_view(log, **arguments(world))

    skew = found.skews[0]
    assert skew.kind == INJECTED[name][0]
    assert skew.since_us >= log["at_us"][500]
    assert sum(each.n_rows for each in found.skews if each.kind == skew.kind) >= 0.9 * max(
        each.n_rows for each in found.skews
    )


def test_a_skew_has_examples_from_the_first_requests() -> None:
    world = make_world(1)
    log = injected(world, "unit")

    (skew,) = replay_view(log, **arguments(world)).skews

    assert (skew.view, skew.features, skew.n_rows) == ("weather@v2", ("temp",), 500)
    assert skew.detail == "temp is 0.555556 times the value, minus 17.7778"
    assert [example.request for example in skew.examples] == [500, 501, 502]
    first = skew.examples[0]
    assert first.at_us == skew.since_us == log["at_us"][500]
    assert first.expected is not None
    assert first.logged == pytest.approx((first.expected - 32) / 1.8)


def test_two_skews_are_named_apart() -> None:
    world = make_world(2)
    log = injected(world, "unit").with_columns(wind=pl.when(pl.col("request") % 2 == 0).then(None).otherwise("wind"))

    found = replay_view(log, **arguments(world)).skews

    assert {(skew.kind, skew.features) for skew in found} == {("unit", ("temp",)), ("null", ("wind",))}


def test_values_that_nothing_explains_are_reported_all_the_same() -> None:
    world = make_world(3)
    noise = pl.Series("temp", [float(number * number % 97) for number in range(1_000)])

    (skew,) = replay_view(world.log().with_columns(noise), **arguments(world)).skews

    assert (skew.kind, skew.features) == ("unexplained", ("temp",))


def test_values_within_the_allowed_lag_are_counted_and_no_skew() -> None:
    world = make_world(4)
    log = world.log(at=world.at.dt.truncate("1h"))  # materialised each hour

    strict, tolerant = (replay_view(log, **arguments(world), max_lag_s=lag) for lag in (0.0, 3_600.0))

    assert [skew.kind for skew in strict.skews] == ["stale"]
    assert tolerant.skews == ()
    assert tolerant.n_lagging == strict.skews[0].n_rows


def test_a_default_for_missing_values_counts_as_right() -> None:
    world = make_world(5)
    features = tuple(
        replace(feature, when_missing="default", default=7.0) if feature.name == "gust" else feature
        for feature in VIEW.features
    )
    log = world.log().with_columns(pl.col("gust").fill_null(7.0))

    filled = replay_view(log, **arguments(world) | {"view": replace(VIEW, features=features)})
    (skew,) = replay_view(log, **arguments(world)).skews

    assert filled.skews == ()
    assert (skew.kind, skew.features) == ("null", ("gust",))


def test_a_value_that_was_stored_late_is_from_the_future() -> None:
    world = make_world(6)
    late = replace(VIEW, source=replace(VIEW.source, created_time="stored_at"))
    source = world.source.with_columns(stored_at=pl.col("observed_at") + timedelta(hours=1))

    found = replay_view(world.log(), **arguments(world) | {"view": late, "source": source})

    assert [skew.kind for skew in found.skews] == ["future"]


def test_a_model_may_read_some_of_the_features() -> None:
    world = make_world(7)
    view = replace(VIEW, columns=("wind", "sky"))
    log = injected(world, "stale").drop("temp", "visibility", "minute", "gust")

    found = replay_view(log, **arguments(world) | {"view": view, "versions": []})

    assert [(skew.kind, skew.features) for skew in found.skews] == [("stale", ("wind", "sky"))]


def test_an_empty_log_has_no_skew_and_no_rows() -> None:
    world = make_world(8)

    assert replay_view(world.log().head(0), **arguments(world)).n_rows == 0


def test_a_log_without_a_feature_is_refused() -> None:
    world = make_world(9)

    with pytest.raises(DataError, match=r"the log lacks wind"):
        replay_view(world.log().drop("wind"), **arguments(world))


def test_the_signature_names_the_features_of_the_view() -> None:
    assert set(SIGNATURE.names) == {feature.name for feature in VIEW.features}
    assert all(isinstance(feature, Feature) for feature in VIEW.features)
