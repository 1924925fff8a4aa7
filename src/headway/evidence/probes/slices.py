"""What every value of every slice column lost in Brier score against the model as it came."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from headway.core.contracts import SliceColumn, Subject
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evidence.intervals import CHANGE, Sample, interval, ratio_of_sums
from headway.evidence.tables import Answers, Floats, binary_answers, tally


def plugin(subject: Subject) -> list[Measurement]:
    """Paired `brier.loss` (positive = worse) of slice `column=value`, with its rows and groups, small or not.

    Raises NotApplicable where the task is not binary, or no slice column is declared.
    """
    answers = binary_answers(subject)
    if not subject.slices:
        raise NotApplicable("no slice columns are declared", where="headway.toml [data]", mend='slices = ["a_column"]')
    losses = np.square(answers.scores - answers.labels) - np.square(answers.reference - answers.labels)
    return [each for name, column in subject.slices.items() for each in _column(name, column, losses, answers)]


def _column(name: str, column: SliceColumn, losses: Floats, answers: Answers) -> list[Measurement]:
    shape = (len(column.values), answers.n_blocks)
    cells = column.codes * answers.n_blocks + answers.blocks
    sums = tally(cells, shape[0] * shape[1], losses).reshape(shape)
    rows = tally(cells, shape[0] * shape[1]).reshape(shape)
    present = np.flatnonzero(rows.sum(1))
    groups = _groups_of(column, answers)
    found = []
    for index, estimate in zip(present, ratio_of_sums(sums[present], rows[present]), strict=True):
        sample = Sample(n_rows=int(rows[index].sum()), n_groups=int(groups[index]), bounds=CHANGE)
        measured = interval("brier.loss", estimate, sample)
        found.append(replace(measured, slice=f"{name}={column.values[index]}"))
    return found


def _groups_of(column: SliceColumn, answers: Answers) -> Floats:
    """How many groups have a row in each slice."""
    pairs = np.unique(column.codes * answers.n_groups + answers.groups)
    return tally(pairs // answers.n_groups, len(column.values))
