"""Decisions at the threshold: their cost, the usual rates, and the confidence set of the threshold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from headway.core.arrays import Bools, Floats
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.context import Comparison, MetricResults
from headway.evaluation.quality.decision_changes import DecisionChanges
from headway.evaluation.quality.row_errors import decided_classes
from headway.evaluation.statistics.intervals import CHANGE, SHARE, Sample, jackknife_interval
from headway.evaluation.statistics.subsets import RowStatistic, mean_measurement, subset_mean, unseen_error
from headway.evaluation.statistics.tables import BinaryAnswers, binary_answers
from headway.evaluation.threshold import decision_costs, threshold_confidence_set


def plugin(subject: Comparison) -> MetricResults:
    """Measure `cost` per row, `accuracy`, `f1`, `recall`, `precision`, `false_positive_rate`, and `threshold`.

    Each but the last has a paired `.drop` (positive: the variant is worse), if it is defined for both models. A drop
    that no variant can show, because the baseline already has the worst value at this threshold, is not measured, and
    the result says why. The interval of `threshold` holds the thresholds whose cost on these rows does not differ
    significantly.

    Raises
    ------
    NotApplicable
        If the task is not binary, or all labels are equal.
    """
    answers = binary_answers(subject)
    if answers.labels.min() == answers.labels.max():
        raise NotApplicable(f"all {answers.n_rows} labels are {answers.labels[0]:g}: rates of errors are undefined")
    own, before = decided_classes(subject)
    yes, was_yes = own == 1, before == 1
    costs, were = (decision_costs(answers.labels, decided, subject.costs) for decided in (yes, was_yes))
    max_cost, changes = max(subject.costs), DecisionChanges.of(subject, own, before, answers)
    all_costs = (-max_cost, max_cost)
    return [
        mean_measurement("cost", costs, answers, (0.0, max_cost), related=_errors(answers)),
        changes.explained(
            mean_measurement("cost.drop", costs - were, answers, all_costs, unseen=changes.unseen(step=max_cost))
        ),
        *_rates(answers, yes),
        *_of_counts(answers, yes, was_yes, changes, subject.threshold),
        _threshold(answers, subject),
    ]


def _rates(answers: BinaryAnswers, yes: Bools) -> list[Measurement]:
    """Return accuracy, recall, precision and false positive rate of the variant."""
    positive, everywhere = answers.labels == 1, np.ones(answers.n_rows, dtype=np.bool_)
    of = {
        "accuracy": (yes == positive, everywhere),
        "recall": (yes, positive),
        "precision": (positive, yes),
        "false_positive_rate": (yes, ~positive),
    }
    errors = _errors(answers)
    rates = [
        RowStatistic(
            name=name, values=hits.astype(np.float64), among=among, bounds=SHARE, blocks=answers, related=errors
        )
        for name, (hits, among) in of.items()
    ]
    return [subset_mean(rate, rate.among) for rate in rates if rate.among.any()]


def _errors(answers: BinaryAnswers) -> Floats:
    """Return the distance of each score from its label, whose clustering stands for that of rare errors."""
    errors: Floats = np.abs(answers.scores - answers.labels)
    return errors


def _of_counts(
    answers: BinaryAnswers, yes: Bools, was_yes: Bools, changes: DecisionChanges, threshold: float
) -> list[Measurement | NotApplicable]:
    """Return F1, and the paired drops of all rates, from the counts of each block."""
    own, before = _counts(answers, yes), _counts(answers, was_yes)
    positive, everywhere = answers.labels == 1, np.ones(answers.n_rows, dtype=np.bool_)
    named = float(
        answers.per_block(positive.astype(np.float64)).sum() + answers.per_block(yes.astype(np.float64)).sum()
    )
    of_f1 = 2 * float(answers.rows.sum()) / named if named else 0.0  # its change by that of a share of the rows
    unseen = {
        "accuracy": changes.unseen(),
        "f1": changes.unseen(step=of_f1),
        "recall": changes.unseen(positive),
        "precision": changes.unseen(yes | was_yes),
        "false_positive_rate": changes.unseen(~positive),
    }
    score, change = (
        Sample(n_rows=answers.n_rows, n_groups=answers.n_groups, bounds=bounds) for bounds in (SHARE, CHANGE)
    )
    found: list[Measurement | NotApplicable] = []
    hopeless: list[str] = []
    for name, rate in _RATES.items():
        (value, without), (was, was_without) = (
            (float(rate(*counts.sum(1))), rate(*(counts.sum(1, keepdims=True) - counts))) for counts in (own, before)
        )
        if name == "f1" and np.isfinite(value):
            more = unseen_error(yes != positive, everywhere, answers, related=_errors(answers), step=of_f1)
            found.append(jackknife_interval(name, value, without, score, unseen=more))
        sign, worst = (-1, 1.0) if name == "false_positive_rate" else (1, 0.0)
        if was == worst or (name == "precision" and not was_yes.any()):
            hopeless.append(f"{name}.drop")
        elif np.isfinite(value) and np.isfinite(was):
            drop, drop_without = sign * (was - value), sign * (was_without - without)
            measured = jackknife_interval(f"{name}.drop", drop, drop_without, change, unseen=unseen[name])
            found.append(changes.explained(measured))
    return [*found, _cannot_fail(hopeless, was_yes, threshold)] if hopeless else found


def _cannot_fail(names: Sequence[str], was_yes: Bools, threshold: float) -> NotApplicable:
    """Return why no variant can have worse rates than the baseline."""
    return NotApplicable(
        f"a rule on {', '.join(names)} cannot fail: the baseline already has the worst value, for at the threshold "
        f"{threshold:.4g} it decides {int(was_yes.sum()):,} of {len(was_yes):,} rows to be positive",
        hint="costs = { false_positive = 1, false_negative = 4 } chooses a threshold that finds the rare class",
    )


def _counts(answers: BinaryAnswers, yes: Bools) -> Floats:
    """Return the weights of true and false positives, false and true negatives by block, float64 (4, blocks)."""
    true = answers.labels == 1
    cases = (yes & true, yes & ~true, ~yes & true, ~yes & ~true)
    return np.stack([answers.per_block(case.astype(np.float64)) for case in cases])


def _part(part: Floats, rest: Floats) -> Floats:
    """Return part / (part + rest), each (...); NaN if both are 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share: Floats = np.where(part + rest > 0, part / (part + rest), np.nan)
    return share


_RATES: Mapping[str, Callable[[Floats, Floats, Floats, Floats], Floats]] = {
    "accuracy": lambda hits, alarms, misses, rest: _part(hits + rest, alarms + misses),
    "f1": lambda hits, alarms, misses, _: _part(2 * hits, alarms + misses),
    "recall": lambda hits, _, misses, __: _part(hits, misses),
    "precision": lambda hits, alarms, _, __: _part(hits, alarms),
    "false_positive_rate": lambda _, alarms, __, rest: _part(alarms, rest),
}


def _threshold(answers: BinaryAnswers, subject: Comparison) -> Measurement:
    low, high = threshold_confidence_set(answers, subject.threshold, subject.costs)
    return Measurement(
        name="threshold",
        value=subject.threshold,
        low=low,
        high=high,
        method="thresholds whose cost does not differ significantly, paired by group",
        n_rows=answers.n_rows,
    )
