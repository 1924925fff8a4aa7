"""From which number of a column on the steps of a pipeline pass a value, to the last bit, as the library rounds it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.engines.estimators.pipelines.features import Image

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LARGEST = float(np.finfo(np.float64).max)
_SIGN = np.int64(np.iinfo(np.int64).min)


def first_at_least(image: Image, values: Floats) -> Floats:
    """For each value, the smallest float64 whose image is at least it; infinite if none is.

    `image` never falls as its number rises: float64 [m] -> float64 [m].
    """
    return _first(image, values, above=False)


def first_above(image: Image, values: Floats) -> Floats:
    """For each value, the smallest float64 whose image is above it; infinite if none is."""
    return _first(image, values, above=True)


def _first(image: Image, values: Floats, *, above: bool) -> Floats:
    """By halves of all float64, in the order of their bits: 64 looks, all values at once."""
    low, high = (np.full(len(values), _place(np.array([end]))[0]) for end in (-_LARGEST, _LARGEST))

    def passed(places: Ints) -> NDArray[np.bool_]:
        found = image(_number(places))
        return found > values if above else found >= values

    with np.errstate(all="ignore"):
        never = ~passed(high)
        for _ in range(64):
            middle = (low >> 1) + (high >> 1) + (low & high & 1)
            there = passed(middle)
            low, high = np.where(there, low, np.minimum(middle + 1, high)), np.where(there, middle, high)
    return np.where(never, np.inf, _number(high))


def _place(numbers: Floats) -> Ints:
    """Where numbers stand among all float64: whole numbers in the same order."""
    bits = numbers.view(np.int64)
    return np.where(bits < 0, _SIGN - bits, bits)


def _number(places: Ints) -> Floats:
    bits = np.where(places < 0, _SIGN - places, places)
    return bits.view(np.float64)
