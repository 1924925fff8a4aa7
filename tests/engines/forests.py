"""Small fitted models of trees of scikit-learn for tests, and how far their Forest answers from their library."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.engines.boosters import table, targets
from tests.engines.forest_walk import answers

from headway.core.plugins import load_engine
from headway.engines.formats.trees import accepted_rows
from headway.engines.sklearn import Sklearn
from headway.optimization.parity import edge_rows

Floats = NDArray[np.float64]


def complete_rows(rows: int = 400) -> Floats:
    """The table with its gaps filled."""
    return np.nan_to_num(table(rows), nan=-1.0)


def fitted(model: Any, rows: Floats, kind: str) -> bytes:
    """The bytes of a model fitted on these rows and the target of that kind of them."""
    return Sklearn.import_model(model.fit(rows, targets(np.nan_to_num(rows), kind))).content


def hard(name: str, content: bytes, rows: Floats) -> Floats:
    """Rows, and rows at the edges of the trees; none that the library refuses."""
    forest = load_engine(name).forest(content)
    return np.concatenate([rows[accepted_rows(forest, rows)], edge_rows(forest, rows)])


def moved(name: str, content: bytes, rows: Floats) -> float:
    """How far the forest's answers are from the library's on hard rows, relative where those exceed 1."""
    hard_rows = hard(name, content, rows)
    engine = load_engine(name)
    with np.errstate(over="ignore", invalid="ignore"):  # numbers beyond float32 are among the edges
        expected = engine(content, {"threads": 1}).predict(hard_rows)
    assert np.ptp(expected) > 0 and np.isfinite(expected).all()
    found = answers(engine.forest(content), hard_rows)
    return float(np.max(np.abs(found - expected) / np.maximum(1, np.abs(expected))))
