"""Small CatBoost models for tests, trained on the table of `boosters` as numbers."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import catboost
import numpy as np
import pandas as pd
from tests.engines.boosters import in_range, table

LOSSES = (
    "Logloss",
    "CrossEntropy",
    "MultiClass",
    "MultiClassOneVsAll",
    "RMSE",
    "MAE",
    "Quantile:alpha=0.3",
    "Poisson",
    "Tweedie:variance_power=1.5",
    "MAPE",
    "QueryRMSE",
)
_KINDS = {"Logloss": "binary", "CrossEntropy": "cross_entropy", "Poisson": "poisson", "MAPE": "poisson"}


def target(loss: str) -> np.ndarray:
    """A target in the range of the loss."""
    cells = table()
    score = cells[:, 2] + np.nan_to_num(cells[:, 1]) + 2 * (cells[:, 0] % 3) + (cells[:, 3] > 2**32) - 2
    kind = "multiclass" if loss.startswith("MultiClass") else _KINDS.get(loss, "regression")
    return in_range(score, "poisson" if loss.startswith("Tweedie") else kind)


@functools.cache
def model(loss: str = "Logloss", trees: int = 7, **parameters: object) -> catboost.CatBoost:
    """A fitted classifier or regressor of a few small trees, as its users make it."""
    classifies = loss in ("Logloss", "CrossEntropy") or loss.startswith("MultiClass")
    kind = catboost.CatBoostClassifier if classifies else catboost.CatBoostRegressor
    params = {"iterations": trees, "depth": 3, "verbose": 0, "allow_writing_files": False, "thread_count": 1}
    params |= {"loss_function": loss} | parameters
    ranks = loss == "QueryRMSE"
    made = catboost.CatBoost(params) if ranks else kind(**params)
    return made.fit(catboost.Pool(table(), target(loss), group_id=np.repeat([0, 1], 200) if ranks else None))


def cbm(loss: str = "Logloss", trees: int = 7, **parameters: object) -> bytes:
    """The binary model of `model`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.cbm"
        model(loss, trees, **parameters).save_model(str(path))
        return path.read_bytes()


@functools.cache
def category_cbm() -> bytes:
    """A binary model of a column of strings, one of integers and a number, with combinations and one-hot splits."""
    random = np.random.default_rng(4)
    port, hour, gap = random.choice(["a", "b", "c"], 300), random.integers(0, 9, 300), random.normal(size=300)
    frame = pd.DataFrame({"port": port, "gap": gap, "hour": hour, "leg": random.integers(0, 5, 300).astype(str)})
    params = {"iterations": 8, "depth": 4, "verbose": 0, "allow_writing_files": False, "thread_count": 1}
    made = catboost.CatBoostClassifier(**params, one_hot_max_size=3, max_ctr_complexity=3, loss_function="Logloss")
    made.fit(frame, (port == "a") ^ (hour % 2 == 0) ^ (gap > 0.5), cat_features=["port", "hour", "leg"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.cbm"
        made.save_model(str(path))
        return path.read_bytes()
