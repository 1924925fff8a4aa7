"""Logistic regression of labels on a few columns, by Newton's method: what probabilities are set right by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.core.numerics import sigmoid

Floats = NDArray[np.float64]

_STEPS = 50


def fit_logistic(design: Floats, labels: Floats, *, start: Floats, weights: Floats | None = None) -> Floats:
    """The likeliest coefficients [k] of design [n, k] for labels [n] in [0, 1], sought from `start` [k]."""
    found, weights = start, np.ones(len(labels)) if weights is None else weights
    for _ in range(_STEPS):
        chance = sigmoid(design @ found)
        gradient = design.T @ (weights * (labels - chance))
        curve = design.T @ (design * (weights * chance * (1 - chance))[:, None])
        step = np.linalg.lstsq(curve, gradient, rcond=None)[0]
        found = found + np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-9:
            break
    return found


def platt_targets(labels: Floats) -> Floats:
    """Labels {0, 1} a little less sure (Platt 1999): classes that are wholly apart then ask for no endless slope.

    >>> platt_targets(np.array([0., 1., 1.])).tolist()
    [0.3333333333333333, 0.75, 0.75]
    """
    ones = float(labels.sum())
    found: Floats = np.where(labels > 0.5, (ones + 1) / (ones + 2), 1 / (len(labels) - ones + 2))
    return found
