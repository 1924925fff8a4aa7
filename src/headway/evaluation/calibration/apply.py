"""Apply a calibrator to scores, and adjust probabilities to another class prior."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from headway.core.arrays import Floats, sigmoid
from headway.core.calibrator import Calibrator

CalibrationFunction = Callable[[Floats], Floats]

MIN_PROBABILITY = 1e-12


def calibration_function(calibrator: Calibrator) -> CalibrationFunction:
    """Return the function that maps probabilities to calibrated ones in [0, 1]; it keeps their order, and NaN.

    >>> calibration_function(Calibrator(shift=np.log(2)))(np.array([0.0, 0.5, 1.0])).round(6).tolist()
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


def _shift(odds: float) -> CalibrationFunction:
    return lambda scores: scores * odds / (1 - scores + scores * odds)


def _log_odds(calibrator: Calibrator) -> CalibrationFunction:
    up, down, shift = calibrator.up, calibrator.down, calibrator.shift

    def apply(scores: Floats) -> Floats:
        inside = np.clip(scores, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
        margin = up * np.log(inside) - down * np.log1p(-inside) + shift
        return sigmoid(margin)

    return apply


def _table(knots: Floats, values: Floats) -> CalibrationFunction:
    if len(values) == len(knots):
        return lambda scores: np.interp(scores, knots, values)

    def apply(scores: Floats) -> Floats:
        positions = np.searchsorted(knots, scores, side="left") + np.searchsorted(knots, scores, side="right")
        return np.where(np.isnan(scores), np.nan, values[positions])

    return apply


EM_ITERATIONS, EM_TOLERANCE = 1_000, 1e-9


def adjust_to_prior(scores: Floats, learned: float, share: float) -> Floats:
    """Adjust probabilities (n,) from the share of positives in training to another one (Elkan 2001).

    The odds are multiplied by the odds of `share` over those of `learned`, both in (0, 1).

    >>> import numpy as np
    >>> adjust_to_prior(np.array([0.5]), 0.5, 0.1).round(6).tolist()
    [0.1]
    """
    odds = share / (1 - share) * (1 - learned) / learned
    found: Floats = scores * odds / (1 - scores + scores * odds)
    return found


def estimate_prior(scores: Floats, learned: float) -> float:
    """Estimate the share of positives among rows from their scores (n,) alone, by expectation maximization.

    The method is that of Saerens, Latinne and Decaestecker (2002). It takes the scores as calibrated: the scores of
    another model bias the estimate.

    >>> import numpy as np
    >>> round(estimate_prior(np.array([0.05] * 80 + [0.8] * 20), 0.3), 3)
    0.132
    """
    share = learned
    for _ in range(EM_ITERATIONS):
        before, share = share, float(adjust_to_prior(scores, learned, share).mean())
        share = min(max(share, EM_TOLERANCE), 1 - EM_TOLERANCE)
        if abs(share - before) < EM_TOLERANCE:
            break
    return share
