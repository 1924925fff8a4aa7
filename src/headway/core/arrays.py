"""Types of the numpy arrays that modules pass to each other, and sigmoid, logit and softmax with numpy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


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
