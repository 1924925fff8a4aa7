"""Fit calibrators: Platt, temperature, beta, isotonic and Venn-ABERS, and choose the best of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np

from headway.core.arrays import Bools, Floats, Ints, fit_logistic, platt_targets
from headway.core.calibrator import Calibrator
from headway.evaluation.calibration.apply import MIN_PROBABILITY, calibration_function
from headway.evaluation.statistics.tables import tally


def fit_platt(scores: Floats, labels: Floats, weights: Floats | None = None) -> Calibrator:
    """Fit slope and shift of the log-odds (Platt 1999); scores in [0, 1], labels {0, 1}, weights > 0, all (n,)."""
    up, down = _logs(scores)
    slope, shift = _rising(np.column_stack([up + down, np.ones(len(up))]), labels, n_slopes=1, weights=weights)
    return Calibrator(kind="platt", up=slope, down=slope, shift=shift)


def fit_temperature(scores: Floats, labels: Floats) -> Calibrator:
    """Fit the slope of the log-odds alone (Guo et al. 2017); one half stays one half."""
    up, down = _logs(scores)
    (slope,) = _rising((up + down)[:, None], labels, n_slopes=1)
    return Calibrator(kind="temperature", up=slope, down=slope)


def fit_beta(scores: Floats, labels: Floats) -> Calibrator:
    """Fit slopes of ln p and ln(1 - p), neither below 0, and a shift (Kull, Silva Filho and Flach 2017)."""
    up, down = _logs(scores)
    found = _rising(np.column_stack([up, down, np.ones(len(up))]), labels, n_slopes=2)
    return Calibrator(kind="beta", up=found[0], down=found[1], shift=found[2])


def _logs(scores: Floats) -> tuple[Floats, Floats]:
    """Return ln p and -ln(1 - p), both of which rise with p."""
    inside = np.clip(scores, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    return np.log(inside), -np.log1p(-inside)


def _rising(design: Floats, labels: Floats, *, n_slopes: int, weights: Floats | None = None) -> list[float]:
    """Fit coefficients, the first `n_slopes` of which are at least 0; a column with a negative one is dropped."""
    kept_columns = np.ones(design.shape[1], dtype=np.bool_)
    found = np.zeros(design.shape[1])
    while kept_columns.any():
        start = np.where(np.arange(len(kept_columns)) < n_slopes, 1.0, 0.0)[kept_columns]
        found[:] = 0.0
        found[kept_columns] = fit_logistic(design[:, kept_columns], platt_targets(labels), start=start, weights=weights)
        below = found[:n_slopes] < 0
        if not below.any():
            break
        kept_columns[int(np.argmin(found[:n_slopes]))] = False
    else:
        found[:] = 0.0
    return [float(value) for value in found]


Point = tuple[float, float]


def fit_isotonic(scores: Floats, labels: Floats) -> Calibrator:
    """Fit isotonic regression with linear interpolation; scores in [0, 1], labels {0, 1}, both (n,)."""
    knots, rows, ones = _by_score(scores, labels)
    values = np.clip(isotonic_regression(ones / rows, rows), 0.0, 1.0)
    ends = np.ones(len(knots), dtype=np.bool_)  # within a level only its first and last score bend the line
    ends[1:-1] = (values[1:-1] != values[:-2]) | (values[1:-1] != values[2:])
    return Calibrator(kind="isotonic", knots=_select(knots, ends), values=_select(values, ends))


def isotonic_regression(values: Floats, weights: Floats) -> Floats:
    """Return the non-decreasing sequence (m,) nearest to values (m,), by pooling adjacent violators.

    >>> isotonic_regression(np.array([1., 0., 4.]), np.array([1., 3., 1.])).tolist()
    [0.25, 0.25, 4.0]
    """
    sums: list[float] = []
    masses: list[float] = []
    sizes: list[int] = []
    for total, mass in zip((values * weights).tolist(), weights.tolist(), strict=True):
        size = 1
        while sums and sums[-1] * mass >= total * masses[-1]:
            total, mass, size = total + sums.pop(), mass + masses.pop(), size + sizes.pop()
        sums.append(total)
        masses.append(mass)
        sizes.append(size)
    return np.repeat(np.array(sums) / np.array(masses), sizes)


def fit_venn_abers(scores: Floats, labels: Floats) -> Calibrator:
    """Fit the inductive Venn-ABERS predictor (Vovk, Petej and Fedorova 2015); log loss merges its two probabilities."""
    knots, low, high = venn_abers_pairs(scores, labels)
    merged = (high / (1 - low + high)).clip(0.0, 1.0)
    bends = (merged[0:-2:2] != merged[1:-1:2]) | (merged[1:-1:2] != merged[2::2])
    mask = np.concatenate([[True], np.repeat(bends, 2)])
    merged = np.maximum.accumulate(merged)  # rounding alone can make it fall
    return Calibrator(kind="venn_abers", knots=_select(knots, bends), values=_select(merged, mask))


def venn_abers_pairs(scores: Floats, labels: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the m distinct scores, and the probabilities (2m + 1,) if the label were 0, and if it were 1.

    Entries alternate between the intervals around the scores and the scores themselves.
    """
    knots, rows, ones = _by_score(scores, labels)
    high = np.append(_fit_with_extra_positive(rows, ones), 1.0)
    low = np.append(0.0, 1 - _fit_with_extra_positive(rows[::-1], (rows - ones)[::-1])[::-1])
    # A label 1 is pooled with the next score above, a label 0 with the next below: so between two knots.
    count = len(knots)
    return knots, low[(np.arange(2 * count + 1) + 1) // 2], high[np.arange(2 * count + 1) // 2]


def _fit_with_extra_positive(rows: Floats, ones: Floats) -> Floats:
    """Return isotonic regression (m,) at each score with one more positive row there, in O(m).

    The row's segment of the cumulative sum diagram moves from left to right over the hull of the points ahead.
    """
    points = list(zip([0.0, *np.cumsum(rows).tolist()], [0.0, *np.cumsum(ones).tolist()], strict=True))
    behind: Point = (-1.0, -1.0)
    ahead: list[Point] = []  # the corners of the greatest convex minorant, the leftmost last
    for point in reversed([behind, *points]):
        _push(ahead, point)
    found = []
    for before, after in pairwise(points):
        (x, y), (right, above) = ahead[-1], ahead[-2]
        found.append((above - y) / (right - x))
        behind = (behind[0] + after[0] - before[0], behind[1] + after[1] - before[1])
        if (behind[1] - y) * (right - x) < (above - y) * (behind[0] - x):
            ahead.pop()
            _push(ahead, behind)
    return np.array(found)


def _push(corners: list[Point], point: Point) -> None:
    """Add a new leftmost point to a hull, dropping corners on or above the line past them."""
    while len(corners) > 1:
        (x, y), (far, top) = corners[-1], corners[-2]
        if (y - point[1]) * (far - point[0]) < (top - point[1]) * (x - point[0]):
            break
        corners.pop()
    corners.append(point)


def _by_score(scores: Floats, labels: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the distinct scores in ascending order with their rows and positives, each (m,)."""
    knots, codes = np.unique(scores, return_inverse=True)
    return knots, tally(codes, len(knots)), tally(codes, len(knots), labels)


def _select(values: Floats, mask: Bools) -> tuple[float, ...]:
    return tuple(values[mask].tolist())


Fit = Callable[[Floats, Floats, Ints], Calibrator]


def _of_rows(fit: Callable[[Floats, Floats], Calibrator]) -> Fit:
    return lambda scores, labels, groups: fit(scores, labels)


CALIBRATION_METHODS: Mapping[str, Fit] = {
    "temperature": _of_rows(fit_temperature),
    "platt": _of_rows(fit_platt),
    "beta": _of_rows(fit_beta),
    "isotonic": _of_rows(fit_isotonic),
    "venn_abers": _of_rows(fit_venn_abers),
}


def choose_calibrator(
    scores: Floats, labels: Floats, groups: Ints, fits: Mapping[str, Fit] = CALIBRATION_METHODS
) -> Calibrator:
    """Fit each method on the earlier half of the groups, and refit the best one on all rows.

    Parameters
    ----------
    scores, labels : ndarray of shape (n,)
        Probabilities in [0, 1], and labels 0 or 1.
    groups : ndarray of shape (n,)
        Groups numbered in order of time.
    fits : mapping of str to callable
        Methods in order of simplicity.

    Returns
    -------
    Calibrator
        The one with the lowest Brier score on the later half; a simpler one wins a tie, and no calibration is simplest.
    """
    distinct = np.unique(groups)
    early = groups < distinct[len(distinct) // 2]
    if not early.any():
        return Calibrator()
    found: Fit | None = None
    lowest = float(np.square(scores[~early] - labels[~early]).mean())
    for fit in fits.values():
        recalibrated = calibration_function(fit(scores[early], labels[early], groups[early]))(scores[~early])
        loss = float(np.square(recalibrated - labels[~early]).mean())
        if loss < lowest:
            found, lowest = fit, loss
    return found(scores, labels, groups) if found else Calibrator()
