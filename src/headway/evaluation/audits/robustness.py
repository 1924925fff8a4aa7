"""Robustness to corrupted inputs: missing, noisy, stale, swapped or unseen values, wrong units, and each month."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import monotonic

import numpy as np
from msgspec.structs import replace as named

from headway.core.arrays import Floats
from headway.core.contracts import Engine, SliceColumn
from headway.core.errors import EngineError, NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation import corruptions as places
from headway.evaluation import corruptions as values
from headway.evaluation.comparison import subsample, time_per_row, with_answers
from headway.evaluation.context import AuditContext, Comparison, MetricResults
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


def plugin(subject: Comparison, context: AuditContext) -> MetricResults:
    """Measure the error on corrupted rows, of the variant and of the baseline.

    KIND is missing, unseen, stale, swapped, noise, unit or months; a slice names the feature and the corruption.

    - `robustness.KIND.drop` and `.decision_churn`: how much larger the error is than the baseline's on the same corrupted
      rows, and how often the decisions of the two differ.
    - `robustness.KIND.excess`, `.roc_auc.decrease` and `.changed_decisions`: what the corruption costs the variant.

    Slow models are evaluated on fewer rows. A kind is reported completely or not at all, so that no rule passes on a part.
    """
    until = monotonic() + context.budget_s
    months = _months(subject, context.months)
    some = _subsample_to_budget(subject, context)
    inputs = build_corruption_inputs(some, context)
    found: list[Measurement | NotApplicable] = [*months]
    for kind, corruptors in KINDS.items():
        corruptions = list(corruptors(inputs))
        try:
            found += _measure_kind(some, corruptions, until)
        except NotApplicable as error:
            message = f"robustness.{kind}, {len(corruptions)} corruptions: {error.what}"
            found.append(NotApplicable(message, where=error.where, hint=error.hint))
    return found


def _measure_kind(subject: Comparison, corruptions: Sequence[Corruption], until: float) -> list[Measurement]:
    """Return all measurements of one kind; raise NotApplicable if time runs out, or an answer cannot be judged."""
    found: list[Measurement] = []
    for corruption in corruptions:
        if monotonic() >= until:
            raise NotApplicable("time ran out before all were measured", hint="headway evaluate --budget 10m")
        found += measure_robustness(subject, corruption)
    return found


def _subsample_to_budget(subject: Comparison, context: AuditContext) -> Comparison:
    """Subsample the rows to what both models can answer in time: 20,000, halved down to 1,250."""
    few = subsample(subject, FEWEST_ROWS)
    inputs = build_corruption_inputs(few, context)
    count = sum(1 for corruptors in KINDS.values() for _ in corruptors(inputs))
    a_row = time_per_row(few)
    max_rows = MOST_ROWS
    while max_rows > FEWEST_ROWS and count * max_rows * a_row > context.budget_s / 2:
        max_rows //= 2
    return subsample(subject, max_rows)


def _months(subject: Comparison, months: SliceColumn | None) -> list[Measurement]:
    """Measure each month: `robustness.months.excess` against all other months, `.drop` against the baseline."""
    errors = compute_row_errors(subject)
    codes = [] if months is None else np.unique(months.codes).tolist()
    if months is None or len(codes) < 2:
        return []
    all_rows = np.ones(len(subject.rows), dtype=np.bool_)
    lost = RowStatistic(
        name="robustness.months.drop",
        values=errors.increase,
        among=all_rows,
        bounds=errors.bounds,
        blocks=errors.blocks,
    )
    erred = replace(lost, name="robustness.months.excess", values=errors.variant, bounds=(0.0, errors.bounds[1]))
    found = []
    for code in codes:
        inside = months.codes == code
        both = (subset_minus_rest(erred, inside), subset_mean(lost, inside))
        found += [named(measurement, slice=f"month={months.values[code]}") for measurement in both]
    return found


def measure_robustness(subject: Comparison, corruption: Corruption) -> list[Measurement]:
    """Measure one corruption: `.excess`, `.drop`, and for a classifier the changed decisions and the AUC.

    `.drop` and `.decision_churn` compare with the baseline on the same corrupted rows, the others with the variant itself
    on the original rows.
    """
    rows = corruption.rows()
    variant, reference = (_predict_or_nan(engine, rows, subject) for engine in (subject.model, subject.reference))
    alone, paired = with_answers(subject, variant), with_answers(subject, variant, reference)
    found = [_error_increase("excess", alone), _error_increase("drop", paired)]
    if subject.variant.task != "regression":
        found += [_changed_decisions("changed_decisions", alone), _changed_decisions("decision_churn", paired)]
    if subject.variant.task == "binary" and subject.labels.min() < subject.labels.max():
        found.append(_auc_decrease(alone))
    return [
        named(measurement, name=f"robustness.{corruption.kind}.{measurement.name}", slice=corruption.what)
        for measurement in found
    ]


def _predict_or_nan(engine: Engine, rows: Floats, subject: Comparison) -> Floats:
    """Return the answers of an engine; NaN if it rejects the rows."""
    try:
        return engine.predict(rows)
    except EngineError:
        return np.full_like(subject.scores, np.nan)


def _error_increase(name: str, subject: Comparison) -> Measurement:
    errors = compute_row_errors(subject)
    return mean_measurement(name, errors.increase, errors.blocks, errors.bounds)


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
