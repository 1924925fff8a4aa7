"""Classes that count alike in training: by weights where the training function takes them, else by rows that recur."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def balanced_weights(labels: Floats) -> Floats:
    """The weight of each row, with which all classes have one sum; labels and weights [n], the weights' mean is 1.

    >>> weights_of(np.array([0.0, 0.0, 0.0, 1.0])).round(3).tolist()
    [0.667, 0.667, 0.667, 2.0]
    """
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights: Floats = (len(labels) / len(classes) / counts)[codes]
    return weights


def balanced_indices(labels: Floats, *, seed: int = 0) -> Ints:
    """Rows [m] that give each class as many as the largest has: each of a class as often as another, the rest drawn.

    >>> places_of(np.array([0.0, 0.0, 0.0, 1.0])).tolist()
    [0, 1, 2, 3, 3, 3]
    """
    rng = np.random.default_rng(seed)
    of_class = [np.flatnonzero(labels == each) for each in np.unique(labels)]
    most = max(map(len, of_class))
    found = [
        np.concatenate([np.tile(each, most // len(each)), rng.choice(each, most % len(each), replace=False)])
        for each in of_class
    ]
    places: Ints = np.sort(np.concatenate(found))
    return places
