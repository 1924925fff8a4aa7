"""Projects on real tables of the package ISLP (BSD), read out of it without importing it: one drifts, one does not."""

from __future__ import annotations

import importlib.util
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from headway import flow
from headway.release.project import Project, open_project

TOML = """
[project]
name = "NAME"
[data]
source = "table.parquet"
target = "target"
time = "day"
groups = "day"
label_delay = "1d"
[data.known]
KNOWN
[split]
train = ["2011-01-01", "2011-03-01"]
choose = ["2011-03-01", "2011-04-01"]
test = ["2011-04-01", "2011-06-01"]
[model]
train = "mine:train"
[optimize]
transforms = ["onnx"]
[trust]
publisher_key = "keys/publisher.pem"
trusted_keys = "keys/trusted_keys.txt"
[retrain]
rows_grown = 100.0
ece_at_most = 0.1
[[policy.release]]
measure = "roc_auc.loss"
at_most = 0.05
"""
TRAIN = """
import lightgbm
def train(rows, labels, *, seed=0):
    data = lightgbm.Dataset(rows.to_numpy(), labels, feature_name=rows.columns)
    asked = {"objective": "binary", "verbose": -1, "num_threads": 1, "num_leaves": 7, "learning_rate": 0.05}
    return lightgbm.train(asked | {"bagging_fraction": 0.7, "bagging_freq": 1, "seed": seed}, data, num_boost_round=60)
"""


def bikes() -> pl.DataFrame:
    """Hours of 2011 with their weather; the target is more than 60 rides. Seasons change, and so do rides."""
    table = _read("Bikeshare")
    start = pl.lit(date(2011, 1, 1))
    return table.select(
        "temp",
        "hum",
        "windspeed",
        "weathersit",
        "workingday",
        hr=pl.col("hr").cast(pl.Int64),
        day=start + pl.duration(days=pl.col("day") - 1),
        target=(pl.col("bikers") > 60).cast(pl.Int8),
    )


def caravans(shuffle: int = 0) -> pl.DataFrame:
    """5,822 households in random order, dealt to the days of a year: nothing can drift. The target is an insurance."""
    table = _read("Caravan")
    order = np.random.default_rng(shuffle).permutation(len(table))
    days = [date(2011, 1, 1) + timedelta(days=row * 365 // len(table)) for row in range(len(table))]
    features = [name for name in table.columns if name != "Purchase"][42:64]
    shuffled = table[order]
    return shuffled.select(features, target=(pl.col("Purchase") == "Yes").cast(pl.Int8)).with_columns(
        day=pl.Series(days)
    )


def released(folder: Path, table: pl.DataFrame, name: str) -> Project:
    """A project on a table with its model released, trained on January and February, judged on April and May."""
    table.write_parquet(folder / "table.parquet")
    known = "\n".join(f'{column} = "request"' for column in table.columns if column not in ("day", "target"))
    (folder / "headway.toml").write_text(TOML.replace("NAME", name).replace("KNOWN", known))
    (folder / "mine.py").write_text(TRAIN)
    project = open_project(folder)
    data = flow.periods(project)
    flow.release(project, flow.optimize(project, flow.train(project, data), data), who="ada")
    return project


def _read(name: str) -> pl.DataFrame:
    spec = importlib.util.find_spec("ISLP")
    assert spec is not None and spec.origin is not None, "pip install --no-deps ISLP"
    return pl.read_csv(Path(spec.origin).parent / f"data/{name}.csv")
