"""Types of the arrays and bytes that modules exchange; copies, sigmoid, softmax and logistic regression by numpy."""

from __future__ import annotations

from collections.abc import Sequence
from mmap import mmap
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Buffer = bytes | bytearray | memoryview | mmap  # collections.abc has it from Python 3.12 on


def sparse_to_dense(rows: Any, absent: float) -> Floats:
    """Convert a SciPy sparse matrix to float64 (n, d) with `absent` in cells not stored; a stored zero stays a zero.

    Values that are stored for the same cell are summed, as SciPy does.
    """
    table = rows.tocsr()
    if not table.has_canonical_format:
        table = summed_duplicates(table)
    found, stored = np.full(table.shape, absent, dtype=np.float64), table.indptr[-1]
    found[np.repeat(np.arange(len(found)), np.diff(table.indptr)), table.indices[:stored]] = table.data[:stored]
    return found


def summed_duplicates(rows: Any) -> Any:
    """Return a copy of a SciPy matrix in CSR form in which each cell is stored at most once."""
    found = rows.copy()
    found.sum_duplicates()
    return found


_ROWS_AT_ONCE = 4096
"""Rows that stay in the cache while their columns are copied, each to its cells in them."""


def copy_rows(columns: Sequence[Sequence[Floats]], start: int, stop: int, *, order: Literal["C", "F"]) -> Floats:
    """Copy rows [start, stop) of columns, each of arrays that follow one another, to an array (n, d) in an order."""
    rows = np.empty((stop - start, len(columns)), order=order)
    at_once = _ROWS_AT_ONCE if order == "C" else max(len(rows), 1)
    for begin in range(0, len(rows), at_once):
        for index, arrays in enumerate(columns):
            _fill(rows[begin : begin + at_once, index], arrays, start + begin)
    return rows


def _fill(out: Floats, arrays: Sequence[Floats], start: int) -> None:
    """Fill an array from those that follow one another, from index `start` of them on."""
    row = -start
    for array in arrays:
        low, high = max(row, 0), min(row + len(array), len(out))
        if low < high:
            out[low:high] = array[low - row : high - row]
        row += len(array)


def sigmoid(x: Floats, *, limit: float = 700.0) -> Floats:
    """Compute 1 / (1 + exp(-x)), with x clipped to [-limit, limit] so that exp does not overflow."""
    rates: Floats = np.asarray(1 / (1 + np.exp(-np.clip(x, -limit, limit))))
    return rates


def logit(p: Floats, *, epsilon: float) -> Floats:
    """Compute log(p / (1 - p)), with p clipped to [epsilon, 1 - epsilon]."""
    inside = np.clip(p, epsilon, 1 - epsilon)
    odds: Floats = np.asarray(np.log(inside / (1 - inside)))
    return odds


def softmax(x: Floats) -> Floats:
    """Compute the softmax of each row of x, of shape (n, k)."""
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    shares: Floats = np.asarray(powers / powers.sum(axis=1, keepdims=True))
    return shares


_NEWTON_STEPS = 50


def fit_logistic(design: Floats, labels: Floats, *, start: Floats, weights: Floats | None = None) -> Floats:
    """Fit the coefficients of a logistic regression by maximum likelihood.

    Parameters
    ----------
    design : ndarray of shape (n, k)
        Columns of the regression.
    labels : ndarray of shape (n,)
        Targets in [0, 1].
    start : ndarray of shape (k,)
        Coefficients to start from.
    weights : ndarray of shape (n,), optional
        Sample weights; 1 by default.

    Returns
    -------
    ndarray of shape (k,)
    """
    found, weights = start, np.ones(len(labels)) if weights is None else weights
    for _ in range(_NEWTON_STEPS):
        chance = sigmoid(design @ found)
        gradient = design.T @ (weights * (labels - chance))
        curve = design.T @ (design * (weights * chance * (1 - chance))[:, None])
        step = np.linalg.lstsq(curve, gradient, rcond=None)[0]
        found = found + np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-9:
            break
    return found


def platt_targets(labels: Floats) -> Floats:
    """Smooth labels {0, 1} as in Platt (1999), so that separable classes have a finite slope.

    >>> platt_targets(np.array([0., 1., 1.])).tolist()
    [0.3333333333333333, 0.75, 0.75]
    """
    ones = float(labels.sum())
    found: Floats = np.where(labels > 0.5, (ones + 1) / (ones + 2), 1 / (len(labels) - ones + 2))
    return found
