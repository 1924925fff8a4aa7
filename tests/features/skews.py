"""A simulated world for value replay: a view, its source, logged requests, and each kind of skew injected into them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
from msgspec.structs import replace

from headway.core.feature_view import ColumnValue, Feature, FeatureSource, FeatureView, FunctionCall
from headway.core.value_replay import SkewKind
from headway.core.variant import Field, Signature
from headway.features.historical import join_view

NAMES = ("temp", "wind", "visibility", "minute", "gust", "sky")
SKY = ("clear", "cloudy", "rain")
SIGNATURE = Signature(
    inputs=(*(Field(name=name) for name in NAMES[:-1]), Field(name="sky", datatype="BYTES", categories=SKY))
)
VIEW = FeatureView(
    name="weather",
    version=2,
    entities=("station",),
    source=FeatureSource(location="weather.parquet", event_time="observed_at"),
    features=(*(Feature(name=name) for name in NAMES[:-1]), Feature(name="sky", dtype="string")),
)
FIRST = replace(
    VIEW,
    version=1,
    features=(
        Feature(
            name="temp",
            expression=FunctionCall(
                function="add",
                arguments=(
                    ColumnValue(name="temp"),
                    FunctionCall(function="abs", arguments=(ColumnValue(name="wind"),)),
                ),
            ),
        ),
        *VIEW.features[1:],
    ),
)
"""The version before: it added the wind to the temperature."""
START = np.datetime64("2026-01-01", "us")
HOUR = np.timedelta64(1, "h")


@dataclass(frozen=True, slots=True)
class World:
    """A source of observations about once in two hours, and requests: station and time, in order of time."""

    source: pl.DataFrame
    stations: pl.Series
    at: pl.Series

    def log(
        self, view: FeatureView = VIEW, *, at: pl.Series | None = None, stations: pl.Series | None = None
    ) -> pl.DataFrame:
        """Return the log of a server that looked up these stations at these times with a version of the view."""
        rows = pl.DataFrame({"station": self.stations if stations is None else stations})
        columns, seen = join_view(rows, self.at if at is None else at, view, self.source)
        return pl.DataFrame({"station": self.stations}).with_columns(
            *(_as_read(column) for column in columns),
            at_us=self.at.to_physical(),
            request=pl.int_range(len(self.at)),
            seen_us=seen.to_physical().fill_null(-1),
        )

    def since_half(self, right: pl.DataFrame, wrong: pl.DataFrame) -> pl.DataFrame:
        """Return the log that was right in its first half, and then wrong."""
        half = len(right) // 2
        return pl.concat([right.head(half), wrong.slice(half)])


def _as_read(column: pl.Series) -> pl.Series:
    """Return a feature as the model reads it."""
    if column.dtype == pl.String:
        return column.replace_strict(SKY, range(len(SKY)), default=None, return_dtype=pl.Float64).alias(column.name)
    return column.cast(pl.Float64)


def make_world(seed: int, *, requests: int = 1_000, stations: int = 30, days: int = 20) -> World:
    """Return a simulated world."""
    random = np.random.default_rng(seed)
    hours = 24 * days
    n = hours // 2
    parts = []
    for station in range(stations):
        minutes = np.sort(random.choice(hours * 60, n, replace=False))
        parts.append(
            {
                "station": [f"station {station}"] * n,
                "observed_at": START + minutes * np.timedelta64(1, "m"),
                "temp": random.normal(50, 20, n).round(1),
                "wind": random.gamma(2, 5, n).round(1),
                "visibility": random.choice([10.0, 5.0, 2.5, 1.0], n),
                "minute": random.integers(0, 1440, n).astype(float),
                "gust": np.where(random.random(n) < 0.6, np.nan, random.gamma(2, 8, n).round(1)),
                "sky": random.choice(SKY, n),
            }
        )
    source = (
        pl.concat([pl.DataFrame(part) for part in parts]).fill_nan(None).sample(fraction=1, shuffle=True, seed=seed)
    )
    seconds = np.sort(random.uniform(48 * 3_600, (hours - 16) * 3_600, requests))
    at = pl.Series("at", START + (seconds * 1e6).astype("timedelta64[us]")).dt.replace_time_zone("UTC")
    asked = pl.Series("station", [f"station {number}" for number in random.integers(0, stations, requests)])
    return World(source, asked, at)


def _unit(world: World) -> pl.DataFrame:
    return world.log().with_columns((pl.col("temp") - 32) / 1.8)


def _clock(world: World) -> pl.DataFrame:
    return world.log().with_columns((pl.col("minute") + 300) % 1440)


def _zone(world: World) -> pl.DataFrame:
    return world.log(at=world.at - timedelta(hours=5))


def _stale(world: World) -> pl.DataFrame:
    """Return the log of a server whose store stopped at the middle of the time."""
    stopped = world.at[len(world.at) // 2]
    return world.log(at=pl.select(pl.min_horizontal(world.at, pl.lit(stopped, dtype=world.at.dtype))).to_series())


def _null(world: World) -> pl.DataFrame:
    return world.log().with_columns(wind=pl.when(pl.col("request") % 3 == 0).then(None).otherwise("wind"))


def _order(world: World) -> pl.DataFrame:
    return world.log().with_columns(temp="wind", wind="temp")


def _entity(world: World) -> pl.DataFrame:
    """Return the log of a server that answered each request with the values of the one before."""
    return world.log(stations=world.stations.shift(1, fill_value=world.stations[-1]))


def _version(world: World) -> pl.DataFrame:
    return world.log(FIRST)


def _future(world: World) -> pl.DataFrame:
    return world.log(at=world.at + timedelta(hours=1))


INJECTED: dict[str, tuple[SkewKind, Callable[[World], pl.DataFrame]]] = {
    "unit": ("unit", _unit),
    "time zone of a value": ("time zone", _clock),
    "time zone of the lookup": ("time zone", _zone),
    "stale": ("stale", _stale),
    "null": ("null", _null),
    "order": ("order", _order),
    "wrong entity": ("entity", _entity),
    "wrong version": ("version", _version),
    "future": ("future", _future),
}
"""Name of each skew, the kind that replay should find, and the log with it."""


def injected(world: World, name: str) -> pl.DataFrame:
    """Return the log of a world with a skew from its middle on."""
    return world.since_half(world.log(), INJECTED[name][1](world))


def arguments(world: World) -> dict[str, Any]:
    """Return the other arguments of `replay_view`."""
    return {"view": VIEW, "source": world.source, "signature": SIGNATURE, "versions": [FIRST]}
