"""The decision threshold, chosen on the `choose` period from what a false alarm and a miss cost."""

from __future__ import annotations

import numpy as np

from headway.core.errors import DataError
from headway.evidence.tables import Floats, tally


def choose_threshold(labels: Floats, scores: Floats, *, false_alarm: float = 1.0, miss: float = 1.0) -> float:
    """The threshold t of least cost, where score >= t decides for the positive class; labels {0, 1} and scores [n].

    It lies half-way between two distinct scores, so that a conversion's rounding flips no decision, and outside [0, 1]
    where only that decides all rows alike. Of equal costs the lowest threshold is taken. Raises DataError where there
    is no row, or a cost is not positive.

    >>> choose_threshold(np.array([0., 1., 0., 1.]), np.array([.1, .2, .3, .4]), false_alarm=1, miss=4)
    0.15000000000000002
    """
    if not len(labels) or len(labels) != len(scores):
        raise DataError("a threshold needs rows, a label each", where=f"{len(labels)} labels, {len(scores)} scores")
    if not (false_alarm > 0 and miss > 0):
        raise DataError(
            f"costs must be positive, met false_alarm = {false_alarm:g}, miss = {miss:g}",
            where="headway.toml [model] costs",
            mend="costs = { false_alarm = 1, miss = 4 }",
        )
    distinct, codes = np.unique(scores, return_inverse=True)
    positives = tally(codes, len(distinct), labels)
    negatives = tally(codes, len(distinct)) - positives
    missed = np.concatenate([[0.0], np.cumsum(positives)])
    alarmed = negatives.sum() - np.concatenate([[0.0], np.cumsum(negatives)])
    best = int(np.argmin(false_alarm * alarmed + miss * missed))
    below = 0.0 if distinct[0] > 0 else distinct[0] - 1
    above = 1.0 if distinct[-1] < 1 else distinct[-1] + 1
    ends = np.concatenate([[below], distinct, [above]])
    return float((ends[best] + ends[best + 1]) / 2)
