"""Views over sources on real servers: applied, joined, materialised, looked up and replayed as those of a file are."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from polars.testing import assert_frame_equal
from tests.storage import postgres

import headway as hw
from headway.core.variant import Field, Signature
from headway.features import catalog
from headway.features.compute import read_view_source
from headway.features.definitions import read_views
from headway.features.historical import get_historical_features
from headway.features.materialize import materialize_views
from headway.features.partitioned_join import write_historical_features
from headway.features.replay import replay_view
from headway.registry.project import Project, open_project
from headway.storage.addresses import open_online

pytestmark = [pytest.mark.slow, pytest.mark.services]

START = datetime(2026, 1, 1, tzinfo=UTC)
QUERY = "SELECT origin, observed_at, stored_at, temp, sky FROM weather WHERE temp < 1000"
VIEW = """
[views.weather]
entities = ["origin"]
source = {source}
event_time = "observed_at"
created_time = "stored_at"
features = ["temp", "sky"]
expressions = {{ celsius = "(temp - 32) / 1.8" }}
windows = {{ temps_2d = "count(temp) over 2d" }}
types = {{ sky = "string" }}
"""
Make = Callable[[Path], str]


def observations() -> pl.DataFrame:
    """Return a temperature of three airports each hour; each third is stored two hours late."""
    hours = range(72)
    return pl.DataFrame(
        {
            "origin": [("JFK", "LGA", "EWR")[hour % 3] for hour in hours],
            "observed_at": [START + timedelta(hours=hour) for hour in hours],
            "stored_at": [START + timedelta(hours=hour + 2 * (hour % 9 == 0)) for hour in hours],
            "temp": [None if hour == 40 else 30.0 + hour for hour in hours],
            "sky": ["clear" if hour % 2 else "rain" for hour in hours],
        }
    )


def file_source(folder: Path) -> str:
    observations().write_parquet(folder / "weather.parquet")
    return '"weather.parquet"'


@pytest.fixture
def objects(s3, seaweed, tmp_path) -> str:
    """Return the source of two parquet objects."""
    bucket, _, prefix = s3.removeprefix("s3://").partition("/")
    for number, part in enumerate(observations().iter_slices(40)):
        part.write_parquet(tmp_path / "part.parquet")
        content = (tmp_path / "part.parquet").read_bytes()
        seaweed.client().put_object(Bucket=bucket, Key=f"{prefix}/weather/part-{number}.parquet", Body=content)
    return f'"{s3}/weather"'


@pytest.fixture
def table(postgresql) -> str:
    """Return the source of a query in PostgreSQL, whose password is in the environment."""
    columns = "origin text, observed_at timestamptz, stored_at timestamptz, temp float8, sky text"
    with psycopg.connect(postgresql, password=postgres.PASSWORD) as connection:
        connection.execute(f"CREATE TABLE weather ({columns})")  # type: ignore[call-overload]
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO weather VALUES (%s, %s, %s, %s, %s)", observations().rows())
    return f'{{ location = "{postgresql}", query = "{QUERY} OR temp IS NULL" }}'


@pytest.fixture
def duckdb_file(tmp_path) -> str:
    """Return the source of a query in a DuckDB file of the project."""
    observations().write_parquet(tmp_path / "weather.parquet")
    with importlib.import_module("duckdb").connect(str(tmp_path / "weather.duckdb")) as database:
        database.execute(f"CREATE TABLE weather AS SELECT * FROM read_parquet('{tmp_path / 'weather.parquet'}')")
    return f'{{ location = "duckdb:///weather.duckdb", query = "{QUERY} OR temp IS NULL" }}'


def applied(folder: Path, source: str) -> Project:
    """Return a project that applied the view over a source."""
    folder.mkdir(exist_ok=True)
    (folder / "headway.toml").write_text('[project]\nname = "flights"\n')
    (folder / "features.toml").write_text(VIEW.format(source=source))
    project = open_project(folder)
    catalog.apply(project.state, read_views(folder), who="ann")
    return project


def requests() -> pl.DataFrame:
    """Return rows of known and unknown airports, every 25 minutes."""
    count = 150
    names = ["JFK", "LGA", "EWR", "XXX", None]
    return pl.DataFrame(
        {
            "origin": [names[row % 5] for row in range(count)],
            "at": [START + timedelta(minutes=25 * row) for row in range(count)],
        }
    )


def log_of(joined: pl.DataFrame) -> pl.DataFrame:
    """Return joined rows as the log of a server has them, with ranks of categories."""
    return joined.select(
        pl.int_range(pl.len()).alias("request"),
        pl.col("at").dt.epoch("us").alias("at_us"),
        "origin",
        pl.col("weather__temp").alias("temp"),
        pl.col("weather__celsius").alias("celsius"),
        pl.col("weather__temps_2d").cast(pl.Float64).alias("temps_2d"),
        pl.col("weather__sky").replace_strict({"clear": 0.0, "rain": 1.0}, default=None).alias("sky"),
        pl.col("weather__event_time").dt.epoch("us").fill_null(-1).alias("seen_us"),
    )


@pytest.mark.parametrize("kind", ["objects", "table", "duckdb_file"])
def test_a_view_has_the_values_of_the_same_view_of_a_file(kind, request, tmp_path):
    source = request.getfixturevalue(kind)
    (tmp_path / "own").mkdir()
    own = applied(tmp_path / "own", file_source(tmp_path / "own"))
    project = applied(tmp_path, source)
    view, same = (catalog.resolve_view(each.state, "weather") for each in (project, own))
    rows = requests()
    rows.write_parquet(tmp_path / "rows.parquet")
    how: dict[str, Any] = {"time": "at", "with_times": True, "full_names": True}

    joined = get_historical_features(rows, [view], folder=tmp_path, **how)
    assert_frame_equal(joined, get_historical_features(rows, [same], folder=tmp_path / "own", **how))
    assert 50 < joined["weather__temp"].count() < 100
    out = tmp_path / "out.parquet"
    write_historical_features(tmp_path / "rows.parquet", [view], out, folder=tmp_path, memory_bytes=2_000, **how)
    assert_frame_equal(pl.read_parquet(out), joined)

    entities = {"origin": ["JFK", "LGA", "EWR", "XXX", None]}
    features = [f"weather:{feature.name}" for feature in view.features]
    found = []
    for each in (project, own):
        folder = Path(each.config.folder)
        with closing(open_online(each.config)) as store:
            (done,) = materialize_views(each.state, store, folder=folder)
            again = materialize_views(each.state, store, folder=folder)[0]
        assert (done.mode, again.mode, done.rows, done.entities) == ("full", "incremental", 72, 3)
        with hw.FeatureStore(folder) as features_of:
            found.append(features_of.get_online_features(features, entities).to_df(include_event_timestamps=True))
    assert_frame_equal(*found)
    assert found[0]["temp"].to_list()[:3] == [99.0, 100.0, 101.0]

    inputs = [Field(name=name) for name in ("temp", "celsius", "temps_2d")]
    signature = Signature(inputs=(*inputs, Field(name="sky", datatype="BYTES", categories=("clear", "rain"))))
    log = log_of(joined)
    read = read_view_source(view, folder=tmp_path)
    assert replay_view(log, view, read, signature=signature).skews == ()
    shifted = log.with_columns(pl.col("temp") * 2)
    (skew,) = replay_view(shifted, view, read, signature=signature).skews
    assert (skew.kind, skew.features) == ("unit", ("temp",))
