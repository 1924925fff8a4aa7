"""Whether what the variant calls 30 % comes true in 30 %: expected calibration error and the reliability curve."""

from __future__ import annotations

from msgspec.structs import replace

from headway.core.contracts import Subject
from headway.core.evidence import Measurement
from headway.evidence.intervals import SHARE, Estimate, Sample, interval, jackknife, ratio_of_sums
from headway.evidence.tables import BinTable, bin_table, binary_answers, plain_ece

BINS = 15


def plugin(subject: Subject) -> list[Measurement]:
    """`ece`, and for each of 15 bins of equal mass `reliability` (observed rate) and `reliability.predicted`.

    Raises NotApplicable where the task is not binary.
    """
    answers = binary_answers(subject)
    table = bin_table(answers, BINS)
    sample = Sample(n_rows=answers.n_rows, n_groups=answers.n_groups, bounds=SHARE)
    return [_ece(table, sample), *_curve(table)]


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
