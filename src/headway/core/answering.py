"""Decide which rows a model answers: offline for the certificate, and in the server, by the same code."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.core.arrays import Bools, Floats, Ints
from headway.core.selective import Abstention, AnswerPlan, ConfidenceRule
from headway.core.variant import LIBRARY_THRESHOLD

Objects = NDArray[np.object_]
_SMALLEST = float(np.finfo(np.float64).tiny)
_NO_REJECT, _REJECT_WEIGHT = -1, 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Answers of a model to rows, each of shape (n,).

    Attributes
    ----------
    answer
        Index of the class, also of a row that is not answered.
    confidence
        Confidence in it, from 0 to 1; NaN where the model's probabilities are.
    is_answered
        True if the model answers the row.
    reason
        An `Abstention` for each row that is not answered, else an empty string.
    """

    answer: Ints
    confidence: Floats
    is_answered: Bools
    reason: Objects


class AnswerDecider:
    """Decides by the plan of a release; a server makes one per release.

    Parameters
    ----------
    plan : AnswerPlan
        Plan of the release.
    classes : sequence of str
        Classes of the model, in the order of its probabilities.
    threshold : float
        Smallest probability of the second of two classes at which the model answers it.
    withdrawn : collection of str
        Classes whose certificate was withdrawn since.
    """

    def __init__(
        self,
        plan: AnswerPlan,
        classes: Sequence[str],
        *,
        threshold: float = LIBRARY_THRESHOLD,
        withdrawn: Collection[str] = (),
    ) -> None:
        self._rule = plan.rule
        self._decision_threshold = threshold
        self._reject = reject_index(plan.reject, classes)
        reasons = [_reason(plan, name, withdrawn) for name in classes]
        self._reasons = np.array(reasons, dtype=object)
        self._thresholds = np.array(
            [
                plan.thresholds[name] if reason == "low_confidence" else np.inf
                for name, reason in zip(classes, reasons, strict=True)
            ]
        )

    def __call__(self, probabilities: Floats) -> Answers:
        """Decide rows by their probabilities, of shape (n, k), or (n, 1) with that of the second of two classes."""
        both, answer = _answers(probabilities, self._decision_threshold)
        confidence = _CONFIDENCE[self._rule](both, answer, self._reject)
        is_answered: Bools = confidence >= self._thresholds[answer]
        reason: Objects = self._reasons[answer]
        reason[is_answered] = ""
        return Answers(answer=answer, confidence=confidence, is_answered=is_answered, reason=reason)


def decide(
    plan: AnswerPlan,
    classes: Sequence[str],
    probabilities: Floats,
    *,
    threshold: float = LIBRARY_THRESHOLD,
    withdrawn: Collection[str] = (),
) -> Answers:
    """Decide which rows a model answers; many calls with one plan are faster through an `AnswerDecider`."""
    return AnswerDecider(plan, classes, threshold=threshold, withdrawn=withdrawn)(probabilities)


def confidences(
    rule: ConfidenceRule, probabilities: Floats, *, threshold: float = LIBRARY_THRESHOLD, reject: int = _NO_REJECT
) -> tuple[Ints, Floats]:
    """Return the answer to each row as the index of a class (n,), and the confidence in it (n,) by a rule.

    `reject` is the index of the class of rejects, -1 for none.
    """
    both, answer = _answers(probabilities, threshold)
    return answer, _CONFIDENCE[rule](both, answer, reject)


def reject_index(reject: str, classes: Sequence[str]) -> int:
    """Return the index of the class of rejects, -1 if there is none."""
    return list(classes).index(reject) if reject in classes else _NO_REJECT


def _answers(probabilities: Floats, threshold: float) -> tuple[Floats, Ints]:
    """Return the probabilities of all classes (n, k), and the class that the model answers (n,)."""
    if probabilities.shape[1] > 1:
        return probabilities, probabilities.argmax(axis=1)
    second = probabilities[:, 0]
    return np.stack((1 - second, second), axis=1), (second >= threshold).astype(np.int64)


def _probability(probabilities: Floats, answer: Ints, _: int) -> Floats:
    """Return the probability of the answer."""
    found: Floats = probabilities[np.arange(len(answer)), answer]
    return found


def _margin(probabilities: Floats, answer: Ints, reject: int) -> Floats:
    """Return by how much the probability of the answer is above the largest one of the other classes, at least 0."""
    second = _without(probabilities, answer).max(axis=1)
    found: Floats = np.maximum(_probability(probabilities, answer, reject) - second, 0.0)
    return found


def _odds(probabilities: Floats, answer: Ints, reject: int) -> Floats:
    """Return the probability of the answer as a share of its sum with those of the second class and of the rejects.

    That of the rejects counts ten times: they are rarer among the rows that a model learns from than where it serves.
    """
    own, others = _probability(probabilities, answer, reject), _without(probabilities, answer)
    rejects = np.maximum(others[:, reject], 0.0) if reject >= 0 else 0.0
    if reject >= 0:
        others[:, reject] = -np.inf
    found: Floats = own / np.maximum(own + np.maximum(others.max(axis=1), 0.0) + _REJECT_WEIGHT * rejects, _SMALLEST)
    return found


def _without(probabilities: Floats, answer: Ints) -> Floats:
    """Return the probabilities of the other classes (n, k), and -inf for the answer."""
    others = probabilities.copy()
    others[np.arange(len(answer)), answer] = -np.inf
    return others


def _entropy(probabilities: Floats, _: Ints, __: int) -> Floats:
    """Return 1 minus the entropy of the probabilities, divided by that of equal ones."""
    logs = np.log(np.maximum(probabilities, _SMALLEST))
    found: Floats = np.maximum(1 + (probabilities * logs).sum(axis=1) / np.log(probabilities.shape[1]), 0.0)
    return found


_CONFIDENCE = {"probability": _probability, "margin": _margin, "entropy": _entropy, "odds": _odds}


def _reason(plan: AnswerPlan, name: str, withdrawn: Collection[str]) -> Abstention:
    """Return why a row that would be answered by this class is not, or would not be."""
    if name == plan.reject:
        return "unsupported_class"
    if name in withdrawn:
        return "withdrawn"
    if name in plan.thresholds:
        return "low_confidence"
    return "not_certified" if name in plan.classes or not plan.certificate.is_certified else "unsupported_class"
