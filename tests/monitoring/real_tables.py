"""Projects on real tables of the package ISLP (BSD), read out of it without importing it: two change, one does not."""

from __future__ import annotations

import importlib.util
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from headway import pipeline
from headway.registry.project import Project, open_project

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
train = ["TRAIN", "CHOOSE"]
validation = ["CHOOSE", "TEST"]
test = ["TEST", "LIVE"]
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
[policy]
floor = "none"
[[policy.release]]
measure = "roc_auc.drop"
at_most = 0.05
"""
TRAIN = """
import lightgbm
def train(rows, labels, *, seed=0):
    data = lightgbm.Dataset(rows.to_numpy(), labels, feature_name=rows.columns)
    asked = {"objective": "binary", "verbose": -1, "num_threads": 1, "num_leaves": 7, "learning_rate": 0.05}
    return lightgbm.train(asked | {"bagging_fraction": 0.7, "bagging_freq": 1, "seed": seed}, data, num_boost_round=60)
"""


YEAR_2011 = ("2011-01-01", "2011-03-01", "2011-04-01", "2011-06-01")
CALM = ("1990-01-01", "2000-01-01", "2003-01-01", "2007-01-01")


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


def weeks() -> pl.DataFrame:
    """Weeks of the S&P 500 from 1990 to 2010; the target is a move of more than 2 %, read from the five weeks before.

    From 2003 to 2006 markets were calm, in 2008 and 2009 there was the crisis.
    """
    table = _read("Weekly")
    return table.select(
        *(pl.col(f"Lag{lag}").abs() for lag in range(1, 6)),
        day=pl.date(1990, 2, 5) + pl.duration(days=7 * pl.int_range(pl.len())),
        target=(pl.col("Today").abs() > 2).cast(pl.Int8),
    )


def wages() -> pl.DataFrame:
    """3,000 men with seven texts and two numbers each; `wage` and `logwage` are what they earn."""
    return _read("Wage")


def released(
    folder: Path, table: pl.DataFrame, name: str, *, begins: tuple[str, ...] = YEAR_2011, toml: str = TOML
) -> Project:
    """A project on a table with its model released; `begins` are the first days of train, validation, test and live."""
    table.write_parquet(folder / "table.parquet")
    known = "\n".join(f'{column} = "request"' for column in table.columns if column not in ("day", "target"))
    words = {"NAME": name, "KNOWN": known, **dict(zip(("TRAIN", "CHOOSE", "TEST", "LIVE"), begins, strict=True))}
    for word, meant in words.items():
        toml = toml.replace(word, meant)
    (folder / "headway.toml").write_text(toml)
    (folder / "mine.py").write_text(TRAIN)
    project = open_project(folder)
    data = pipeline.periods(project)
    pipeline.release(project, pipeline.optimize(project, pipeline.train(project, data), data), who="ada")
    return project


def _read(name: str) -> pl.DataFrame:
    spec = importlib.util.find_spec("ISLP")
    assert spec is not None and spec.origin is not None, "pip install --no-deps ISLP"
    return pl.read_csv(Path(spec.origin).parent / f"data/{name}.csv")
