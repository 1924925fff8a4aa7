"""A small project on disk: 120 days of 60 rows, a LightGBM model of 40 trees, a policy that an exact variant meets."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

TOML = """
[project]
name = "small"
[data]
source = "table.parquet"
target = "late"
time = "at"
groups = "day"
slices = ["carrier"]
[data.known]
hour = "request"
wind = "request"
carrier = "request"
[split]
train = ["2013-01-01", "2013-02-10"]
validation = ["2013-02-10", "2013-03-22"]
test = ["2013-03-22", "2013-05-01"]
[model]
train = "mine:train"
costs = { false_positive = 1, false_negative = 2 }
[optimize]
transforms = ["onnx"]
[trust]
publisher_key = "keys/publisher.pem"
trusted_keys = "keys/trusted_keys.txt"
[serve]
port = 0
[[policy.release]]
measure = "roc_auc.drop"
at_most = 0.01
[[policy.release]]
measure = "ece"
at_most = 0.3
"""
TRAIN = """
import lightgbm
def train(rows, labels):
    data = lightgbm.Dataset(rows.to_numpy(), labels, feature_name=rows.columns, categorical_feature=["carrier"])
    return lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1, "seed": 0}, data, num_boost_round=40)
"""


def table() -> pl.DataFrame:
    """Return 7,200 rows; `late` follows hour and wind, with a shared effect of each day."""
    draw = np.random.default_rng(0)
    days, rows = 120, 60
    hour, wind = draw.integers(0, 24, days * rows), draw.gamma(2.0, 5.0, days * rows)
    storm = np.repeat(draw.normal(0, 0.5, days), rows)
    chance = 1 / (1 + np.exp(-(hour / 8 + wind / 15 + storm - 3.5)))
    starts = [datetime(2013, 1, 1) + timedelta(days=row // rows, hours=int(hour[row])) for row in range(days * rows)]
    return pl.DataFrame(
        {
            "at": starts,
            "day": [start.date() for start in starts],
            "hour": hour,
            "wind": np.where(draw.random(days * rows) < 0.05, np.nan, wind),
            "carrier": draw.choice(["AA", "B6", "UA"], days * rows),
            "late": (draw.random(days * rows) < chance).astype(np.int8),
        }
    )


def write(folder: Path, toml: str = TOML) -> Path:
    """Write the project into a folder."""
    table().write_parquet(folder / "table.parquet")
    (folder / "headway.toml").write_text(toml)
    (folder / "mine.py").write_text(TRAIN)
    return folder
