"""Fit a logistic regression on a few columns by Newton's method, to recalibrate probabilities."""

from __future__ import annotations

import numpy as np

from headway.core.arrays import Floats, sigmoid

_STEPS = 50


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
    """Smooth labels {0, 1} as in Platt (1999), so that separable classes have a finite slope.

    >>> platt_targets(np.array([0., 1., 1.])).tolist()
    [0.3333333333333333, 0.75, 0.75]
    """
    ones = float(labels.sum())
    found: Floats = np.where(labels > 0.5, (ones + 1) / (ones + 2), 1 / (len(labels) - ones + 2))
    return found
