"""Whether what the variant calls 30 % comes true in 30 %: its error whole and by slice, its curve, its Brier score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace as other

import numpy as np
from msgspec.structs import replace

from headway.core.contracts import Comparison, SliceColumn
from headway.core.evidence import Measurement
from headway.evaluation.calibration.tables import never_falling
from headway.evaluation.quality.mean import mean
from headway.evaluation.statistics.intervals import (
    CHANGE,
    SHARE,
    Estimate,
    Floats,
    Sample,
    interval,
    jackknife,
    ratio_of_sums,
)
from headway.evaluation.statistics.parts import Asked, calibration_error, left_out, of_part, sample_of, score_bins
from headway.evaluation.statistics.tables import (
    Answers,
    BinTable,
    bin_table,
    binary_answers,
    plain_ece,
    tally,
    weighted,
)

BINS = 15
_QUARTER = (0.0, 0.25)


def plugin(subject: Comparison) -> list[Measurement]:
    """`ece`, paired `ece.drop` (positive = the variant is worse), `probability_shift`, and the curve of 15 equal bins.

    `probability_shift` is the error that its probabilities would have if those of the model as it came were the truth:
    no label speaks in it, so that few groups tell it.
    `brier.miscalibration`, less `brier.discrimination`, plus `brier.uncertainty` is the Brier score.
    `calibration.bias` (observed less said) is of all rows and of each slice, `calibration.ece` (5 bins) of each slice.
    The curve is `reliability` (observed rate) and `reliability.predicted`. Raises NotApplicable where the task is not
    binary.
    """
    answers = binary_answers(subject)
    table = bin_table(answers, BINS)
    return [*_errors(table, answers), *_curve(table), *_decomposed(answers), *_biased(answers, subject.slices)]


def _errors(table: BinTable, answers: Answers) -> list[Measurement]:
    """The calibration error by itself, and against that of the model as it came."""
    before = bin_table(other(answers, scores=answers.reference), BINS)
    beside = bin_table(other(answers, labels=answers.reference), BINS)
    (value, without), (reference, reference_without), (moved, moved_without) = map(_ece, (table, before, beside))
    share = Sample(n_rows=answers.n_rows, n_groups=answers.n_groups, bounds=SHARE)
    return [
        jackknife("ece", value, without, share),
        jackknife("ece.drop", value - reference, without - reference_without, other(share, bounds=CHANGE)),
        jackknife("probability_shift", moved, moved_without, share),
    ]


def _ece(table: BinTable) -> tuple[float, Floats]:
    """The calibration error, and what it is with each block left out, float64 [n_blocks]."""
    surplus = table.positives - table.scores
    value = float(plain_ece(surplus.sum(0), table.rows.sum(0)))
    return value, plain_ece(surplus.sum(0) - surplus, table.rows.sum(0) - table.rows)


def _curve(table: BinTable) -> list[Measurement]:
    observed = ratio_of_sums(table.positives.T, table.rows.T)
    predicted = ratio_of_sums(table.scores.T, table.rows.T)
    found = []
    for index, rows in enumerate(table.rows.T):
        sample = Sample(n_rows=int(table.counts[index]), n_groups=int((rows > 0).sum()), bounds=SHARE)
        found += _point(index, observed[index], predicted[index], sample)
    return found


def _point(index: int, observed: Estimate, predicted: Estimate, sample: Sample) -> list[Measurement]:
    of_bin = f"bin {index + 1}"
    return [
        replace(interval("reliability", observed, sample), slice=of_bin),
        replace(interval("reliability.predicted", predicted, sample), slice=of_bin),
    ]


def _decomposed(answers: Answers) -> list[Measurement]:
    """The Brier score in three parts (CORP: Dimitriadis, Gneiting and Jordan 2021).

    Beside the scores stand those that isotonic regression makes of them, and the base rate. Both are the least squares
    of their kind, so that a group left out moves them only in second order: the intervals hold them as they are.
    """
    squares, repaired, constant = (
        np.square(scores - answers.labels)
        for scores in (answers.scores, _repaired(answers), answers.mean(answers.labels))
    )
    return [
        mean("brier.miscalibration", squares - repaired, answers, SHARE),
        mean("brier.discrimination", constant - repaired, answers, _QUARTER),
        mean("brier.uncertainty", constant, answers, _QUARTER),
    ]


def _repaired(answers: Answers) -> Floats:
    """Each score as isotonic regression by weight has it, float64 [n]."""
    distinct, codes = np.unique(answers.scores, return_inverse=True)
    rows, ones = (tally(codes, len(distinct), weighted(each, answers.weights)) for each in (None, answers.labels))
    return never_falling(ones / rows, rows)[codes]


def _biased(answers: Answers, slices: Mapping[str, SliceColumn]) -> list[Measurement]:
    """What is observed less what is said, of all rows and of each slice, and the calibration error of each slice."""
    surplus = answers.labels - answers.scores
    every = np.ones(answers.n_rows, dtype=np.bool_)
    bias = Asked(name="calibration.bias", values=surplus, among=every, bounds=CHANGE, blocks=answers)
    error, bins = other(bias, name="calibration.ece", bounds=SHARE), score_bins(answers.scores)
    found = [of_part(bias, every)]
    for name, column in slices.items():
        for code in np.unique(column.codes).tolist():
            inside = column.codes == code
            value, without, held = calibration_error(error, bins, inside)
            ece = interval(error.name, left_out(value, without, held=held), sample_of(error, inside))
            found += [replace(each, slice=f"{name}={column.values[code]}") for each in (of_part(bias, inside), ece)]
    return found
