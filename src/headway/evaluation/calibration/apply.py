"""A calibrator made ready to be applied to scores, many at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from headway.core.calibrator import Calibrator

Floats = NDArray[np.float64]
Apply = Callable[[Floats], Floats]

TINY = 1e-12


def ready(calibrator: Calibrator) -> Apply:
    """What takes probabilities [...] to those that are answered [...], in [0, 1]; their order stays, as does NaN.

    >>> ready(Calibrator(shift=np.log(2)))(np.array([0.0, 0.5, 1.0])).round(6).tolist()
    [0.0, 0.666667, 1.0]
    """
    if not calibrator:
        return _unchanged
    if calibrator.knots:
        return _table(np.array(calibrator.knots), np.array(calibrator.values))
    if calibrator.up == calibrator.down == 1:
        return _shift(float(np.exp(calibrator.shift)))
    return _log_odds(calibrator)


def _unchanged(scores: Floats) -> Floats:
    return scores


def _shift(odds: float) -> Apply:
    return lambda scores: scores * odds / (1 - scores + scores * odds)


def _log_odds(calibrator: Calibrator) -> Apply:
    up, down, shift = calibrator.up, calibrator.down, calibrator.shift

    def apply(scores: Floats) -> Floats:
        inside = np.clip(scores, TINY, 1 - TINY)
        margin = up * np.log(inside) - down * np.log1p(-inside) + shift
        return 1 / (1 + np.exp(-np.clip(margin, -700, 700)))

    return apply


def _table(knots: Floats, values: Floats) -> Apply:
    if len(values) == len(knots):
        return lambda scores: np.interp(scores, knots, values)

    def apply(scores: Floats) -> Floats:
        places = np.searchsorted(knots, scores, side="left") + np.searchsorted(knots, scores, side="right")
        return np.where(np.isnan(scores), np.nan, values[places])

    return apply
