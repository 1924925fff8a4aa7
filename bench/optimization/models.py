"""The models of bench/optimize.py that need no torch, trained on the flights with fixed seeds and stored as files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from cache import folder, made, versions
from optimization.datasets import NUMBERS, TEXTS, Rows, rows, rows_directory

BOOSTED, TREES = 500, 300
TINY = {"BOOSTED": 5, "TREES": 5}


def lightgbm_500(train: Rows) -> Any:
    """500 trees of 63 leaves."""
    model = lightgbm.LGBMClassifier(n_estimators=BOOSTED, num_leaves=63, learning_rate=0.05, random_state=1, verbose=-1)
    return model.fit(train.rows, train.late)


def xgboost_500(train: Rows) -> Any:
    """500 trees of depth 6."""
    model = xgboost.XGBClassifier(n_estimators=BOOSTED, max_depth=6, learning_rate=0.05, random_state=1)
    return model.fit(train.rows, train.late)


def histgb_300(train: Rows) -> Any:
    """300 trees of 31 leaves, without early stopping."""
    model = HistGradientBoostingClassifier(max_iter=TREES, early_stopping=False, random_state=1)
    return model.fit(train.rows, train.late)


def forest_300(train: Rows) -> Any:
    """300 trees of about 18,000 nodes, trained with missing values; one job, scikit-learn's default."""
    model = RandomForestClassifier(TREES, min_samples_leaf=6, random_state=1, n_jobs=2).fit(train.rows, train.late)
    return model.set_params(n_jobs=None)


def logistic(train: Rows) -> Pipeline:
    """Imputed and scaled numbers and one-hot categories, from a pandas table."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer([("numbers", numbers, list(NUMBERS)), ("texts", texts, list(TEXTS))])
    return make_pipeline(columns, LogisticRegression(max_iter=300)).fit(train.raw, train.late)


FIT: dict[str, Callable[[Rows], Any]] = {
    "lightgbm": lightgbm_500,
    "xgboost": xgboost_500,
    "histgb": histgb_300,
    "forest": forest_300,
    "logistic": logistic,
}


def model_of(family: str) -> Path:
    """Return the folder of a trained model: `model.joblib`, and `model.txt` or `model.ubj` if its library has one."""
    key = [Path(__file__).read_text("utf-8"), str(rows_directory()), *versions()]
    return made(folder(f"model-{family}", of=key), lambda directory: _train(family, directory))


def _train(family: str, directory: Path) -> None:
    print(f"training {family} ...", file=sys.stderr, flush=True)
    model = FIT[family](rows("train"))
    joblib.dump(model, directory / "model.joblib")
    if family == "lightgbm":
        model.booster_.save_model(directory / "model.txt")
    if family == "xgboost":
        model.get_booster().save_model(directory / "model.ubj")


def load_model(directory: Path) -> Any:
    """Return the trained model of a folder."""
    return joblib.load(directory / "model.joblib")
