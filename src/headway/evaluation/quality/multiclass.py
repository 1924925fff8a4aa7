"""Quality of multiclass classifiers: decisions and probabilities, with the drop against the baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from headway.core.arrays import Floats, Ints
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.context import Comparison
from headway.evaluation.quality.decision_changes import DecisionChanges
from headway.evaluation.statistics.intervals import CHANGE, SHARE, Sample, jackknife_interval
from headway.evaluation.statistics.subsets import MAX_LOG_LOSS, MIN_PROBABILITY, mean_measurement, unseen_error
from headway.evaluation.statistics.tables import (
    BinaryAnswers,
    Blocks,
    build_blocks,
    exact_auc,
    leave_one_out_auc,
    score_table,
    tally,
    weighted,
)

TOP = 3
AUC_EDGES = 256
_ROUNDING = 1e-12
PROBABILITY_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassAnswers:
    """Labels int64 (n,) in 0..k-1, and what the variant and the baseline answer.

    Probabilities are float64 (n, k); decisions, of the most probable class or of the library, int64 (n,).
    """

    labels: Ints
    scores: Floats
    reference: Floats
    decided: Ints
    reference_decided: Ints
    blocks: Blocks


def measure_multiclass(subject: Comparison) -> list[Measurement]:
    """Measure `accuracy`, `macro_f1`, `roc_auc`, `log_loss`, `brier` (summed over classes) and `top3_accuracy`.

    Each has a paired `.drop` (positive: the variant is worse). `roc_auc` is the mean over the classes that occur, each
    against all others. `top3_accuracy` needs more than three classes.
    """
    answers = class_answers(subject)
    right, was_right = (
        (decided == answers.labels).astype(np.float64) for decided in (answers.decided, answers.reference_decided)
    )
    logs, were_logs = (_log_loss(scores, answers.labels) for scores in (answers.scores, answers.reference))
    brier, was_brier = (brier_scores(scores, answers.labels) for scores in (answers.scores, answers.reference))
    changes = DecisionChanges.of(subject, answers.decided, answers.reference_decided, answers.blocks)
    lost = mean_measurement("accuracy.drop", was_right - right, answers.blocks, CHANGE, unseen=changes.unseen())
    return [
        mean_measurement("accuracy", right, answers.blocks, SHARE, related=_errors(answers)),
        changes.explained(lost),
        mean_measurement("log_loss", logs, answers.blocks, (0.0, MAX_LOG_LOSS)),
        mean_measurement("log_loss.drop", logs - were_logs, answers.blocks, (-MAX_LOG_LOSS, MAX_LOG_LOSS)),
        mean_measurement("brier", brier, answers.blocks, (0.0, 2.0)),
        mean_measurement("brier.drop", brier - was_brier, answers.blocks, (-2.0, 2.0)),
        *_macro_f1(answers, changes),
        *_roc_auc(answers),
        *(_top3_accuracy(answers, changes) if answers.scores.shape[1] > TOP else []),
    ]


def require_probabilities(subject: Comparison, *, hint: str) -> None:
    """Raise NotApplicable if an answer of the variant or of the baseline is not between 0 and 1, but for rounding."""
    for scores, whose in ((subject.scores, "the variant"), (subject.reference_scores, "the baseline")):
        wrong = ~((scores >= -PROBABILITY_ROUNDING) & (scores <= 1 + PROBABILITY_ROUNDING)).all(axis=1)
        if wrong.any():
            raise NotApplicable(
                f"{int(wrong.sum())} answers of {whose} are not probabilities",
                where=f"row {np.argmax(wrong)}",
                hint=hint,
            )


def class_answers(subject: Comparison) -> ClassAnswers:
    """Return the answers of a multiclass model.

    Raises NotApplicable for labels outside its classes, and answers that are not probabilities.
    """
    count = subject.scores.shape[1]
    blocks = build_blocks(subject)
    labels = subject.labels.astype(np.int64)
    if (labels != subject.labels).any() or labels.min() < 0 or labels.max() >= count:
        raise NotApplicable(f"labels must be class numbers from 0 to {count - 1}")
    require_probabilities(subject, hint="end the model in a softmax")
    decided, reference_decided = (
        np.argmax(scores, axis=1) if known is None else known
        for scores, known in (
            (subject.scores, subject.decisions),
            (subject.reference_scores, subject.reference_decisions),
        )
    )
    return ClassAnswers(
        labels=labels,
        scores=subject.scores,
        reference=subject.reference_scores,
        decided=decided,
        reference_decided=reference_decided,
        blocks=blocks,
    )


def brier_scores(scores: Floats, labels: Ints) -> Floats:
    """Return the squared distance of the probabilities (n, k) of each row from its label (Brier 1950)."""
    truth = np.zeros_like(scores)
    truth[np.arange(len(labels)), labels] = 1.0
    found: Floats = np.square(scores - truth).sum(1)
    return found


def _top3_accuracy(answers: ClassAnswers, changes: DecisionChanges) -> list[Measurement]:
    """Measure how often the true class is among the three most probable; of equal ones the later ranks first."""
    right, was_right = (
        (_class_rank(scores, answers.labels) < TOP).astype(np.float64) for scores in (answers.scores, answers.reference)
    )
    return [
        mean_measurement("top3_accuracy", right, answers.blocks, SHARE, related=_errors(answers)),
        mean_measurement("top3_accuracy.drop", was_right - right, answers.blocks, CHANGE, unseen=changes.unseen()),
    ]


def f1_step(both: Floats, rows: float) -> float:
    """Return about how far a mean of F1 moves if all rows change, by the predicted plus true rows of each class (k,).

    A row changes the F1 of its class by 2 of `both`, and that of another class; the root mean square over rows.
    """
    some = both[both > 0]
    return float(2 * math.sqrt((2 * rows / some).sum()) / len(some)) if len(some) else 0.0


def _class_rank(scores: Floats, labels: Ints) -> Ints:
    """Return the number of classes ranked before the true one, int64 (n,)."""
    true = scores[np.arange(len(labels)), labels][:, None]
    later = np.arange(scores.shape[1]) > labels[:, None]
    return np.asarray(((scores > true) | ((scores == true) & later)).sum(axis=1), dtype=np.int64)


def _errors(answers: ClassAnswers) -> Floats:
    """Return what the true class lacks in probability, float64 (n,): its clustering stands for that of rare errors."""
    errors: Floats = 1.0 - answers.scores[np.arange(len(answers.labels)), answers.labels]
    return errors


def _macro_f1(answers: ClassAnswers, changes: DecisionChanges) -> list[Measurement]:
    """Measure the mean F1 over the classes that occur or were predicted."""
    blocks, everywhere = answers.blocks, np.ones(answers.blocks.n_rows, dtype=np.bool_)
    both = sum(_sums_by_class(answers, classes, None).sum(0) for classes in (answers.labels, answers.decided))
    step = f1_step(np.asarray(both), float(blocks.rows.sum()))
    wrong = answers.decided != answers.labels
    unseen = unseen_error(wrong, everywhere, blocks, related=_errors(answers), step=step)
    sample = Sample(n_rows=answers.blocks.n_rows, n_groups=answers.blocks.n_groups, bounds=SHARE)
    (value, without), (was, was_without) = (
        _f1(answers, decided) for decided in (answers.decided, answers.reference_decided)
    )
    return [
        jackknife_interval("macro_f1", value, without, sample, unseen=unseen),
        changes.explained(
            jackknife_interval(
                "macro_f1.drop",
                was - value,
                was_without - without,
                replace(sample, bounds=CHANGE),
                unseen=changes.unseen(step=step),
            )
        ),
    ]


def _roc_auc(answers: ClassAnswers) -> list[Measurement]:
    """Measure the mean area under the ROC curve of the classes that occur; nothing if only one does."""
    counts = np.bincount(answers.labels)
    classes = [code for code in np.flatnonzero(counts).tolist() if counts[code] < len(answers.labels)]
    if not classes:
        return []
    sample = Sample(n_rows=answers.blocks.n_rows, n_groups=answers.blocks.n_groups, bounds=SHARE)
    (value, without), (was, was_without) = (
        _macro_auc(answers, scores, classes) for scores in (answers.scores, answers.reference)
    )
    return [
        jackknife_interval("roc_auc", value, without, sample),
        jackknife_interval("roc_auc.drop", was - value, was_without - without, replace(sample, bounds=CHANGE)),
    ]


def _macro_auc(answers: ClassAnswers, scores: Floats, classes: Sequence[int]) -> tuple[float, Floats]:
    """Return the mean area over the classes, and its leave-one-block-out values over those that are left."""
    total, without, left = 0.0, np.zeros(answers.blocks.n_blocks), np.zeros(answers.blocks.n_blocks)
    for code in classes:
        own, labels = scores[:, code], (answers.labels == code).astype(np.float64)
        of_class = BinaryAnswers(labels=labels, scores=own, reference=own, **answers.blocks.fields)
        total += exact_auc(own, labels, answers.blocks.weights)
        areas = leave_one_out_auc(score_table(own, of_class, _positive_edges(own[labels == 1])))
        without += np.nan_to_num(areas)
        left += np.isfinite(areas)
    with np.errstate(invalid="ignore"):
        return total / len(classes), without / left


def _positive_edges(positives: Floats) -> Floats:
    """Return edges around the scores of positives (p,), or around 256 of their quantiles: bins hold equal scores."""
    distinct = np.unique(positives)
    some = distinct[np.linspace(0, len(distinct) - 1, min(len(distinct), AUC_EDGES)).round().astype(np.int64)]
    edges: Floats = np.unique(np.concatenate([some, np.nextafter(some, np.inf)]))
    return edges


def _f1(answers: ClassAnswers, named: Ints) -> tuple[float, Floats]:
    """Return macro F1 of these decisions (n,), and its leave-one-block-out values."""
    right = (named == answers.labels).astype(np.float64)
    hits, predicted, true = (
        _sums_by_class(answers, *pair) for pair in ((named, right), (named, None), (answers.labels, None))
    )
    both = predicted + true
    return float(_mean_f1(hits.sum(0), both.sum(0))), _mean_f1(hits.sum(0) - hits, both.sum(0) - both)


def _sums_by_class(answers: ClassAnswers, classes: Ints, values: Floats | None) -> Floats:
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


def _log_loss(scores: Floats, labels: Ints) -> Floats:
    losses: Floats = -np.log(np.maximum(scores[np.arange(len(labels)), labels], MIN_PROBABILITY))
    return losses
