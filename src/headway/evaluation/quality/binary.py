"""Quality of binary classifiers: ranking and probabilities, with the drop against the baseline."""

from __future__ import annotations

import numpy as np

from headway.core.arrays import Floats
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.context import Comparison
from headway.evaluation.statistics.intervals import CHANGE, SHARE, Sample, jackknife_interval, lag1_measurement
from headway.evaluation.statistics.subsets import MAX_LOG_LOSS, MIN_PROBABILITY, mean_measurement
from headway.evaluation.statistics.tables import (
    BinaryAnswers,
    ScoreTable,
    binary_answers,
    exact_auc,
    leave_one_out_auc,
    leave_one_out_mean,
    score_table,
    tally,
    weighted,
)


def measure_binary(subject: Comparison) -> list[Measurement]:
    """Measure `roc_auc`, `average_precision`, `brier` and `log_loss`, each with a paired `.drop` (positive: worse).

    Also `base_rate`, and the `.lag1` autocorrelation of AUC and Brier between neighbouring groups. Raises NotApplicable
    if all labels are equal.
    """
    answers = binary_answers(subject)
    if answers.labels.min() == answers.labels.max():
        raise NotApplicable(f"all {answers.n_rows} labels are {answers.labels[0]:g}: ranking is undefined")
    return [*_ranking(answers), *measure_average_precision(answers), *_probability_errors(answers)]


def log_loss(scores: Floats, labels: Floats) -> Floats:
    """Return the negative log-likelihood of each row, in [0, 36.1]; scores and labels are (n,).

    >>> log_loss(np.array([0.5]), np.array([1.0])).round(3).tolist()
    [0.693]
    """
    of_truth = np.where(labels == 1, scores, 1 - scores)
    losses: Floats = -np.log(np.maximum(of_truth, MIN_PROBABILITY))
    return losses


def _ranking(answers: BinaryAnswers) -> list[Measurement]:
    score = Sample(n_rows=answers.n_rows, n_groups=answers.n_groups, bounds=SHARE)
    change = Sample(n_rows=answers.n_rows, n_groups=answers.n_groups, bounds=CHANGE)
    both = (answers.scores, answers.reference)
    value, reference = (exact_auc(scores, answers.labels, answers.weights) for scores in both)
    without, reference_without = (leave_one_out_auc(score_table(scores, answers)) for scores in both)
    return [
        jackknife_interval("roc_auc", value, without, score),
        jackknife_interval("roc_auc.drop", reference - value, reference_without - without, change),
        lag1_measurement("roc_auc.lag1", without, change),
    ]


def _probability_errors(answers: BinaryAnswers) -> list[Measurement]:
    squares = np.square(answers.scores - answers.labels)
    reference = np.square(answers.reference - answers.labels)
    without = leave_one_out_mean(answers.per_block(squares), answers.rows)
    change = Sample(n_rows=answers.n_rows, n_groups=answers.n_groups, bounds=CHANGE)
    logs, were_logs = (log_loss(scores, answers.labels) for scores in (answers.scores, answers.reference))
    return [
        mean_measurement("brier", squares, answers, SHARE),
        mean_measurement("brier.drop", squares - reference, answers, CHANGE),
        lag1_measurement("brier.lag1", without, change),
        mean_measurement("log_loss", logs, answers, (0.0, MAX_LOG_LOSS)),
        mean_measurement("log_loss.drop", logs - were_logs, answers, (-MAX_LOG_LOSS, MAX_LOG_LOSS)),
        mean_measurement("base_rate", answers.labels, answers, SHARE, related=answers.scores),
    ]


_BINS = 512


def measure_average_precision(answers: BinaryAnswers) -> list[Measurement]:
    """Measure `average_precision` and its paired `.drop` (positive: the variant is worse); needs both labels."""
    score, change = (
        Sample(n_rows=answers.n_rows, n_groups=answers.n_groups, bounds=bounds) for bounds in (SHARE, CHANGE)
    )
    both = (answers.scores, answers.reference)
    value, reference = (average_precision(scores, answers.labels, answers.weights) for scores in both)
    without, reference_without = (_leave_one_out_precision(_precision_table(scores, answers)) for scores in both)
    return [
        jackknife_interval("average_precision", value, without, score),
        jackknife_interval("average_precision.drop", reference - value, reference_without - without, change),
    ]


def average_precision(scores: Floats, labels: Floats, weights: Floats | None = None) -> float:
    """Compute the average precision of scores (n,) and labels {0, 1} (n,); every distinct score is a threshold.

    >>> round(average_precision(np.array([.1, .4, .35, .8]), np.array([0., 0., 1., 1.])), 4)
    0.8333
    """
    distinct, codes = np.unique(scores, return_inverse=True)
    positives = tally(codes, len(distinct), weighted(labels, weights))
    return float(_mean_precision(positives, tally(codes, len(distinct), weights)))


def _precision_table(scores: Floats, answers: BinaryAnswers) -> ScoreTable:
    """Count rows between quantiles of the positives' scores, the only thresholds with weight."""
    ordered = np.sort(scores[answers.labels == 1])
    edges = np.unique(ordered[np.arange(_BINS) * len(ordered) // _BINS])
    return score_table(scores, answers, edges)


def _leave_one_out_precision(table: ScoreTable) -> Floats:
    positives, rows = table.positives, table.positives + table.negatives
    return _mean_precision(positives.sum(0) - positives, rows.sum(0) - rows)


def _mean_precision(positives: Floats, rows: Floats) -> Floats:
    """Return the mean precision over positives from counts (..., bins) in order of score; NaN without a positive."""
    found, above = (np.cumsum(counts[..., ::-1], -1)[..., ::-1] for counts in (positives, rows))
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(above > 0, found / above, 0.0)
        average: Floats = (positives * precision).sum(-1) / positives.sum(-1)
    return average
