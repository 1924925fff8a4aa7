"""The small project of `projects`, live since March, with April to be monitored; its training takes a seed."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from tests.pipeline import projects

from headway import pipeline
from headway.registry.project import Project, open_project

TOML = projects.TOML.replace("2013-03-22", "2013-03-02").replace("2013-05-01", "2013-04-01")
RETRAIN = '[retrain]\njudged_days = 25\nseeds = 3\naccept_out_of_range = ["hour"]\n'
TRAIN = projects.TRAIN.replace("(rows, labels)", "(rows, labels, *, seed=0)").replace(
    '"seed": 0', '"seed": seed, "bagging_fraction": 0.7, "bagging_freq": 1'
)


def write(folder: Path, *, retrain: str = RETRAIN, table: pl.DataFrame | None = None) -> Path:
    """Write the project into a folder, with another table if one is given."""
    projects.write(folder, TOML + retrain)
    (folder / "mine.py").write_text(TRAIN)
    if table is not None:
        table.write_parquet(folder / "table.parquet")
    return folder


def released(folder: Path) -> Project:
    """Return the project with a live release; projects of equal files share one search in a process."""
    files = tuple((path.name, path.read_bytes()) for path in sorted(folder.iterdir()) if path.is_file())
    for made in (".headway", "keys"):
        shutil.copytree(Path(_searched(files).name, made), folder / made)
    return open_project(folder)


@functools.cache
def _searched(files: tuple[tuple[str, bytes], ...]) -> TemporaryDirectory[str]:
    """Search and release a project of these files in a folder of its own."""
    folder = TemporaryDirectory()
    for name, content in files:
        Path(folder.name, name).write_bytes(content)
    project = open_project(Path(folder.name))
    data = pipeline.periods(project)
    pipeline.release(project, pipeline.optimize(project, pipeline.train(project, data), data), who="ada")
    project.state.close()
    return folder


def shifted() -> pl.DataFrame:
    """Return the table with a shift in April: labels are flipped, and hours are halved."""
    april = pl.col("at").dt.month() == 4
    return projects.table().with_columns(
        late=pl.when(april).then(1 - pl.col("late")).otherwise(pl.col("late")),
        hour=pl.when(april).then(pl.col("hour") // 2).otherwise(pl.col("hour")),
    )
