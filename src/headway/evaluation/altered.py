"""A variant beside itself, when the rows that it answers were altered."""

from __future__ import annotations

from dataclasses import replace
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from headway.core.contracts import Comparison, SliceColumn
from headway.core.errors import NotApplicable
from headway.evaluation.quality.errors import Errors, errors_of
from headway.evaluation.statistics.intervals import Floats


def thinned(subject: Comparison, most: int) -> Comparison:
    """The subject with every so many-th row, at most `most` of them: groups stay, and audits that ask often end."""
    step = -(-len(subject.rows) // most) if len(subject.rows) else 1
    return subject if step == 1 else taken(subject, np.arange(0, len(subject.rows), step))


def taken(subject: Comparison, which: NDArray[np.int64]) -> Comparison:
    """The subject with these of its rows alone, int64 [m]."""
    names = ("rows", "labels", "scores", "reference_scores", "groups")
    fewer = {name: getattr(subject, name)[which] for name in names}
    weights = None if subject.weights is None else subject.weights[which]
    unseen = None if subject.unseen is None else subject.unseen[which]
    lists = None if subject.lists is None else subject.lists[which]
    slices, people = (
        {name: SliceColumn(codes=column.codes[which], values=column.values) for name, column in columns.items()}
        for columns in (subject.slices, subject.people)
    )
    return replace(subject, **fewer, weights=weights, unseen=unseen, lists=lists, slices=slices, people=people)


def seconds_a_row(subject: Comparison) -> float:
    """How long both models together take for a row of the subject, which has one.

    The first call of each, which may make ready, is not timed.
    """
    spent = 0.0
    for engine in (subject.model, subject.reference):
        engine.predict(subject.rows)
        began = monotonic()
        engine.predict(subject.rows)
        spent += monotonic() - began
    return spent / len(subject.rows)


def beside_itself(subject: Comparison, answers: Floats, before: Floats | None = None) -> Errors:
    """The errors of other answers [n, k] to the subject's rows, beside those of its own, or of `before`."""
    return errors_of(answered(subject, answers, before))


def answered(subject: Comparison, answers: Floats, before: Floats | None = None) -> Comparison:
    """The subject as if its rows had these answers [n, k], beside its own, or `before`.

    An answer that is no number is taken for one that is wholly wrong. Raises NotApplicable for those of a regression,
    where nothing is wholly wrong.
    """
    own = subject.scores if before is None else before
    return replace(subject, scores=_said(answers, subject), reference_scores=_said(own, subject))


def _said(answers: Floats, subject: Comparison) -> Floats:
    silent = ~np.isfinite(answers).all(axis=1)
    if not silent.any():
        return answers
    if subject.variant.task not in ("binary", "multiclass"):
        raise NotApplicable(f"{int(silent.sum())} answers to altered rows are no numbers")
    said, labels = answers.copy(), subject.labels[silent]
    if answers.shape[1] == 1:
        said[silent, 0] = 1 - labels
        return said
    said[silent] = 0.0
    said[np.flatnonzero(silent), (labels.astype(np.int64) + 1) % answers.shape[1]] = 1.0
    return said
