"""Value replay of windows: recomputed at the time of each request, with events that had not come yet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace

from headway.core.feature_view import Feature, FeatureSource, FeatureView
from headway.core.variant import Field, Signature
from headway.features.historical import join_view
from headway.features.replay import replay_view
from headway.features.windows import parse_window

pytestmark = pytest.mark.slow

NOW = datetime(2026, 5, 1, tzinfo=UTC)
SUM = Feature(name="spent", aggregation=parse_window("sum(amount) over 6h"))
COUNT = Feature(name="paid", dtype="integer", aggregation=parse_window("count() over 2h"))
VIEW = FeatureView(
    name="pays",
    version=1,
    entities=("card",),
    source=FeatureSource(location="payments.parquet", event_time="at"),
    features=(SUM, COUNT),
)
SIGNATURE = Signature(inputs=(Field(name="spent"), Field(name="paid")))


def events(number: int = 3_000) -> pl.DataFrame:
    draw = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "card": draw.choice(["A", "B", "C"], number),
            "at": [NOW - timedelta(seconds=int(second)) for second in draw.integers(0, 10 * 86_400, number)],
            "amount": draw.integers(1, 1_000, number) / 8,
        }
    ).sort("at")


def log(source: pl.DataFrame, at: pl.Series, cards: pl.Series, *, view: FeatureView = VIEW) -> pl.DataFrame:
    """Return what requests saw of a source, as a server logs it."""
    columns, seen = join_view(pl.DataFrame([cards]), at, view, source)
    return pl.DataFrame(
        [pl.Series("request", range(len(at))), at.to_physical().alias("at_us"), cards, *columns]
    ).with_columns(seen.to_physical().alias("seen_us"))


def requests(number: int = 300) -> tuple[pl.Series, pl.Series]:
    draw = np.random.default_rng(1)
    at = pl.Series("at", [NOW - timedelta(minutes=int(minute)) for minute in draw.integers(0, 8 * 1_440, number)])
    return at.cast(pl.Datetime("us", "UTC")).sort(), pl.Series("card", draw.choice(["A", "B", "C", "D"], number))


def replayed(logged: pl.DataFrame, source: pl.DataFrame, *, view: FeatureView = VIEW, max_lag_s: float = 0.0):
    return replay_view(logged, view, source, signature=SIGNATURE, max_lag_s=max_lag_s)


def test_the_right_windows_are_no_skew():
    found = replayed(log(events(), *requests()), events())
    assert (found.n_rows, found.skews, found.n_lagging) == (300, (), 0)


def test_windows_of_a_store_that_was_not_written_for_a_day_are_stale():
    source = events()
    at, cards = requests()
    days = at.dt.truncate("1d")
    parts = [
        log(source.filter(pl.col("at") <= day), at.filter(days == day), cards.filter(days == day))
        for day in days.unique().sort()
    ]
    [skew] = replayed(pl.concat(parts), source).skews
    assert skew.kind == "stale" and "older" in skew.detail


def test_events_that_came_within_the_lag_are_lagging_in_any_order():
    source = events()
    at, cards = requests()
    draw = np.random.default_rng(2)
    came = source.with_columns(
        stored=source["at"]
        + pl.Series([timedelta(minutes=int(minute)) for minute in draw.integers(0, 15, len(source))])
    )
    by_arrival = replace(VIEW, source=replace(VIEW.source, created_time="stored"))
    logged = log(came, at, cards, view=by_arrival)
    found = replayed(logged, source, max_lag_s=900.0)
    assert found.skews == () and found.n_lagging > 10
    assert replayed(logged, source).skews
    assert replayed(logged, came, view=by_arrival) == replace(found, n_lagging=0)


def test_rows_and_windows_of_one_view_lag_together():
    view = replace(VIEW, features=(*VIEW.features, Feature(name="amount")), ttl_s=86_400.0)
    signature = Signature(inputs=(*SIGNATURE.inputs, Field(name="amount")))
    source, (at, cards) = events(), requests()
    late = source.with_columns(stored=pl.col("at") + timedelta(minutes=5))
    logged = log(late, at, cards, view=replace(view, source=replace(VIEW.source, created_time="stored")))
    found = replay_view(logged, view, source, signature=signature, max_lag_s=301.0)
    assert found.skews == () and found.n_lagging > 10
    assert {skew.kind for skew in replay_view(logged, view, source, signature=signature).skews} >= {"stale"}
