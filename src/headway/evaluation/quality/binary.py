"""How well a binary model ranks, how near its probabilities are, and what of it was lost to the model as it came."""

from __future__ import annotations

import numpy as np

from headway.core.contracts import Comparison
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.quality import average_precision
from headway.evaluation.quality.mean import MOST, SMALLEST, mean
from headway.evaluation.statistics.intervals import CHANGE, SHARE, Floats, Sample, jackknife, lag1
from headway.evaluation.statistics.tables import (
    Answers,
    auc_without_each,
    binary_answers,
    exact_auc,
    mean_without_each,
    score_table,
)


def measure(subject: Comparison) -> list[Measurement]:
    """`roc_auc`, `average_precision`, `brier`, `log_loss`, each with a paired `.drop` (positive = worse).

    Beside them `base_rate`, and `.lag1` of AUC and Brier: how far groups lean on the group before.

    Raises NotApplicable where all labels are equal.
    """
    answers = binary_answers(subject)
    if answers.labels.min() == answers.labels.max():
        raise NotApplicable(f"all {answers.n_rows} labels are {answers.labels[0]:g}: there is nothing to rank")
    return [*_ranking(answers), *average_precision.measure(answers), *_nearness(answers)]


def log_loss(scores: Floats, labels: Floats) -> Floats:
    """Minus the logarithm of the probability given to what came true, each row in [0, 34.6]; both [n].

    >>> log_loss(np.array([0.5]), np.array([1.0])).round(3).tolist()
    [0.693]
    """
    of_truth = np.where(labels == 1, scores, 1 - scores)
    losses: Floats = -np.log(np.maximum(of_truth, SMALLEST))
    return losses


def _ranking(answers: Answers) -> list[Measurement]:
    score = Sample(n_rows=answers.n_rows, n_groups=answers.n_groups, bounds=SHARE)
    change = Sample(n_rows=answers.n_rows, n_groups=answers.n_groups, bounds=CHANGE)
    both = (answers.scores, answers.reference)
    value, reference = (exact_auc(scores, answers.labels, answers.weights) for scores in both)
    without, reference_without = (auc_without_each(score_table(scores, answers)) for scores in both)
    return [
        jackknife("roc_auc", value, without, score),
        jackknife("roc_auc.drop", reference - value, reference_without - without, change),
        lag1("roc_auc.lag1", without, change),
    ]


def _nearness(answers: Answers) -> list[Measurement]:
    squares = np.square(answers.scores - answers.labels)
    reference = np.square(answers.reference - answers.labels)
    without = mean_without_each(answers.per_block(squares), answers.rows)
    change = Sample(n_rows=answers.n_rows, n_groups=answers.n_groups, bounds=CHANGE)
    logs, were_logs = (log_loss(scores, answers.labels) for scores in (answers.scores, answers.reference))
    return [
        mean("brier", squares, answers, SHARE),
        mean("brier.drop", squares - reference, answers, CHANGE),
        lag1("brier.lag1", without, change),
        mean("log_loss", logs, answers, (0.0, MOST)),
        mean("log_loss.drop", logs - were_logs, answers, (-MOST, MOST)),
        mean("base_rate", answers.labels, answers, SHARE),
    ]
