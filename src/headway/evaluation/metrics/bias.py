"""Fairness: rates at the threshold and calibration of each sensitive group, and gaps to all others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from msgspec.structs import replace as named

from headway.core.arrays import Bools, Ints
from headway.core.contracts import SliceColumn
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.context import Comparison
from headway.evaluation.quality.row_errors import decided_classes
from headway.evaluation.statistics.intervals import CHANGE, SHARE, UNBOUNDED, t_interval
from headway.evaluation.statistics.subsets import (
    RowStatistic,
    jackknife_estimate,
    score_bins,
    subset_calibration_error,
    subset_mean,
    subset_minus_rest,
    subset_sample,
)
from headway.evaluation.statistics.tables import BinaryAnswers, binary_answers, build_blocks

WHERE = "headway.toml [data] sensitive_features"


def plugin(subject: Comparison) -> list[Measurement]:
    """Measure each value of a sensitive column (slice `gender=F`) against all other rows.

    For a binary task `bias.tpr` and `bias.fpr` (true and false positive rate), `bias.selection` (share of positive
    decisions), `bias.calibration` (observed minus predicted) and `bias.ece`; for a regression `bias.error` (answer
    minus truth). Each `_gap` is the size of the difference, and a rule on it holds for every group.

    Raises
    ------
    NotApplicable
        If no sensitive column is declared, none has two values, or the task has several classes.
    """
    if not subject.sensitive_features:
        raise NotApplicable("no sensitive columns are declared", where=WHERE, hint='sensitive_features = ["gender"]')
    found = _regression(subject) if subject.variant.task == "regression" else _binary(subject)
    if not found:
        raise NotApplicable(f"all rows have the same value in {', '.join(subject.sensitive_features)}", where=WHERE)
    return found


def _groups(people: Mapping[str, SliceColumn]) -> Iterator[tuple[str, Bools]]:
    """Yield the name and the rows of every sensitive group that has rows but not all of them."""
    for name, column in people.items():
        for value, label in enumerate(column.values):
            inside = column.codes == value
            if inside.any() and not inside.all():
                yield f"{name}={label}", inside


def _regression(subject: Comparison) -> list[Measurement]:
    blocks = build_blocks(subject)
    errors = subject.scores[:, 0] - subject.labels
    all_rows = np.ones(blocks.n_rows, dtype=np.bool_)
    statistic = RowStatistic(name="bias.error", values=errors, among=all_rows, bounds=UNBOUNDED, blocks=blocks)
    return [
        measurement
        for label, inside in _groups(subject.sensitive_features)
        for measurement in _both(statistic, label, inside)
    ]


def signed_gaps(subject: Comparison) -> list[Measurement]:
    """Return the rate of each group of people minus that of all others, in [-1, 1], for a binary task.

    Named after the rate (`bias.tpr`, `bias.fpr`, `bias.selection`, `bias.calibration`), with the group as the slice.
    """
    return [
        named(subset_minus_rest(one, inside), slice=label)
        for label, inside in _groups(subject.sensitive_features)
        for one in _rates(subject, binary_answers(subject))
        if (one.among & inside).any() and (one.among & ~inside).any()
    ]


def _rates(subject: Comparison, answers: BinaryAnswers) -> list[RowStatistic]:
    """Return the statistics of the decisions of a binary task, and that of its calibration last."""
    yes = decided_classes(subject)[0].astype(np.float64)
    all_rows = np.ones(answers.n_rows, dtype=np.bool_)
    rates = {
        "bias.tpr": (yes, answers.labels == 1, SHARE),
        "bias.fpr": (yes, answers.labels == 0, SHARE),
        "bias.selection": (yes, all_rows, SHARE),
        "bias.calibration": (answers.labels - answers.scores, all_rows, CHANGE),
    }
    return [
        RowStatistic(name=name, values=values, among=among, bounds=bounds, blocks=answers, related=answers.scores)
        for name, (values, among, bounds) in rates.items()
    ]


def _binary(subject: Comparison) -> list[Measurement]:
    answers = binary_answers(subject)
    statistic = _rates(subject, answers)
    errors = replace(statistic[-1], name="bias.ece", bounds=SHARE)
    bins = score_bins(answers.scores)
    found = []
    for label, inside in _groups(subject.sensitive_features):
        found += [measurement for one in statistic for measurement in _both(one, label, inside)]
        found += _calibration_errors(errors, bins, label, inside)
    return found


def _both(statistic: RowStatistic, label: str, inside: Bools) -> list[Measurement]:
    """Return the mean of a group and its gap to the others; nothing if either has no eligible row."""
    if not (statistic.among & inside).any() or not (statistic.among & ~inside).any():
        return []
    gap = _size(subset_minus_rest(statistic, inside), statistic.name)
    return [named(measurement, slice=label) for measurement in (subset_mean(statistic, inside), gap)]


def _size(gap: Measurement, name: str) -> Measurement:
    """Return the absolute gap; its low end is 0 if the interval includes 0."""
    ends = sorted((abs(gap.low), abs(gap.high)))
    low = 0.0 if gap.low <= 0 <= gap.high else ends[0]
    bounds = (0.0, gap.bounds[1]) if gap.bounds else None
    return named(gap, name=f"{name}_gap", value=abs(gap.value), low=low, high=ends[1], bounds=bounds)


def _calibration_errors(statistic: RowStatistic, bins: Ints, label: str, inside: Bools) -> list[Measurement]:
    """Return the calibration error of a group and its gap to that of the others, with the same score bins."""
    sample = subset_sample(statistic, inside)
    (value, without, held), (others, others_without, _) = (
        subset_calibration_error(statistic, bins, part) for part in (inside, ~inside)
    )
    own = t_interval(statistic.name, jackknife_estimate(value, without, held=held), sample)
    apart = jackknife_estimate(value - others, without - others_without, held=held)
    gap = t_interval(statistic.name, apart, replace(sample, bounds=CHANGE))
    return [named(measurement, slice=label) for measurement in (own, _size(gap, statistic.name))]
