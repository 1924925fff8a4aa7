"""What wrong inputs cost: values missing, noisy, stale, swapped, unseen or in other units, and months that drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import monotonic

import numpy as np
from msgspec.structs import replace as named

from headway.core.arrays import Floats
from headway.core.contracts import AuditContext, Comparison, Engine, MetricResults, SliceColumn
from headway.core.errors import EngineError, NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation import corruptions as places
from headway.evaluation import corruptions as values
from headway.evaluation.comparison import subsample, time_per_row, with_answers
from headway.evaluation.corruptions import Corruption, Corruptor, build_corruption_inputs
from headway.evaluation.quality.row_errors import compute_row_errors, decision_churn
from headway.evaluation.statistics.intervals import CHANGE, Sample, jackknife_interval
from headway.evaluation.statistics.subsets import RowStatistic, mean_measurement, subset_mean, subset_minus_rest
from headway.evaluation.statistics.tables import binary_answers, exact_auc, leave_one_out_auc, score_table

MOST_ROWS, FEWEST_ROWS = 20_000, 1_250
KINDS: dict[str, Corruptor] = {
    "missing": values.remove_values,
    "unseen": values.use_unseen_categories,
    "stale": places.use_stale_values,
    "swapped": places.swap_columns,
    "noise": values.add_noise,
    "unit": values.convert_units,
}


def plugin(subject: Comparison, ground: AuditContext) -> MetricResults:
    """`robustness.KIND.drop`: how much more than the model as it came the variant errs on the same altered rows.

    KIND is missing, unseen, stale, swapped, noise, unit or months; a slice is the feature, with what befell it. Beside
    it `.excess` and `.roc_auc.decrease`, what the alteration costs the variant, `.changed_decisions`, and
    `.decision_churn`, those that are not the model's. A slow model is asked fewer rows. A kind is told whole or not
    at all, so that no rule passes on a part of it.
    """
    until = monotonic() + ground.budget_s
    months = _months(subject, ground.months)
    some = _asked(subject, ground)
    inputs = build_corruption_inputs(some, ground)
    found: list[Measurement | NotApplicable] = [*months]
    for kind, faults in KINDS.items():
        asked = list(faults(inputs))
        try:
            found += _told(some, asked, until)
        except NotApplicable as error:
            message = f"robustness.{kind}, {len(asked)} alterations: {error.what}"
            found.append(NotApplicable(message, where=error.where, hint=error.hint))
    return found


def _told(subject: Comparison, faults: Sequence[Corruption], until: float) -> list[Measurement]:
    """All measurements of one kind; raises NotApplicable where time runs out, or an answer cannot be judged."""
    found: list[Measurement] = []
    for fault in faults:
        if monotonic() >= until:
            raise NotApplicable("no time was left for all of them", hint="headway evaluate --budget 10m")
        found += measure_robustness(subject, fault)
    return found


def _asked(subject: Comparison, ground: AuditContext) -> Comparison:
    """As many rows as both models leave time for: 20,000, or half of it, down to 1,250."""
    few = subsample(subject, FEWEST_ROWS)
    inputs = build_corruption_inputs(few, ground)
    count = sum(1 for faults in KINDS.values() for _ in faults(inputs))
    a_row = time_per_row(few)
    most = MOST_ROWS
    while most > FEWEST_ROWS and count * most * a_row > ground.budget_s / 2:
        most //= 2
    return subsample(subject, most)


def _months(subject: Comparison, months: SliceColumn | None) -> list[Measurement]:
    """`robustness.months.excess`, a month against all others, and `robustness.months.drop` in it, as it came."""
    errors = compute_row_errors(subject)
    codes = [] if months is None else np.unique(months.codes).tolist()
    if months is None or len(codes) < 2:
        return []
    every = np.ones(len(subject.rows), dtype=np.bool_)
    lost = RowStatistic(
        name="robustness.months.drop", values=errors.lost, among=every, bounds=errors.bounds, blocks=errors.blocks
    )
    erred = replace(lost, name="robustness.months.excess", values=errors.variant, bounds=(0.0, errors.bounds[1]))
    found = []
    for code in codes:
        inside = months.codes == code
        both = (subset_minus_rest(erred, inside), subset_mean(lost, inside))
        found += [named(each, slice=f"month={months.values[code]}") for each in both]
    return found


def measure_robustness(subject: Comparison, fault: Corruption) -> list[Measurement]:
    """`robustness.KIND` with `.excess` and `.drop` of the error; of a classifier also `.changed_decisions` and
    `.decision_churn`; of a binary one `.roc_auc.decrease`.

    `.drop` and `.decision_churn` are beside the model as it came on the same altered rows, the others beside the
    variant itself on the rows as they are.
    """
    rows = fault.rows()
    variant, reference = (_predict_or_nan(engine, rows, subject) for engine in (subject.model, subject.reference))
    alone, beside = with_answers(subject, variant), with_answers(subject, variant, reference)
    found = [_error_increase("excess", alone), _error_increase("drop", beside)]
    if subject.variant.task != "regression":
        found += [_changed_decisions("changed_decisions", alone), _changed_decisions("decision_churn", beside)]
    if subject.variant.task == "binary" and subject.labels.min() < subject.labels.max():
        found.append(_auc_decrease(alone))
    return [named(each, name=f"robustness.{fault.kind}.{each.name}", slice=fault.what) for each in found]


def _predict_or_nan(engine: Engine, rows: Floats, subject: Comparison) -> Floats:
    """What an engine answers; rows that it refuses have no answer."""
    try:
        return engine.predict(rows)
    except EngineError:
        return np.full_like(subject.scores, np.nan)


def _error_increase(name: str, subject: Comparison) -> Measurement:
    errors = compute_row_errors(subject)
    return mean_measurement(name, errors.lost, errors.blocks, errors.bounds)


def _changed_decisions(name: str, subject: Comparison) -> Measurement:
    turned = decision_churn(subject, compute_row_errors(subject).blocks)
    return named(subset_mean(turned, turned.among), name=name)


def _auc_decrease(subject: Comparison) -> Measurement:
    answers = binary_answers(subject)
    now, was = (exact_auc(scores, answers.labels, answers.weights) for scores in (answers.scores, answers.reference))
    without, before = (
        leave_one_out_auc(score_table(scores, answers)) for scores in (answers.scores, answers.reference)
    )
    sample = Sample(n_rows=answers.n_rows, n_groups=answers.n_groups, bounds=CHANGE)
    return jackknife_interval("roc_auc.decrease", was - now, before - without, sample)
