"""A project whose model reads `wind` and `gust` from the view `weather`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
from tests.pipeline import projects

from headway.core.feature_view import Feature, FeatureSource, FeatureView, FeatureViewVersion
from headway.core.record import kind_of, write
from headway.registry.project import open_project

WEATHER = FeatureView(
    name="weather",
    version=1,
    entities=("station",),
    source=FeatureSource(location="weather.parquet", event_time="observed_at"),
    features=(Feature(name="wind"), Feature(name="gust", when_missing="default", default=-1.0)),
    ttl_s=86_400.0,
)
SETTINGS = projects.TOML.replace('slices = ["carrier"]', 'slices = ["carrier"]\nignore = ["station"]').replace(
    "[split]", '[features]\nviews = ["weather"]\n[split]'
)


def apply(project, view):
    """Apply a version of a view, as `headway features apply` does."""
    record = FeatureViewVersion(name=view.name, view=view, who="ann", at="2026-01-01T00:00:00")
    project.state.save(kind_of(FeatureViewVersion), write(record), name=view.name)


def viewed_project(folder: Path) -> Path:
    """Return a project whose wind is observed by stations, an hour before each row."""
    folder = projects.write(folder, SETTINGS)
    table = projects.table().with_row_index("n").with_columns(station=pl.format("S{}", pl.col("n") % 3)).drop("n")
    observed = table.select("station", observed_at=pl.col("at") - timedelta(hours=1), wind="wind", gust="wind")
    observed.unique(["station", "observed_at"], keep="last", maintain_order=True).write_parquet(
        folder / "weather.parquet"
    )
    table.drop("wind").write_parquet(folder / "table.parquet")
    with_time = (folder / "headway.toml").read_text().replace('time = "at"', 'time = "at"\ndecision = "30m before at"')
    (folder / "headway.toml").write_text(with_time.replace('wind = "request"\n', ""))
    apply(open_project(folder), WEATHER)
    return folder
