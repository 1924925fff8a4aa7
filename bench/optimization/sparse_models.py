"""The sparse rows and the LightGBM model of bench/optimize.py: 5,000 columns, of which a row stores about 50."""

from __future__ import annotations

import sys
from pathlib import Path

import joblib
import lightgbm
import numpy as np
from scipy import sparse

from cache import folder, made, versions

COLUMNS, STORED, TRAIN_ROWS, TEST_ROWS, BOOSTED = 5_000, 50, 10_000, 2_000, 500
TINY = {"COLUMNS": 60, "STORED": 8, "TRAIN_ROWS": 300, "TEST_ROWS": 100, "BOOSTED": 5}


def sparse_directory(_: str = "") -> Path:
    """Return the folder of `train.joblib` and `test.joblib`, csr of float64, and their labels."""
    return made(folder("rows-sparse", of=[Path(__file__).read_text("utf-8"), *versions()]), _write)


def _write(directory: Path) -> None:
    """Draw counts of words: the frequency of a column falls with its rank, as in texts."""
    draw = np.random.default_rng(11)
    frequency = 1 / (np.arange(COLUMNS) + 20)
    weights = draw.normal(size=COLUMNS) * (draw.random(COLUMNS) < 0.3)
    for part, rows in (("train", TRAIN_ROWS), ("test", TEST_ROWS)):
        columns = draw.choice(COLUMNS, size=(rows, STORED), p=frequency / frequency.sum())
        indptr = np.arange(0, rows * STORED + 1, STORED)
        table = sparse.csr_matrix((np.ones(rows * STORED), columns.ravel(), indptr), (rows, COLUMNS))
        table.sum_duplicates()
        table.data = np.log1p(table.data)
        scores = table @ weights + draw.normal(size=rows)
        joblib.dump(table, directory / f"{part}.joblib")
        np.save(directory / f"{part}-late.npy", (scores > 0).astype(np.int64))


def sparse_model_of(family: str) -> Path:
    """Return the folder of the trained model, with `model.joblib` and `model.txt`."""
    key = [str(sparse_directory()), *versions()]
    return made(folder(f"model-{family}", of=key), lambda directory: _train(family, directory))


def _train(family: str, directory: Path) -> None:
    print(f"training {family} ...", file=sys.stderr, flush=True)
    rows, labels = joblib.load(sparse_directory() / "train.joblib"), np.load(sparse_directory() / "train-late.npy")
    model = lightgbm.LGBMClassifier(n_estimators=BOOSTED, num_leaves=63, learning_rate=0.05, random_state=1, verbose=-1)
    # Two threads on busy cores wait for each other at every leaf: one trains in half a minute of CPU time.
    model.set_params(n_jobs=1, force_col_wise=True).fit(rows, labels)
    joblib.dump(model.set_params(n_jobs=None), directory / "model.joblib")
    model.booster_.save_model(directory / "model.txt")
