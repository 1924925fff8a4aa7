"""Average precision: the precision of the rows above each positive, whole and with each block left out."""

from __future__ import annotations

import numpy as np

from headway.core.evidence import Measurement
from headway.evaluation.statistics.intervals import CHANGE, SHARE, Floats, Sample, jackknife
from headway.evaluation.statistics.tables import Answers, ScoreTable, score_table, tally, weighted

_BINS = 512


def measure(answers: Answers) -> list[Measurement]:
    """`average_precision` and its paired `.drop` (positive = the variant is worse); both labels must be there."""
    score, change = (
        Sample(n_rows=answers.n_rows, n_groups=answers.n_groups, bounds=bounds) for bounds in (SHARE, CHANGE)
    )
    both = (answers.scores, answers.reference)
    value, reference = (exact(scores, answers.labels, answers.weights) for scores in both)
    without, reference_without = (_without_each(_table(scores, answers)) for scores in both)
    return [
        jackknife("average_precision", value, without, score),
        jackknife("average_precision.drop", reference - value, reference_without - without, change),
    ]


def exact(scores: Floats, labels: Floats, weights: Floats | None = None) -> float:
    """Average precision of scores [n] and labels {0, 1} [n], every distinct score a step of its own.

    >>> round(exact(np.array([.1, .4, .35, .8]), np.array([0., 0., 1., 1.])), 4)
    0.8333
    """
    distinct, codes = np.unique(scores, return_inverse=True)
    positives = tally(codes, len(distinct), weighted(labels, weights))
    return float(_average(positives, tally(codes, len(distinct), weights)))


def _table(scores: Floats, answers: Answers) -> ScoreTable:
    """Counts between quantiles of the positives' scores: precision changes its weight at these alone."""
    ordered = np.sort(scores[answers.labels == 1])
    edges = np.unique(ordered[np.arange(_BINS) * len(ordered) // _BINS])
    return score_table(scores, answers, edges)


def _without_each(table: ScoreTable) -> Floats:
    positives, rows = table.positives, table.positives + table.negatives
    return _average(positives.sum(0) - positives, rows.sum(0) - rows)


def _average(positives: Floats, rows: Floats) -> Floats:
    """The mean precision over positives from counts [..., bins] in order of score -> [...]; NaN without a positive."""
    found, above = (np.cumsum(each[..., ::-1], -1)[..., ::-1] for each in (positives, rows))
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(above > 0, found / above, 0.0)
        average: Floats = (positives * precision).sum(-1) / positives.sum(-1)
    return average
