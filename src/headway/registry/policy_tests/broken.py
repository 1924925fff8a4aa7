"""Comparisons whose answers are wrong on purpose, as careless conversions make them, and one that is exact."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from headway.core.arrays import Floats
from headway.core.errors import NotApplicable
from headway.core.numerics import logit, sigmoid
from headway.evaluation.context import Comparison
from headway.evaluation.quality.row_errors import decide_class

SHARPER, CLASSIFIERS = 2.0, ("binary", "multiclass")
_LEAST = 1e-9


def rounded(subject: Comparison) -> Comparison:
    """Round the answers to single precision, as a conversion to ONNX does."""
    return _answering(subject, subject.scores.astype(np.float32).astype(np.float64))


def sharpened(subject: Comparison) -> Comparison:
    """Double the distance of the log odds from the threshold: ranks and decisions stay, every probability is wrong.

    Raises NotApplicable if the answers are not probabilities.
    """
    if subject.variant.task not in CLASSIFIERS:
        raise NotApplicable(f"the answers of a {subject.variant.task} model are no probabilities")
    if subject.scores.shape[1] == 1:
        about = float(logit(np.array(subject.threshold), epsilon=_LEAST))
        return _answering(subject, sigmoid(about + SHARPER * (logit(subject.scores, epsilon=_LEAST) - about)))
    powers = subject.scores**SHARPER
    return _answering(subject, powers / powers.sum(1, keepdims=True))


def harmed(subject: Comparison, *, rows: int, groups: int) -> tuple[Comparison, str]:
    """Flip every decision in the smallest slice with at least `rows` rows and `groups` groups; return also its name.

    Raises NotApplicable if there is no such slice, or the task has no decisions.
    """
    _expect_decisions(subject)
    sizes = {(column, code): count for column, code, count in _slices(subject, rows=rows, groups=groups)}
    if not sizes:
        raise NotApplicable(f"no slice has {rows:,} rows and {groups} groups", hint="[data] slices")
    column, code = min(sizes, key=lambda part: sizes[part])
    inside = subject.slices[column].codes == code
    scores = subject.scores.copy()
    scores[inside] = _turned(scores[inside], subject.threshold)
    return _answering(subject, scores), f"{column}={subject.slices[column].values[code]}"


def misread(subject: Comparison) -> Comparison:
    """Read missing values as 0, the minimum or the maximum, whichever changes most decisions.

    Raises NotApplicable if no row has a missing value, no decision depends on it, or the task has no decisions.
    """
    _expect_decisions(subject)
    lacking = np.isnan(subject.rows)
    if not lacking.any():
        raise NotApplicable("no value is missing")
    with np.errstate(invalid="ignore"):
        known = np.where(lacking.all(0), 0.0, subject.rows)
    before = decide_class(subject.scores, subject.threshold)
    readings = (np.zeros(known.shape[1]), np.nanmin(known, axis=0), np.nanmax(known, axis=0))
    answers = [subject.model.predict(np.where(lacking, reading, subject.rows)) for reading in readings]
    changed = [int((decide_class(scores, subject.threshold) != before).sum()) for scores in answers]
    if not max(changed):
        raise NotApplicable("no decision hangs on how a missing value is read")
    return _answering(subject, answers[int(np.argmax(changed))])


def _slices(subject: Comparison, *, rows: int, groups: int) -> Iterator[tuple[str, int, int]]:
    """Yield column, code and rows of each slice that is large enough."""
    for name, column in subject.slices.items():
        for code in range(len(column.values)):
            inside = column.codes == code
            if inside.sum() >= rows and len(np.unique(subject.groups[inside])) >= groups:
                yield name, code, int(inside.sum())


def _turned(scores: Floats, threshold: float) -> Floats:
    """Flip the decisions of scores [n, k], keeping their confidence."""
    if scores.shape[1] == 1:
        return sigmoid(2 * logit(np.array(threshold), epsilon=_LEAST) - logit(scores, epsilon=_LEAST) - _LEAST)
    return np.roll(scores, 1, axis=1)


def _expect_decisions(subject: Comparison) -> None:
    if subject.variant.task not in CLASSIFIERS:
        raise NotApplicable(f"a {subject.variant.task} model makes no decision")


def _answering(subject: Comparison, scores: Floats) -> Comparison:
    return replace(subject, scores=scores)
