"""How often a model of several classes names the right one, how near its probabilities are, and what was lost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.core.contracts import Subject
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evidence.intervals import CHANGE, SHARE, Floats
from headway.evidence.quality.mean import SMALLEST, mean
from headway.evidence.tables import Blocks, blocks_of

_MOST = float(-np.log(SMALLEST))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassAnswers:
    """Labels int64 [n] in 0..k-1, and probabilities of the variant and of the model as it came, float64 [n, k]."""

    labels: NDArray[np.int64]
    scores: Floats
    reference: Floats
    blocks: Blocks


def measure(subject: Subject) -> list[Measurement]:
    """`accuracy`, `log_loss`, `brier` (sum over classes, in [0, 2]), and paired `.loss` of each (positive = worse)."""
    answers = class_answers(subject)
    right, was_right = (_right(scores, answers.labels) for scores in (answers.scores, answers.reference))
    logs, were_logs = (_log_loss(scores, answers.labels) for scores in (answers.scores, answers.reference))
    brier, was_brier = (squares(scores, answers.labels) for scores in (answers.scores, answers.reference))
    return [
        mean("accuracy", right, answers.blocks, SHARE),
        mean("accuracy.loss", was_right - right, answers.blocks, CHANGE),
        mean("log_loss", logs, answers.blocks, (0.0, _MOST)),
        mean("log_loss.loss", logs - were_logs, answers.blocks, (-_MOST, _MOST)),
        mean("brier", brier, answers.blocks, (0.0, 2.0)),
        mean("brier.loss", brier - was_brier, answers.blocks, (-2.0, 2.0)),
    ]


def class_answers(subject: Subject) -> ClassAnswers:
    """The answers of a subject of several classes; raises NotApplicable for labels that are no class of the model."""
    count = subject.scores.shape[1]
    blocks = blocks_of(subject)
    labels = subject.labels.astype(np.int64)
    if (labels != subject.labels).any() or labels.min() < 0 or labels.max() >= count:
        raise NotApplicable(f"labels must be numbers of the {count} classes, 0 to {count - 1}")
    return ClassAnswers(labels=labels, scores=subject.scores, reference=subject.reference_scores, blocks=blocks)


def squares(scores: Floats, labels: NDArray[np.int64]) -> Floats:
    """The Brier score of each row: squared distance of its probabilities [n, k] from what came true (Brier 1950)."""
    truth = np.zeros_like(scores)
    truth[np.arange(len(labels)), labels] = 1.0
    found: Floats = np.square(scores - truth).sum(1)
    return found


def _right(scores: Floats, labels: NDArray[np.int64]) -> Floats:
    return np.asarray(np.argmax(scores, axis=1) == labels, dtype=np.float64)


def _log_loss(scores: Floats, labels: NDArray[np.int64]) -> Floats:
    losses: Floats = -np.log(np.maximum(scores[np.arange(len(labels)), labels], SMALLEST))
    return losses
