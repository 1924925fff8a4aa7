"""Quality of multiclass classifiers: decisions and probabilities, with the drop against the baseline."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headway.core.arrays import Floats
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.context import Comparison
from headway.evaluation.statistics.intervals import CHANGE, SHARE, Sample, jackknife_interval
from headway.evaluation.statistics.subsets import MAX_LOG_LOSS, MIN_PROBABILITY, mean_measurement
from headway.evaluation.statistics.tables import Blocks, build_blocks, tally, weighted

TOP = 3
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassAnswers:
    """Labels int64 (n,) in 0..k-1, and probabilities of the variant and the baseline, float64 (n, k)."""

    labels: NDArray[np.int64]
    scores: Floats
    reference: Floats
    blocks: Blocks


def measure_multiclass(subject: Comparison) -> list[Measurement]:
    """Measure `accuracy`, `macro_f1`, `log_loss`, `brier` (summed over classes, up to 2) and `top3_accuracy`.

    Each has a paired `.drop` (positive: the variant is worse). `top3_accuracy` needs more than three classes.
    """
    answers = class_answers(subject)
    right, was_right = (_is_correct(scores, answers.labels) for scores in (answers.scores, answers.reference))
    logs, were_logs = (_log_loss(scores, answers.labels) for scores in (answers.scores, answers.reference))
    brier, was_brier = (brier_scores(scores, answers.labels) for scores in (answers.scores, answers.reference))
    return [
        mean_measurement("accuracy", right, answers.blocks, SHARE),
        mean_measurement("accuracy.drop", was_right - right, answers.blocks, CHANGE),
        mean_measurement("log_loss", logs, answers.blocks, (0.0, MAX_LOG_LOSS)),
        mean_measurement("log_loss.drop", logs - were_logs, answers.blocks, (-MAX_LOG_LOSS, MAX_LOG_LOSS)),
        mean_measurement("brier", brier, answers.blocks, (0.0, 2.0)),
        mean_measurement("brier.drop", brier - was_brier, answers.blocks, (-2.0, 2.0)),
        *_macro_f1(answers),
        *(_top3_accuracy(answers) if answers.scores.shape[1] > TOP else []),
    ]


def class_answers(subject: Comparison) -> ClassAnswers:
    """Return the answers of a multiclass model; raises NotApplicable for labels outside its classes."""
    count = subject.scores.shape[1]
    blocks = build_blocks(subject)
    labels = subject.labels.astype(np.int64)
    if (labels != subject.labels).any() or labels.min() < 0 or labels.max() >= count:
        raise NotApplicable(f"labels must be class numbers from 0 to {count - 1}")
    return ClassAnswers(labels=labels, scores=subject.scores, reference=subject.reference_scores, blocks=blocks)


def brier_scores(scores: Floats, labels: NDArray[np.int64]) -> Floats:
    """Return the squared distance of the probabilities (n, k) of each row from its label (Brier 1950)."""
    truth = np.zeros_like(scores)
    truth[np.arange(len(labels)), labels] = 1.0
    found: Floats = np.square(scores - truth).sum(1)
    return found


def _is_correct(scores: Floats, labels: NDArray[np.int64]) -> Floats:
    return np.asarray(np.argmax(scores, axis=1) == labels, dtype=np.float64)


def _top3_accuracy(answers: ClassAnswers) -> list[Measurement]:
    """Measure how often the true class is among the three most probable; of equal ones the later ranks first."""
    right, was_right = (
        (_class_rank(scores, answers.labels) < TOP).astype(np.float64) for scores in (answers.scores, answers.reference)
    )
    return [
        mean_measurement("top3_accuracy", right, answers.blocks, SHARE),
        mean_measurement("top3_accuracy.drop", was_right - right, answers.blocks, CHANGE),
    ]


def _class_rank(scores: Floats, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of classes ranked before the true one, int64 (n,)."""
    true = scores[np.arange(len(labels)), labels][:, None]
    later = np.arange(scores.shape[1]) > labels[:, None]
    return np.asarray(((scores > true) | ((scores == true) & later)).sum(axis=1), dtype=np.int64)


def _macro_f1(answers: ClassAnswers) -> list[Measurement]:
    """Measure the mean F1 over the classes that occur or were predicted."""
    sample = Sample(n_rows=answers.blocks.n_rows, n_groups=answers.blocks.n_groups, bounds=SHARE)
    (value, without), (was, was_without) = (_f1(answers, scores) for scores in (answers.scores, answers.reference))
    return [
        jackknife_interval("macro_f1", value, without, sample),
        jackknife_interval("macro_f1.drop", was - value, was_without - without, replace(sample, bounds=CHANGE)),
    ]


def _f1(answers: ClassAnswers, scores: Floats) -> tuple[float, Floats]:
    """Return macro F1 of these scores, and its leave-one-block-out values."""
    named = np.argmax(scores, axis=1)
    right = (named == answers.labels).astype(np.float64)
    hits, predicted, true = (
        _sums_by_class(answers, *pair) for pair in ((named, right), (named, None), (answers.labels, None))
    )
    both = predicted + true
    return float(_mean_f1(hits.sum(0), both.sum(0))), _mean_f1(hits.sum(0) - hits, both.sum(0) - both)


def _sums_by_class(answers: ClassAnswers, classes: NDArray[np.int64], values: Floats | None) -> Floats:
    """Sum values (or rows) by weight over each block and class, float64 (blocks, k)."""
    blocks, k = answers.blocks, answers.scores.shape[1]
    sums = tally(blocks.blocks * k + classes, blocks.n_blocks * k, weighted(values, blocks.weights))
    return sums.reshape(-1, k)


def _mean_f1(hits: Floats, both: Floats) -> Floats:
    """Return macro F1 from hits, and predicted plus true rows, both (..., k); NaN without a row."""
    there = both > _ROUNDING * both.sum(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(there, 2 * hits / both, 0.0).sum(-1) / there.sum(-1)
    return found


def _log_loss(scores: Floats, labels: NDArray[np.int64]) -> Floats:
    losses: Floats = -np.log(np.maximum(scores[np.arange(len(labels)), labels], MIN_PROBABILITY))
    return losses
