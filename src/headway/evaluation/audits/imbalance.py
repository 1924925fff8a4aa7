"""Effect of class weights, prior correction and the threshold on a model with a rare class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from time import monotonic

import numpy as np
from msgspec.structs import replace as changed

from headway.core.arrays import Floats
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.core.training import TrainingTask
from headway.evaluation.calibration.apply import adjust_to_prior, estimate_prior
from headway.evaluation.context import AuditContext, Comparison, MetricResults, Retrain
from headway.evaluation.statistics.intervals import CHANGE, SHARE, UNBOUNDED, Sample, jackknife_interval
from headway.evaluation.statistics.seeds import pool_measurements
from headway.evaluation.statistics.subsets import mean_measurement, unseen_error
from headway.evaluation.statistics.tables import (
    BinaryAnswers,
    binary_answers,
    exact_auc,
    leave_one_out_auc,
    score_table,
)
from headway.evaluation.threshold import decision_costs

RETRAINS = True
RARE, SEEDS, HALF = 0.1, 3, 0.5
BASELINE = "baseline"
WEIGHTS, CORRECTED, MOVED, PLAIN = "weights", "weights, corrected", "prior of the rows", "threshold 0.5"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Treated:
    """Scores (n,) and decision threshold after a treatment."""

    name: str
    scores: Floats
    threshold: float


def plugin(subject: Comparison, context: AuditContext) -> MetricResults:
    """Measure what treating a rare class changes, compared with doing nothing.

    `imbalance.base_rate` is measured for every binary model. If the rarer class has less than a tenth of the rows, the
    model is retrained as it is and with balanced classes, on three seeds if there is time. Each treatment is a slice:

    - `baseline`: the retrained model at the threshold of the release;
    - `weights`: trained with balanced classes;
    - `weights, corrected`: its probabilities adjusted to the share of positives in training (Elkan 2001);
    - `prior of the rows`: the baseline adjusted to the share estimated from its scores on these rows (Saerens 2002);
    - `threshold 0.5`: the baseline at that threshold.

    Measures: `imbalance.roc_auc`, `.brier`, `.recall`, `.false_positive_rate` and `.cost`, and the paired `.drop` of
    each (positive: the treatment is worse).

    Raises
    ------
    NotApplicable
        If the task is not binary.
    """
    until = monotonic() + context.budget_s
    answers = binary_answers(subject)
    rate = mean_measurement("imbalance.base_rate", answers.labels, answers, SHARE)
    if not 0 < min(rate.value, 1 - rate.value) < RARE:
        return [rate]
    training_data = context.train()
    if context.retrain is None or training_data is None:
        hint = "def train(rows, labels, *, seed=0)"
        return [rate, NotApplicable("the model cannot be retrained, so class weights were not evaluated", hint=hint)]
    learned = float(training_data.labels.mean())
    found: dict[tuple[str, str], list[Measurement]] = {}
    for plain, balanced in _retrained(context.retrain, subject, until):
        before = _Treated(name=BASELINE, scores=plain, threshold=subject.threshold)
        for treated in (before, *_treatments(before, balanced, learned)):
            for measured in _measured(answers, before, treated, subject.costs):
                found.setdefault((measured.name, measured.slice), []).append(measured)
    return [rate, *(_over_seeds(same) for same in found.values()), *context.training_caveats]


def _retrained(retrain: Retrain, subject: Comparison, until: float) -> list[tuple[Floats, Floats]]:
    """Return the scores (n,) of a model trained as it is and with balanced classes, by seed; the first is not timed."""
    tasks = [
        TrainingTask(features=subject.names, seed=seed, balanced=balanced)
        for seed in range(SEEDS)
        for balanced in (False, True)
    ]
    found, begun = dict[int, Floats](), count()
    for number, model in retrain(tasks, lambda: next(begun) < 2 or monotonic() < until):
        found[number] = model.predict(subject.rows)[:, 0]
    return [(found[number], found[number + 1]) for number in range(0, len(tasks), 2) if number + 1 in found]


def _treatments(before: _Treated, balanced: Floats, learned: float) -> Iterator[_Treated]:
    """Yield each treatment of the retrained model; `balanced` are the scores of one trained with balanced classes."""
    yield replace(before, name=WEIGHTS, scores=balanced)
    yield replace(before, name=CORRECTED, scores=adjust_to_prior(balanced, HALF, learned))
    share = estimate_prior(before.scores, learned)
    yield replace(before, name=MOVED, scores=adjust_to_prior(before.scores, learned, share))
    yield replace(before, name=PLAIN, threshold=HALF)


def _measured(
    answers: BinaryAnswers, before: _Treated, after: _Treated, costs: tuple[float, float]
) -> Iterator[Measurement]:
    """Yield the measurements of a treatment and, unless it is the baseline, the paired drops."""
    max_cost = max(costs)
    spans = {"brier": (SHARE, CHANGE), "cost": ((0.0, max_cost), (-max_cost, max_cost))}
    rows = [
        {
            "brier": np.square(treated.scores - answers.labels),
            "cost": decision_costs(answers.labels, treated.scores >= treated.threshold, costs),
        }
        for treated in (before, after)
    ]
    found = [mean_measurement(f"imbalance.{name}", rows[1][name], answers, spans[name][0]) for name in spans]
    lost = [
        mean_measurement(f"imbalance.{name}.drop", rows[1][name] - rows[0][name], answers, spans[name][1])
        for name in spans
    ]
    score, change = (
        Sample(n_rows=answers.n_rows, n_groups=answers.n_groups, bounds=bounds) for bounds in (SHARE, CHANGE)
    )
    shares = [_shares(answers, treated) for treated in (before, after)]
    positive, among = answers.labels == 1, {"recall": answers.labels == 1, "false_positive_rate": answers.labels != 1}
    was_yes, yes = (treated.scores >= treated.threshold for treated in (before, after))
    differs = (yes != positive, yes != was_yes)
    for name, (value, without) in shares[1].items():
        was, was_without = shares[0][name]
        sign = 1 if name == "false_positive_rate" else -1
        unseen = [0.0, 0.0] if name == "roc_auc" else [unseen_error(rows, among[name], answers) for rows in differs]
        drop, drop_without = sign * (value - was), sign * (without - was_without)
        found.append(jackknife_interval(f"imbalance.{name}", value, without, score, unseen=unseen[0]))
        lost.append(jackknife_interval(f"imbalance.{name}.drop", drop, drop_without, change, unseen=unseen[1]))
    measurements = found if after is before else [*found, *lost]
    yield from (changed(measurement, slice=after.name) for measurement in measurements)


def _shares(answers: BinaryAnswers, treated: _Treated) -> dict[str, tuple[float, Floats]]:
    """Return ROC AUC, recall and false positive rate, each with its leave-one-block-out values."""
    yes, positive = treated.scores >= treated.threshold, answers.labels == 1
    area = exact_auc(treated.scores, answers.labels, answers.weights)
    found = {"roc_auc": (area, leave_one_out_auc(score_table(treated.scores, answers)))}
    for name, among in (("recall", positive), ("false_positive_rate", ~positive)):
        hits, rows = (answers.per_block(mask.astype(np.float64)) for mask in (yes & among, among))
        found[name] = (float(hits.sum() / rows.sum()), (hits.sum() - hits) / np.maximum(rows.sum() - rows, 1))
    return found


def _over_seeds(same: list[Measurement]) -> Measurement:
    """Pool the seeds; one seed alone gives no interval, since the variance between seeds is unknown."""
    if len(same) > 1:
        return pool_measurements(same, ships_one=False)
    low, high = same[0].bounds or UNBOUNDED
    return changed(same[0], low=low, high=high, se=None, dof=None, method="one seed, no interval")
