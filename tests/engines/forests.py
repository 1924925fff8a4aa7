"""Small fitted scikit-learn tree models for tests, and the difference between their Forest and their library."""

from __future__ import annotations

from typing import Any

import numpy as np
from tests.engines.boosters import table, targets
from tests.engines.forest_walk import answers

from headway.core.arrays import Floats
from headway.core.plugins import load_engine
from headway.engines.formats.trees import accepted_rows
from headway.engines.sklearn import Sklearn
from headway.optimization.parity import edge_rows


def complete_rows(rows: int = 400) -> Floats:
    """The table with missing values filled."""
    return np.nan_to_num(table(rows), nan=-1.0)


def fitted(model: Any, rows: Floats, kind: str) -> bytes:
    """The bytes of a model fitted on these rows with the target of that kind."""
    return Sklearn.import_model(model.fit(rows, targets(np.nan_to_num(rows), kind))).content


def hard(name: str, content: bytes, rows: Floats) -> Floats:
    """Rows, and rows at the edges of the trees, without those that the library rejects."""
    forest = load_engine(name).forest(content)
    return np.concatenate([rows[accepted_rows(forest, rows)], edge_rows(forest, rows)])


def moved(name: str, content: bytes, rows: Floats) -> float:
    """The largest difference from the library on hard rows, relative where predictions exceed 1."""
    hard_rows = hard(name, content, rows)
    engine = load_engine(name)
    with np.errstate(over="ignore", invalid="ignore"):  # numbers beyond float32 are among the edges
        expected = engine(content, {"threads": 1}).predict(hard_rows)
    assert np.ptp(expected) > 0 and np.isfinite(expected).all()
    found = answers(engine.forest(content), hard_rows)
    return float(np.max(np.abs(found - expected) / np.maximum(1, np.abs(expected))))
