"""The model of the demo: LightGBM, 300 trees with 31 leaves, strongly regularized because few days carry the signal."""

from __future__ import annotations

import lightgbm
import numpy as np
import polars as pl
from numpy.typing import NDArray


def train(rows: pl.DataFrame, labels: NDArray[np.float64], *, seed: int = 0) -> lightgbm.Booster:
    """Train on rows of numbers (categories as ranks, in columns named by the signature) and labels."""
    categorical = [name for name in ("carrier", "origin", "dest") if name in rows.columns]
    data = lightgbm.Dataset(rows.to_numpy(), labels, feature_name=rows.columns, categorical_feature=categorical)
    return lightgbm.train(
        {
            "objective": "binary",
            "num_leaves": 31,
            "learning_rate": 0.03,
            "min_data_in_leaf": 300,
            "lambda_l2": 20,
            "feature_fraction": 0.6,
            "bagging_fraction": 0.7,
            "bagging_freq": 1,
            "cat_smooth": 50,
            "num_threads": 1,
            "seed": seed,
            "verbose": -1,
        },
        data,
        num_boost_round=300,
    )
