"""Calibration: expected calibration error, overall and by slice, reliability curve, parts of the Brier score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace as replace_fields

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Floats
from headway.core.contracts import SliceColumn
from headway.core.evidence import Measurement
from headway.core.variant import MULTILABEL
from headway.evaluation.calibration.methods import isotonic_regression
from headway.evaluation.context import Comparison
from headway.evaluation.quality.multiclass import ClassAnswers, class_answers
from headway.evaluation.quality.multilabel import LabelAnswers, label_answers
from headway.evaluation.statistics.intervals import (
    CHANGE,
    SHARE,
    Estimate,
    Sample,
    jackknife_interval,
    ratio_of_sums,
    t_interval,
)
from headway.evaluation.statistics.subsets import (
    RowStatistic,
    jackknife_estimate,
    mean_measurement,
    score_bins,
    subset_calibration_error,
    subset_mean,
    subset_sample,
)
from headway.evaluation.statistics.tables import (
    BinaryAnswers,
    BinTable,
    bin_table,
    binary_answers,
    expected_calibration_error,
    tally,
    weighted,
)

BINS = 15
_QUARTER = (0.0, 0.25)


def plugin(subject: Comparison) -> list[Measurement]:
    """Measure the calibration of a classifier.

    - `ece` over 15 equal-mass bins, and the paired `ece.drop` (positive: the variant is worse).
    - `probability_shift`: calibration error with the baseline's probabilities as the truth. It needs no labels, so few
      groups decide it.
    - `brier.miscalibration` - `brier.discrimination` + `brier.uncertainty` = Brier score.
    - `calibration.bias` (observed minus predicted) overall and by slice; `calibration.ece` (5 bins) by slice.
    - `reliability` (observed rate) and `reliability.predicted` of each bin.

    With several labels a row, only the first two items, over the probabilities of all labels together.

    With several classes only `ece` and `ece.drop`, of the probability of the predicted class against how often it is
    right (Guo et al. 2017).

    Raises
    ------
    NotApplicable
        If the task is neither binary, multiclass nor multilabel.
    """
    if subject.variant.task == MULTILABEL:
        return _of_all_labels(label_answers(subject))
    if subject.variant.task == "multiclass":
        return _of_predicted_class(class_answers(subject))
    answers = binary_answers(subject)
    table = bin_table(answers, BINS)
    return [
        *_errors(table, answers),
        *_curve(table),
        *_decomposed(answers),
        *_bias_measurements(answers, subject.slices),
    ]


def _errors(table: BinTable, answers: BinaryAnswers) -> list[Measurement]:
    """Return the calibration error, its drop against the baseline, and the probability shift."""
    before = bin_table(replace_fields(answers, scores=answers.reference), BINS)
    shifted = bin_table(replace_fields(answers, labels=answers.reference), BINS)
    (value, without), (reference, reference_without), (moved, moved_without) = map(_ece, (table, before, shifted))
    share = Sample(n_rows=answers.n_rows, n_groups=answers.n_groups, bounds=SHARE)
    return [
        jackknife_interval("ece", value, without, share),
        jackknife_interval(
            "ece.drop", value - reference, without - reference_without, replace_fields(share, bounds=CHANGE)
        ),
        jackknife_interval("probability_shift", moved, moved_without, share),
    ]


def _of_all_labels(answers: LabelAnswers) -> list[Measurement]:
    """Return the errors over the probabilities of all labels; those of one row stay in its group."""
    blocks, count = answers.blocks, answers.scores.shape[1]
    pooled = BinaryAnswers(
        labels=answers.labels.ravel(),
        scores=answers.scores.ravel(),
        reference=answers.reference.ravel(),
        groups=np.repeat(blocks.groups, count),
        blocks=np.repeat(blocks.blocks, count),
        n_blocks=blocks.n_blocks,
        n_groups=blocks.n_groups,
        weights=None if blocks.weights is None else np.repeat(blocks.weights, count),
    )
    return [replace(measured, n_rows=blocks.n_rows) for measured in _errors(bin_table(pooled, BINS), pooled)]


def _of_predicted_class(answers: ClassAnswers) -> list[Measurement]:
    """Return the calibration error of the predicted class's probability, and its drop against the baseline."""
    rows = np.arange(answers.blocks.n_rows)
    own, before = (
        bin_table(
            BinaryAnswers(
                labels=(decided == answers.labels).astype(np.float64),
                scores=np.clip(scores[rows, decided], 0.0, 1.0),
                reference=scores[rows, decided],
                **answers.blocks.fields,
            ),
            BINS,
        )
        for decided, scores in (
            (answers.decided, answers.scores),
            (answers.reference_decided, answers.reference),
        )
    )
    (value, without), (reference, reference_without) = _ece(own), _ece(before)
    share = Sample(n_rows=answers.blocks.n_rows, n_groups=answers.blocks.n_groups, bounds=SHARE)
    change = replace_fields(share, bounds=CHANGE)
    return [
        jackknife_interval("ece", value, without, share),
        jackknife_interval("ece.drop", value - reference, without - reference_without, change),
    ]


