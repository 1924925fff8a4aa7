"""Platt's, temperature and beta calibration: log-odds made anew from ln p and ln(1 - p), by logistic regression."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np

from headway.core.arrays import Bools, Floats, Ints
from headway.core.calibrator import Calibrator
from headway.evaluation.calibration.apply import MIN_PROBABILITY, calibration_function
from headway.evaluation.statistics.tables import tally
from headway.optimization.logistic import fit_logistic, platt_targets


def fit_platt(scores: Floats, labels: Floats) -> Calibrator:
    """Slope and shift of the log-odds (Platt 1999); scores in [0, 1], labels {0, 1}, both [n]."""
    up, down = _logs(scores)
    slope, shift = _rising(np.column_stack([up + down, np.ones(len(up))]), labels, n_slopes=1)
    return Calibrator(kind="platt", up=slope, down=slope, shift=shift)


def fit_temperature(scores: Floats, labels: Floats) -> Calibrator:
    """Slope of the log-odds alone (Guo et al. 2017): one half stays one half."""
    up, down = _logs(scores)
    (slope,) = _rising((up + down)[:, None], labels, n_slopes=1)
    return Calibrator(kind="temperature", up=slope, down=slope)


def fit_beta(scores: Floats, labels: Floats) -> Calibrator:
    """Slopes of ln p and ln(1 - p) and a shift (Kull, Silva Filho and Flach 2017), neither slope below 0."""
    up, down = _logs(scores)
    found = _rising(np.column_stack([up, down, np.ones(len(up))]), labels, n_slopes=2)
    return Calibrator(kind="beta", up=found[0], down=found[1], shift=found[2])


def _logs(scores: Floats) -> tuple[Floats, Floats]:
    """ln p and -ln(1 - p), both of which rise with p."""
    inside = np.clip(scores, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
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


Point = tuple[float, float]


def fit_isotonic(scores: Floats, labels: Floats) -> Calibrator:
    """Least squares among all functions that never fall, joined by lines; scores in [0, 1], labels {0, 1}, both [n]."""
    knots, rows, ones = _by_score(scores, labels)
    values = np.clip(isotonic_regression(ones / rows, rows), 0.0, 1.0)
    ends = np.ones(len(knots), dtype=np.bool_)  # within a level only its first and last score bend the line
    ends[1:-1] = (values[1:-1] != values[:-2]) | (values[1:-1] != values[2:])
    return Calibrator(kind="isotonic", knots=_kept(knots, ends), values=_kept(values, ends))


def isotonic_regression(values: Floats, weights: Floats) -> Floats:
    """The never falling sequence [m] nearest to values [m], by pooling neighbours that violate the order.

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
    """The inductive Venn-ABERS predictor (Vovk, Petej and Fedorova 2015), its two probabilities merged by log loss."""
    knots, low, high = venn_abers_pairs(scores, labels)
    merged = (high / (1 - low + high)).clip(0.0, 1.0)
    bends = (merged[0:-2:2] != merged[1:-1:2]) | (merged[1:-1:2] != merged[2::2])
    places = np.concatenate([[True], np.repeat(bends, 2)])
    merged = np.maximum.accumulate(merged)  # rounding alone can make it fall
    return Calibrator(kind="venn_abers", knots=_kept(knots, bends), values=_kept(merged, places))


def venn_abers_pairs(scores: Floats, labels: Floats) -> tuple[Floats, Floats, Floats]:
    """The m distinct scores, and both probabilities [2m + 1] below, at and above each: were the label 0, were it 1."""
    knots, rows, ones = _by_score(scores, labels)
    high = np.append(_fit_with_extra_positive(rows, ones), 1.0)
    low = np.append(0.0, 1 - _fit_with_extra_positive(rows[::-1], (rows - ones)[::-1])[::-1])
    # A label 1 is pooled with the next score above, a label 0 with the next below: so between two knots.
    count = len(knots)
    return knots, low[(np.arange(2 * count + 1) + 1) // 2], high[np.arange(2 * count + 1) // 2]


def _fit_with_extra_positive(rows: Floats, ones: Floats) -> Floats:
    """Isotonic regression [m] at each score with one more row there, of label 1, in time m.

    The row's segment of the sum diagram walks from the left end to the right, under it the hull of what lies ahead.
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
    """A new leftmost point on a hull; corners that lie on or above the line past them are dropped."""
    while len(corners) > 1:
        (x, y), (far, top) = corners[-1], corners[-2]
        if (y - point[1]) * (far - point[0]) < (top - point[1]) * (x - point[0]):
            break
        corners.pop()
    corners.append(point)


def _by_score(scores: Floats, labels: Floats) -> tuple[Floats, Floats, Floats]:
    """Distinct scores, ascending, with their rows and ones, each float64 [m]."""
    knots, codes = np.unique(scores, return_inverse=True)
    return knots, tally(codes, len(knots)), tally(codes, len(knots), labels)


def _kept(values: Floats, places: Bools) -> tuple[float, ...]:
    return tuple(values[places].tolist())


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
    """Of the fits, and of no repair, the one of least Brier score on the later half, fitted anew on all.

    Scores in [0, 1] and labels {0, 1}, float64 [n]; groups int64 [n], in order of time. The simplest comes first and
    stays where another is no better.
    """
    distinct = np.unique(groups)
    early = groups < distinct[len(distinct) // 2]
    if not early.any():
        return Calibrator()
    found: Fit | None = None
    least = float(np.square(scores[~early] - labels[~early]).mean())
    for fit in fits.values():
        repaired = calibration_function(fit(scores[early], labels[early], groups[early]))(scores[~early])
        loss = float(np.square(repaired - labels[~early]).mean())
        if loss < least:
            found, least = fit, loss
    return found(scores, labels, groups) if found else Calibrator()
