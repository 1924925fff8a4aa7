"""The CatBoost model with categories of bench/optimize.py; `optimization.models` opens it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import catboost
import joblib

from cache import folder, made, versions
from optimization.datasets import TEXTS, Rows, rows, rows_directory

BOOSTED, TRAIN_ROWS = 500, 40_000
TINY = {"BOOSTED": 5, "TRAIN_ROWS": 1_000}


def catboost_500(train: Rows) -> Any:
    """500 symmetric trees of depth 6, from a pandas table with three columns of strings."""
    every = max(len(train.raw) // TRAIN_ROWS, 1)
    model = catboost.CatBoostClassifier(
        iterations=BOOSTED, depth=6, learning_rate=0.05, random_seed=1, verbose=0, allow_writing_files=False
    )
    return model.fit(train.raw[::every], train.late[::every], cat_features=list(TEXTS))


def category_model_of(family: str) -> Path:
    """Return the folder of the trained model, with `model.joblib` and `model.cbm`."""
    key = [Path(__file__).read_text("utf-8"), str(rows_directory()), *versions(), catboost.__version__]
    return made(folder(f"model-{family}", of=key), lambda directory: _train(family, directory))


def _train(family: str, directory: Path) -> None:
    print(f"training {family} ...", file=sys.stderr, flush=True)
    model = catboost_500(rows("train"))
    joblib.dump(model, directory / "model.joblib")
    model.save_model(str(directory / "model.cbm"))
