"""Run by another version of XGBoost: write models of every kind to a folder, with the predictions of that version.

usage: python old_xgboost.py FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import xgboost

BINARY = (
    "binary:logistic",
    "binary:logitraw",
    "binary:hinge",
    "reg:logistic",
    "rank:ndcg",
    "rank:map",
    "rank:pairwise",
)
POSITIVE = ("count:poisson", "reg:gamma", "reg:tweedie", "reg:squaredlogerror", "survival:cox")
OTHERS = ("reg:squarederror", "reg:pseudohubererror", "reg:absoluteerror", "survival:aft", "multi:softprob")
KINDS = {
    "trees": {},
    "dart": {"booster": "dart", "rate_drop": 0.5},
    "parallel": {"num_parallel_tree": 3, "subsample": 0.5},
    "linear": {"booster": "gblinear"},
    "pruned": {"tree_method": "exact", "gamma": 1.0},
}
STOPPED = 9


def table() -> np.ndarray:
    """Rows float64 [600, 4]: a category, a column with missing values, a number, an id beyond 2^24."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(600, 4))
    rows[random.random(rows.shape) < 0.1] = np.nan
    rows[:, 0], rows[:, 3] = random.integers(0, 30, 600), random.integers(2**31, 2**33, 600)
    return rows


def booster(objective: str, kind: str, rows: np.ndarray) -> tuple[xgboost.Booster, xgboost.DMatrix]:
    """A booster of that kind, and its training rows."""
    score = np.nan_to_num(rows[:, 1]) + np.isin(rows[:, 0] % 7, [1, 3, 5]) + (rows[:, 3] > 2**32) * 0.5 - 0.8
    target = (score > 0) + 0.0 if objective in BINARY else np.exp(score) if objective in POSITIVE else score
    target = np.digitize(score, [-0.3, 0.5]) if objective.startswith("multi") else target
    types = ["q" if kind in ("linear", "pruned") else "c", "q", "q", "q"]
    data = xgboost.DMatrix(rows, target, feature_types=types, enable_categorical=True)
    if objective.startswith("rank"):
        data.set_group([300, 300])
    if objective == "survival:aft":
        data.set_float_info("label_lower_bound", np.exp(score))
        data.set_float_info("label_upper_bound", np.exp(score) + 1)
    classes = {"num_class": 3} if objective.startswith("multi") else {}
    params = {
        "objective": objective,
        "max_depth": 4,
        "max_cat_to_onehot": 2,
        "tree_method": "hist",
        "verbosity": 0,
        "nthread": 1,
    }
    return xgboost.train({**params, **classes, **KINDS[kind]}, data, 20), data


def main(folder: Path) -> None:
    """Write `NAME.json`, `NAME.ubj`, and `answers.npz` for all of them."""
    answers = {"rows": table()}
    for objective in (*BINARY, *POSITIVE, *OTHERS):
        for kind in KINDS:
            if objective == "reg:absoluteerror" and kind == "parallel":
                continue  # releases before 3.2 refuse it
            model, data = booster(objective, kind, table())
            name = f"{objective.replace(':', '-')}-{kind}"
            for form in ("json", "ubj"):
                model.save_model(folder / f"{name}.{form}")
            answers[name] = model.predict(data)
    model, data = booster("binary:logistic", "trees", table())
    model.set_attr(best_iteration=str(STOPPED - 1), scikit_learn=json.dumps({"_estimator_type": "classifier"}))
    model.save_model(folder / "stopped.json")
    model.save_model(folder / "stopped.ubj")
    answers["stopped"] = model.predict(data, iteration_range=(0, STOPPED))
    release = tuple(int(part) for part in xgboost.__version__.split(".")[:2])
    if release < (3, 1):
        suffix = "model" if release < (2, 1) else "deprecated"
        booster("binary:logistic", "pruned", table())[0].save_model(folder / f"binary.{suffix}")
    np.savez(folder / "answers.npz", **answers)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
