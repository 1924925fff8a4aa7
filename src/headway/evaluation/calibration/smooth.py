"""Platt's, temperature and beta calibration: log-odds made anew from ln p and ln(1 - p), by logistic regression."""

from __future__ import annotations

import numpy as np

from headway.core.calibrator import Calibrator
from headway.evaluation.calibration.apply import TINY, Floats
from headway.optimization.logistic import fit_logistic, platt_targets


def platt(scores: Floats, labels: Floats) -> Calibrator:
    """Slope and shift of the log-odds (Platt 1999); scores in [0, 1], labels {0, 1}, both [n]."""
    up, down = _logs(scores)
    slope, shift = _rising(np.column_stack([up + down, np.ones(len(up))]), labels, n_slopes=1)
    return Calibrator(kind="platt", up=slope, down=slope, shift=shift)


def temperature(scores: Floats, labels: Floats) -> Calibrator:
    """Slope of the log-odds alone (Guo et al. 2017): one half stays one half."""
    up, down = _logs(scores)
    (slope,) = _rising((up + down)[:, None], labels, n_slopes=1)
    return Calibrator(kind="temperature", up=slope, down=slope)


def beta(scores: Floats, labels: Floats) -> Calibrator:
    """Slopes of ln p and ln(1 - p) and a shift (Kull, Silva Filho and Flach 2017), neither slope below 0."""
    up, down = _logs(scores)
    found = _rising(np.column_stack([up, down, np.ones(len(up))]), labels, n_slopes=2)
    return Calibrator(kind="beta", up=found[0], down=found[1], shift=found[2])


def _logs(scores: Floats) -> tuple[Floats, Floats]:
    """ln p and -ln(1 - p), both of which rise with p."""
    inside = np.clip(scores, TINY, 1 - TINY)
    return np.log(inside), -np.log1p(-inside)


def _rising(design: Floats, labels: Floats, *, n_slopes: int) -> list[float]:
    """Coefficients of the columns, of which the first `n_slopes` are at least 0: one that is below is left out."""
    kept = np.ones(design.shape[1], dtype=np.bool_)
    found = np.zeros(design.shape[1])
    while kept.any():
        start = np.where(np.arange(len(kept)) < n_slopes, 1.0, 0.0)[kept]
        found[:] = 0.0
        found[kept] = fit_logistic(design[:, kept], platt_targets(labels), start=start)
        below = found[:n_slopes] < 0
        if not below.any():
            break
        kept[int(np.argmin(found[:n_slopes]))] = False
    else:
        found[:] = 0.0
    return [float(value) for value in found]
