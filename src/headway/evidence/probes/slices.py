"""What every value of every slice column lost against the model as it came."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from headway.core.contracts import SliceColumn, Subject
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evidence.intervals import ANY, CHANGE, Floats, Sample, interval, ratio_of_sums
from headway.evidence.quality.multiclass import class_answers, squares
from headway.evidence.tables import Blocks, binary_answers, blocks_of, tally, weighted


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """What each row lost, float64 [n], by the measure of that name, whose differences lie in `bounds`."""

    name: str
    values: Floats
    bounds: tuple[float, float]
    blocks: Blocks


def plugin(subject: Subject) -> list[Measurement]:
    """Paired `brier.loss` of a classifier, `mse.loss` of a regression (positive = worse) of slice `column=value`.

    Each comes with its rows and groups, small or not. Raises NotApplicable where no slice column is declared.
    """
    if not subject.slices:
        raise NotApplicable("no slice columns are declared", where="headway.toml [data]", mend='slices = ["a_column"]')
    losses = _losses(subject)
    return [each for name, column in subject.slices.items() for each in _column(name, column, losses)]


def _losses(subject: Subject) -> Losses:
    if subject.variant.task == "regression":
        errors, were = (scores[:, 0] - subject.labels for scores in (subject.scores, subject.reference_scores))
        values = np.square(errors) - np.square(were)
        return Losses(name="mse.loss", values=values, bounds=ANY, blocks=blocks_of(subject))
    if subject.variant.task == "multiclass":
        several = class_answers(subject)
        values = squares(several.scores, several.labels) - squares(several.reference, several.labels)
        return Losses(name="brier.loss", values=values, bounds=(-2.0, 2.0), blocks=several.blocks)
    answers = binary_answers(subject)
    values = np.square(answers.scores - answers.labels) - np.square(answers.reference - answers.labels)
    return Losses(name="brier.loss", values=values, bounds=CHANGE, blocks=answers)


def _column(name: str, column: SliceColumn, losses: Losses) -> list[Measurement]:
    blocks = losses.blocks
    shape = (len(column.values), blocks.n_blocks)
    cells = column.codes * blocks.n_blocks + blocks.blocks
    sums = tally(cells, shape[0] * shape[1], weighted(losses.values, blocks.weights)).reshape(shape)
    rows = tally(cells, shape[0] * shape[1], blocks.weights).reshape(shape)
    counts = tally(column.codes, len(column.values))
    present = np.flatnonzero(counts)
    groups = _groups_of(column, blocks)
    found = []
    for index, estimate in zip(present, ratio_of_sums(sums[present], rows[present]), strict=True):
        sample = Sample(n_rows=int(counts[index]), n_groups=int(groups[index]), bounds=losses.bounds)
        measured = interval(losses.name, estimate, sample)
        found.append(replace(measured, slice=f"{name}={column.values[index]}"))
    return found


def _groups_of(column: SliceColumn, blocks: Blocks) -> Floats:
    """How many groups have a row in each slice."""
    pairs = np.unique(column.codes * blocks.n_groups + blocks.groups)
    return tally(pairs // blocks.n_groups, len(column.values))