def _ece(table: BinTable) -> tuple[float, Floats]:
    """Return the calibration error, and its leave-one-block-out values (n_blocks,)."""
    surplus = table.positives - table.scores
    value = float(expected_calibration_error(surplus.sum(0), table.rows.sum(0)))
    return value, expected_calibration_error(surplus.sum(0) - surplus, table.rows.sum(0) - table.rows)


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
        replace(t_interval("reliability", observed, sample), slice=of_bin),
        replace(t_interval("reliability.predicted", predicted, sample), slice=of_bin),
    ]


def _decomposed(answers: BinaryAnswers) -> list[Measurement]:
    """Decompose the Brier score into three parts (CORP: Dimitriadis, Gneiting and Jordan 2021).

    The scores are compared with their isotonic regression and with the base rate. Both are least-squares fits, so that
    leaving out a group changes them in second order only: the intervals treat them as fixed.
    """
    squares, recalibrated, constant = (
        np.square(scores - answers.labels)
        for scores in (answers.scores, _recalibrated(answers), answers.mean(answers.labels))
    )
    return [
        mean_measurement("brier.miscalibration", squares - recalibrated, answers, SHARE),
        mean_measurement("brier.discrimination", constant - recalibrated, answers, _QUARTER),
        mean_measurement("brier.uncertainty", constant, answers, _QUARTER),
    ]


def _recalibrated(answers: BinaryAnswers) -> Floats:
    """Return the weighted isotonic regression at each score, float64 (n,)."""
    distinct, codes = np.unique(answers.scores, return_inverse=True)
    rows, ones = (tally(codes, len(distinct), weighted(values, answers.weights)) for values in (None, answers.labels))
    return isotonic_regression(ones / rows, rows)[codes]


def _bias_measurements(answers: BinaryAnswers, slices: Mapping[str, SliceColumn]) -> list[Measurement]:
    """Return observed minus predicted, overall and by slice, and the calibration error of each slice."""
    surplus = answers.labels - answers.scores
    all_rows = np.ones(answers.n_rows, dtype=np.bool_)
    bias = RowStatistic(name="calibration.bias", values=surplus, among=all_rows, bounds=CHANGE, blocks=answers)
    error, bins = replace_fields(bias, name="calibration.ece", bounds=SHARE), score_bins(answers.scores)
    found = [subset_mean(bias, all_rows)]
    for name, column in slices.items():
        for code in np.unique(column.codes).tolist():
            inside = column.codes == code
            value, without, held = subset_calibration_error(error, bins, inside)
            ece = t_interval(error.name, jackknife_estimate(value, without, held=held), subset_sample(error, inside))
            found += [
                replace(measurement, slice=f"{name}={column.values[code]}")
                for measurement in (subset_mean(bias, inside), ece)
            ]
    return found
