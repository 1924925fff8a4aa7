"""How far single answers moved from the model as it came: the largest change, and the decisions that flipped."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from headway.core.contracts import Subject
from headway.core.evidence import Measurement
from headway.evidence.intervals import SHARE, Sample, fact, jackknife
from headway.evidence.tables import binary_answers, mean_without_each


def plugin(subject: Subject) -> list[Measurement]:
    """`max_change` over all rows and over rows with a missing value; `flipped_decisions` at the subject's threshold.

    Raises NotApplicable where the task is not binary.
    """
    answers = binary_answers(subject)
    changes = np.abs(answers.scores - answers.reference)
    decided, before = answers.scores >= subject.threshold, answers.reference >= subject.threshold
    flipped = (decided != before).astype(np.float64)
    without = mean_without_each(answers.per_block(flipped), answers.rows)
    sample = Sample(n_rows=answers.n_rows, n_groups=answers.n_groups, bounds=SHARE)
    found = [
        fact("max_change", float(changes.max()), n_rows=answers.n_rows, method="largest over all rows"),
        jackknife("flipped_decisions", float(flipped.mean()), without, sample),
    ]
    missing = np.isnan(subject.rows).any(axis=1)
    if missing.any():
        largest = fact(
            "max_change", float(changes[missing].max()), n_rows=int(missing.sum()), method="largest of these"
        )
        found.append(replace(largest, slice="rows with a missing value"))
    return found
