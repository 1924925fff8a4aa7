"""Small LightGBM models for tests, trained on one table: a category, missing values, a number, a long id."""

from __future__ import annotations

import functools

import lightgbm
import numpy as np

from headway.core.arrays import Floats

QUIET = {
    "verbose": -1,
    "num_threads": 1,
    "num_leaves": 6,
    "min_data_in_leaf": 5,
    "min_data_per_group": 5,
    "cat_smooth": 1,
    "cat_l2": 1,
}
OBJECTIVES = (
    "regression",
    "regression_l1",
    "huber",
    "fair",
    "poisson",
    "quantile",
    "mape",
    "gamma",
    "tweedie",
    "binary",
    "multiclass",
    "multiclassova",
    "cross_entropy",
    "cross_entropy_lambda",
    "lambdarank",
    "rank_xendcg",
)


def table(rows: int = 400, seed: int = 0) -> Floats:
    """Rows float64 [n, 4]: category 0..39, a number missing in a fifth, a number, an id beyond 2^24."""
    random = np.random.default_rng(seed)
    category, number = random.integers(0, 40, rows), random.normal(size=rows)
    gaps = np.where(random.random(rows) < 0.2, np.nan, random.normal(size=rows))
    return np.column_stack([category, gaps, number, random.integers(2**31, 2**33, rows)]).astype(np.float64)


def targets(rows: Floats, objective: str) -> Floats:
    """A target that depends on every column of the table, in the range of the objective."""
    score = rows[:, 2] + np.nan_to_num(rows[:, 1]) + 2 * (rows[:, 0] % 3) + (rows[:, 3] > 2**32)
    return in_range(score - 2, objective)


def in_range(score: Floats, objective: str) -> Floats:
    """Map numbers around 0 to a target that the objective can learn: classes, counts, probabilities."""
    if objective.startswith("multiclass"):
        return np.digitize(score, [-0.5, 2.0]).astype(np.float64)
    if objective in ("binary", "lambdarank", "rank_xendcg"):
        return (score > 0).astype(np.float64)
    if objective.startswith("cross_entropy"):
        return 1 / (1 + np.exp(-score))
    return np.exp(score / 3) if objective in ("poisson", "gamma", "tweedie") else score


@functools.cache
def booster(objective: str = "binary", trees: int = 7, **parameters: object) -> lightgbm.Booster:
    """A booster of a few small trees; column 0 is categorical unless leaves are linear."""
    rows = table()
    if objective.startswith("multiclass"):
        parameters["num_class"] = 3
    categorical = [] if parameters.get("linear_tree") else [0]
    groups = [100] * 4 if objective in ("lambdarank", "rank_xendcg") else None
    params = {**QUIET, "objective": objective, **parameters}
    data = lightgbm.Dataset(
        rows,
        targets(rows, objective),
        group=groups,
        categorical_feature=categorical,
        params=params,
        free_raw_data=False,
    )
    return lightgbm.train(params, data, trees)


def text(objective: str = "binary", trees: int = 7, **parameters: object) -> str:
    """The text of `booster`."""
    return str(booster(objective, trees, **parameters).model_to_string())
