"""The model of this project: LightGBM. Change it as you like; headway calls `train` with the rows of [split] train."""

from __future__ import annotations

import lightgbm
import numpy as np
import polars as pl
from numpy.typing import NDArray

CATEGORIES: tuple[str, ...] = ()
OBJECTIVE = {"objective": "binary"}


def train(rows: pl.DataFrame, labels: NDArray[np.float64], *, seed: int = 0) -> lightgbm.Booster:
    """Train on rows of numbers (categories as ranks) and labels."""
    categorical = [rows.columns.index(name) for name in CATEGORIES if name in rows.columns]
    data = lightgbm.Dataset(rows.to_numpy(), labels, categorical_feature=categorical)
    settings = {"num_leaves": 31, "learning_rate": 0.05, "min_data_in_leaf": 50, "seed": seed, "verbose": -1}
    return lightgbm.train({**settings, **OBJECTIVE}, data, num_boost_round=100)
