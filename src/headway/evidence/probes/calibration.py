"""Whether what the variant calls 30 % comes true in 30 %: expected calibration error and the reliability curve."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from headway.core.contracts import Subject
from headway.core.evidence import Measurement
from headway.evidence.intervals import SHARE, Estimate, Floats, Sample, interval, jackknife, ratio_of_sums
from headway.evidence.tables import BinTable, bin_table, binary_answers

BINS = 15


def plugin(subject: Subject) -> list[Measurement]:
    """`ece`, and for each of 15 bins of equal mass `reliability` (observed rate) and `reliability.predicted`.

    Raises NotApplicable where the task is not binary.
    """
    answers = binary_answers(subject)
    table = bin_table(answers, BINS)
    sample = Sample(n_rows=answers.n_rows, n_groups=answers.n_groups, bounds=SHARE)
    return [_ece(table, sample), *_curve(table)]


def plain_ece(surplus: Floats, rows: Floats) -> Floats:
    """Expected calibration error in [0, 1]; surplus (positives less sum of scores) and rows, both [..., bins].

    The mean distance of a bin's observed rate from its mean score, weighted by its rows (Naeini, Cooper and Hauskrecht
    2015), not debiased: near 0 noise makes it too large, so a limit on it is kept on the safe side (decision 0005).

    >>> float(plain_ece(np.array([5.0, -5.0]), np.array([10.0, 10.0])))
    0.5
    """
    error: Floats = np.abs(surplus).sum(-1) / np.maximum(rows.sum(-1), 1)
    return error


def _ece(table: BinTable, sample: Sample) -> Measurement:
    surplus = table.positives - table.scores
    value = float(plain_ece(surplus.sum(0), table.rows.sum(0)))
    return jackknife("ece", value, plain_ece(surplus.sum(0) - surplus, table.rows.sum(0) - table.rows), sample)


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
