"""Small XGBoost models for tests, trained on the table of `boosters`: category, missing values, number, long id."""

from __future__ import annotations

import functools

import numpy as np
import xgboost
from tests.engines.boosters import in_range, table

OBJECTIVES = (
    "binary:hinge",
    "binary:logistic",
    "binary:logitraw",
    "count:poisson",
    "multi:softmax",
    "multi:softprob",
    "rank:map",
    "rank:ndcg",
    "rank:pairwise",
    "reg:absoluteerror",
    *(("reg:expectileerror",) if int(xgboost.__version__.split(".")[1]) > 2 else ()),  # 3.3 brought it
    "reg:gamma",
    "reg:logistic",
    "reg:pseudohubererror",
    "reg:quantileerror",
    "reg:squarederror",
    "reg:squaredlogerror",
    "reg:tweedie",
    "survival:aft",
    "survival:cox",
)
_KINDS = {"multi": "multiclass", "binary": "binary", "rank": "binary", "reg:logistic": "binary"}
_POSITIVE = ("count:poisson", "reg:gamma", "reg:tweedie", "reg:squaredlogerror", "survival:cox")
_NEEDED = {
    "reg:quantileerror": {"quantile_alpha": [0.5]},
    "reg:expectileerror": {"expectile_alpha": [0.5]},
    "multi:softmax": {"num_class": 3},
    "multi:softprob": {"num_class": 3},
}


def data(objective: str = "binary:logistic", *, categorical: bool = True, rows: int = 400) -> xgboost.DMatrix:
    """The table with a target in the range of the objective; column 0 is categorical on request."""
    cells = table(rows)
    score = cells[:, 2] + np.nan_to_num(cells[:, 1]) + 2 * (cells[:, 0] % 3) + (cells[:, 3] > 2**32) - 2
    kind = _KINDS.get(objective) or _KINDS.get(objective.partition(":")[0], "regression")
    target = in_range(score, "poisson" if objective in _POSITIVE else kind)
    made = xgboost.DMatrix(cells, target, feature_types=["c" if categorical else "q", "q", "q", "q"])
    if objective.startswith("rank"):
        made.set_group([rows // 4] * 4)
    if objective == "survival:aft":
        made.set_float_info("label_lower_bound", np.exp(score / 3))
        made.set_float_info("label_upper_bound", np.exp(score / 3) + 1)
    return made


@functools.cache
def booster(
    objective: str = "binary:logistic", rounds: int = 7, *, categorical: bool = True, **parameters: object
) -> xgboost.Booster:
    """A booster of a few small trees."""
    params = {"objective": objective, "max_depth": 3, "max_cat_to_onehot": 2, "verbosity": 0, "nthread": 1}
    training = data(objective, categorical=categorical)
    return xgboost.train(params | _NEEDED.get(objective, {}) | parameters, training, rounds)


def ubj(objective: str = "binary:logistic", rounds: int = 7, **parameters: object) -> bytes:
    """The UBJSON of `booster`."""
    return bytes(booster(objective, rounds, **parameters).save_raw("ubj"))
