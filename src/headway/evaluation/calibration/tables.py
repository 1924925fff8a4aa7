"""Isotonic regression and Venn-ABERS predictors: probabilities looked up in a table of scores that never falls."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from headway.core.calibrator import Calibrator
from headway.evaluation.calibration.apply import Floats
from headway.evaluation.statistics.tables import tally

Bools = NDArray[np.bool_]
Point = tuple[float, float]


def isotonic(scores: Floats, labels: Floats) -> Calibrator:
    """Least squares among all functions that never fall, joined by lines; scores in [0, 1], labels {0, 1}, both [n]."""
    knots, rows, ones = _by_score(scores, labels)
    values = np.clip(never_falling(ones / rows, rows), 0.0, 1.0)
    ends = np.ones(len(knots), dtype=np.bool_)  # within a level only its first and last score bend the line
    ends[1:-1] = (values[1:-1] != values[:-2]) | (values[1:-1] != values[2:])
    return Calibrator(kind="isotonic", knots=_kept(knots, ends), values=_kept(values, ends))


def never_falling(values: Floats, weights: Floats) -> Floats:
    """The never falling sequence [m] nearest to values [m], by pooling neighbours that violate the order.

    >>> never_falling(np.array([1., 0., 4.]), np.array([1., 3., 1.])).tolist()
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


def venn_abers(scores: Floats, labels: Floats) -> Calibrator:
    """The inductive Venn-ABERS predictor (Vovk, Petej and Fedorova 2015), its two probabilities merged by log loss."""
    knots, low, high = venn_pairs(scores, labels)
    merged = (high / (1 - low + high)).clip(0.0, 1.0)
    bends = (merged[0:-2:2] != merged[1:-1:2]) | (merged[1:-1:2] != merged[2::2])
    places = np.concatenate([[True], np.repeat(bends, 2)])
    merged = np.maximum.accumulate(merged)  # rounding alone can make it fall
    return Calibrator(kind="venn_abers", knots=_kept(knots, bends), values=_kept(merged, places))


def venn_pairs(scores: Floats, labels: Floats) -> tuple[Floats, Floats, Floats]:
    """The m distinct scores, and both probabilities [2m + 1] below, at and above each: were the label 0, were it 1."""
    knots, rows, ones = _by_score(scores, labels)
    high = np.append(_were_it_one(rows, ones), 1.0)
    low = np.append(0.0, 1 - _were_it_one(rows[::-1], (rows - ones)[::-1])[::-1])
    # A label 1 is pooled with the next score above, a label 0 with the next below: so between two knots.
    count = len(knots)
    return knots, low[(np.arange(2 * count + 1) + 1) // 2], high[np.arange(2 * count + 1) // 2]


def _were_it_one(rows: Floats, ones: Floats) -> Floats:
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
