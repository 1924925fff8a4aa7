"""A project whose search measured fewer trees, with labelled rows of later months, as the pages of a search need it."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from tests.pipeline.projects import TOML, TRAIN, table, write

from headway import pipeline
from headway.registry.project import Project, open_project

SETTINGS = TOML.replace('test = ["2013-03-22", "2013-05-01"]', 'test = ["2013-03-22", "2013-04-05"]').replace(
    "[model]", 'live = ["2013-04-05", "2013-05-01"]\n[model]'
)
TREES = SETTINGS.replace('transforms = ["onnx"]', 'transforms = ["truncate", "onnx"]')


def searched(folder: Path) -> Project:
    """Write the searched project into a folder and return it; the projects of a process share one search."""
    shutil.copytree(_searched().name, folder, dirs_exist_ok=True)
    return open_project(folder)


@functools.cache
def _searched() -> TemporaryDirectory[str]:
    folder = TemporaryDirectory()
    project = open_project(write(Path(folder.name), TREES))
    data = pipeline.periods(project)
    pipeline.optimize(project, pipeline.train(project, data), data)
    project.state.close()
    return folder


REGRESSION, MULTICLASS = "regression", "multiclass"
_OBJECTIVES = {REGRESSION: '"regression"', MULTICLASS: '"multiclass", "num_class": 3'}
_MEASURES = {REGRESSION: "rmse.drop", MULTICLASS: "log_loss.drop"}


def searched_for(folder: Path, task: str) -> Project:
    """As `searched`, with a model of minutes late (`regression`) or of three classes of them (`multiclass`)."""
    settings, _, rules = TREES.partition("[[policy.release]]")
    settings = settings.replace("costs = { false_positive = 1, false_negative = 2 }\n", "")
    rule = f'[[policy.release]]\nmeasure = "{_MEASURES[task]}"\nat_most = 1.0\n'
    assert rules
    write(folder, settings.replace("[data.known]", f'task = "{task}"\n[data.known]') + rule)
    (folder / "mine.py").write_text(TRAIN.replace('"binary"', _OBJECTIVES[task]))
    minutes = (pl.col("hour") + pl.col("late") * 20 + pl.col("wind").fill_nan(5.0)).cast(pl.Float64)
    late = minutes if task == REGRESSION else (minutes > 15).cast(pl.Int64) + (minutes > 30).cast(pl.Int64)
    table().with_columns(late=late).write_parquet(folder / "table.parquet")
    project = open_project(folder)
    data = pipeline.periods(project)
    pipeline.optimize(project, pipeline.train(project, data), data)
    return project
