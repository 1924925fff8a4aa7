"""Sources of four views, and rows to join with them, drawn at random."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from headway.core.feature_view import Aggregation, ColumnValue, Feature, FeatureSource, FeatureView, FunctionCall

START = datetime(2024, 1, 1, tzinfo=UTC)
TRIPLE = FunctionCall(function="multiply", arguments=(ColumnValue(name="temp"), ColumnValue(name="wanted")))
VIEWS = [
    FeatureView(
        name="weather",
        entities=("place", "gate"),
        source=FeatureSource(location="weather.parquet", event_time="seen_at", created_time="stored_at"),
        ttl_s=400_000,
        features=(
            Feature(name="temp"),
            Feature(name="n", dtype="integer", aggregation=Aggregation(function="count", window_s=86_400)),
        ),
    ),
    FeatureView(
        name="rate",
        source=FeatureSource(location="rates.csv", event_time="day"),
        features=(Feature(name="rate"),),
    ),
    FeatureView(
        name="place",
        entities=("place",),
        source=FeatureSource(location="places.parquet"),
        sql="SELECT place, 2 * size AS size FROM source",
        features=(Feature(name="size", dtype="integer"),),
    ),
    FeatureView(name="trip", features=(Feature(name="product", expression=TRIPLE),)),
]


def times(draw: np.random.Generator, count: int) -> pl.Series:
    minutes = draw.integers(0, 60 * 24 * 20, count).tolist()
    return pl.Series([START + timedelta(minutes=one) for one in minutes], dtype=pl.Datetime("us", "UTC"))


def make_tables(folder: Path, *, rows: int = 900, seen: int = 700) -> pl.DataFrame:
    """Write the sources and the rows; return the rows."""
    draw = np.random.default_rng(3)

    def keys(count: int) -> dict[str, pl.Series]:
        names = pl.Series(draw.integers(0, 9, count)).cast(pl.String)
        gates = pl.Series(draw.choice([1.0, 2.0, np.nan], count))
        return {"place": names.set(names == "8", None), "gate": gates}

    event = times(draw, seen)
    late = pl.Series([timedelta(minutes=int(one)) for one in draw.exponential(2000, seen)], dtype=pl.Duration("us"))
    table = pl.DataFrame(
        {**keys(seen), "seen_at": event, "stored_at": event + late, "temp": draw.normal(size=seen), "x": 1}
    )
    table.write_parquet(folder / "weather.parquet")
    pl.DataFrame({"day": ["2024-01-01", "2024-01-09"], "rate": [1.5, 2.5]}).write_csv(folder / "rates.csv")
    pl.DataFrame({"place": ["1", "2", "3"], "size": [10, 20, 30]}).write_parquet(folder / "places.parquet")
    asked = pl.DataFrame({**keys(rows), "at": times(draw, rows), "wanted": draw.normal(size=rows)})
    asked.write_parquet(folder / "rows.parquet")
    return asked
