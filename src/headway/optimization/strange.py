"""Rows as no table has them: what exporters write nodes for, one value in one column at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_EDGE_VALUES = (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e9, -1e9)


def add_edge_cases(rows: Floats) -> Floats:
    """The rows, and one more for each column and each strange value: none, endless, far off."""
    base = np.nan_to_num(rows[:1]) if len(rows) else np.zeros((1, rows.shape[1]))
    made = np.repeat(base, rows.shape[1] * len(_EDGE_VALUES), axis=0)
    for number, row in enumerate(made):
        row[number % rows.shape[1]] = _EDGE_VALUES[number // rows.shape[1]]
    return np.concatenate([rows, made])
