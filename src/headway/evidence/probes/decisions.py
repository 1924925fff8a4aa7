"""What decisions at the threshold cost, how they fall out, and how far the threshold is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.core.contracts import Subject
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evidence.intervals import SHARE, Sample, interval, ratio_of_sums
from headway.evidence.quality.mean import mean
from headway.evidence.tables import Answers, binary_answers
from headway.evidence.threshold import cost_of, known_range

Bools = NDArray[np.bool_]


def plugin(subject: Subject) -> list[Measurement]:
    """`cost` of a row and paired `cost.loss`; `recall`, `precision`, `false_positive_rate`; `threshold` and its range.

    The range are the thresholds whose cost on these rows cannot be told from that of this one. Raises NotApplicable
    where the task is not binary, or all labels are equal.
    """
    answers = binary_answers(subject)
    if answers.labels.min() == answers.labels.max():
        raise NotApplicable(
            f"all {answers.n_rows} labels are {answers.labels[0]:g}: no decision can be wrong both ways"
        )
    costs, before = (
        cost_of(answers.labels, scores >= subject.threshold, subject.costs)
        for scores in (answers.scores, answers.reference)
    )
    most = max(subject.costs)
    return [
        mean("cost", costs, answers, (0.0, most)),
        mean("cost.loss", costs - before, answers, (-most, most)),
        *_rates(answers, answers.scores >= subject.threshold),
        _threshold(answers, subject),
    ]


def _rates(answers: Answers, yes: Bools) -> list[Measurement]:
    """Shares of rows: of positives that were found, of alarms that were true, of negatives that gave an alarm."""
    positive = answers.labels == 1
    of = {"recall": (yes, positive), "precision": (positive, yes), "false_positive_rate": (yes, ~positive)}
    return [_share(name, part, among, answers) for name, (part, among) in of.items() if among.any()]


def _share(name: str, part: Bools, among: Bools, answers: Answers) -> Measurement:
    rows = answers.per_block(among.astype(np.float64))
    estimate = ratio_of_sums(answers.per_block((part & among).astype(np.float64))[None], rows[None])[0]
    sample = Sample(n_rows=int(among.sum()), n_groups=int((rows > 0).sum()), bounds=SHARE)
    return interval(name, estimate, sample)


def _threshold(answers: Answers, subject: Subject) -> Measurement:
    low, high = known_range(answers, subject.threshold, subject.costs)
    return Measurement(
        name="threshold",
        value=subject.threshold,
        low=low,
        high=high,
        method="thresholds of a cost that cannot be told from this one's, paired by group",
        n_rows=answers.n_rows,
    )
