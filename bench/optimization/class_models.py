"""The models of several classes in bench/optimize.py: how late a flight is, and which carrier flies it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

import flight_data
from cache import folder, made, versions
from optimization.datasets import TEST_ROWS, TESTED_FROM, TRAINED_TO, rows_directory

LATE_MINUTES = (-10, 5, 45)
CANCELLED = 10_000
BOOSTED, TREES, TRAIN_ROWS = 500, 300, 60_000
TINY = {"BOOSTED": 16, "TREES": 5, "TRAINED_TO": 1, "TEST_ROWS": 2_000}


def class_directory(family: str) -> Path:
    """Return the folder of `train.npy`, `test.npy` and their labels; the carriers lack the column of the carrier."""
    task = family.partition("_")[2]
    key = [Path(__file__).read_text("utf-8"), str(rows_directory())]
    return made(folder(f"rows-{task}", of=key), lambda directory: _write(task, directory))


def _write(task: str, directory: Path) -> None:
    for part, labels in _delays().items():
        table = np.load(rows_directory() / f"{part}.npy")
        if task == "carrier":
            table, labels = np.delete(table, 0, axis=1), np.nan_to_num(table[:, 0]).astype(np.int64)
        np.save(directory / f"{part}.npy", table)
        np.save(directory / f"{part}-late.npy", labels)


def _delays() -> dict[str, NDArray[np.int64]]:
    """Return the delay of the rows of each part in four classes; a cancelled flight is in the last."""
    known = flight_data.load().filter(pl.col("late").is_not_null())
    classes = np.digitize(known["arr_delay"].fill_null(CANCELLED).to_numpy(), LATE_MINUTES)
    month = known["departs_at"].dt.month().to_numpy()
    shuffled = np.random.default_rng(5).permutation(np.flatnonzero(month >= TESTED_FROM))[:TEST_ROWS]
    return {"train": classes[month <= TRAINED_TO], "test": classes[shuffled]}


def class_model_of(family: str) -> Path:
    """Return the folder of the trained model, with `model.joblib`, and `model.txt` of LightGBM."""
    key = [Path(__file__).read_text("utf-8"), str(class_directory(family)), *versions()]
    return made(folder(f"model-{family}", of=key), lambda directory: _train(family, directory))


def _train(family: str, directory: Path) -> None:
    print(f"training {family} ...", file=sys.stderr, flush=True)
    rows, labels = (np.load(class_directory(family) / f"{name}.npy") for name in ("train", "train-late"))
    chosen = np.random.default_rng(6).permutation(len(rows))[:TRAIN_ROWS]
    model = _model(family, len(np.unique(labels))).fit(rows[chosen], labels[chosen])
    joblib.dump(model.set_params(n_jobs=None), directory / "model.joblib")
    if hasattr(model, "booster_"):
        model.booster_.save_model(directory / "model.txt")


def _model(family: str, classes: int) -> Any:
    """Return the model of a family: 500 trees, one for each class and round, or 300 large ones, of 16 classes 100."""
    if family.startswith("forest"):
        trees = TREES // 3 if family == "forest_carrier" else TREES
        return RandomForestClassifier(trees, min_samples_leaf=6, random_state=1, n_jobs=2)
    return lightgbm.LGBMClassifier(
        n_estimators=BOOSTED // classes, num_leaves=63, learning_rate=0.05, random_state=1, n_jobs=2, verbose=-1
    )
