"""Robustness of decisions: how often a small change of a row flips one, and through which columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from msgspec.structs import replace as named

from headway.core.arrays import Bools, Floats, Ints
from headway.core.contracts import Engine
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.comparison import subsample, time_per_row
from headway.evaluation.context import AuditContext, Comparison, MetricResults
from headway.evaluation.decision_attack import (
    AttackColumn,
    AttackResult,
    DecisionOracle,
    attack_rows,
    attackable_columns,
    with_effort,
)
from headway.evaluation.quality.decision_changes import DecisionChanges, decision_margins
from headway.evaluation.quality.row_errors import decision_changes
from headway.evaluation.settings.attack import AttackSection
from headway.evaluation.statistics.intervals import CHANGE, SHARE, exact_measurement
from headway.evaluation.statistics.percentiles import min_sample_size, percentile_interval
from headway.evaluation.statistics.subsets import RowStatistic, subset_mean
from headway.evaluation.statistics.tables import build_blocks

SHARED = True
MIN_ROWS = 125


def plugin(subject: Comparison, context: AuditContext) -> MetricResults:
    """Attack the decisions of a classifier, seeing decisions alone (a black-box attack).

    Measures:

    - `attack.success`: share of rows whose decision can be flipped within `[attack] columns` and `reach`; also for each
      decision (slice `decided yes`).
    - `attack.success.drop`: how much larger it is than for the baseline under the same attack on the same rows; 0 for
      two models that decide alike.
    - `attack.column.success` and `.drop`: the same through one column alone, one slice each.
    - `attack.columns` and `attack.reach`: medians, over flipped rows, of the number of columns changed and of the
      largest move in interquartile ranges.
    - `attack.queries`: decisions asked per row.

    The results are lower bounds: another attacker may find more. `fixed` columns stay, others keep within `bounds`.
    Slow models are attacked on fewer rows; if time runs out nothing is reported. With fewer rows, or fewer queries than
    by default, a rule may fail by them, and is never met.
    """
    until = context.until()
    if subject.variant.task not in ("binary", "multiclass"):
        raise NotApplicable(f"a {subject.variant.task} model makes no decisions")
    columns = attackable_columns(subject, context.attack)
    if not columns:
        raise NotApplicable(
            "no feature with several values may change",
            where="[attack] fixed",
            hint="remove the features that a caller can change from it",
        )
    some = subsample(subject, _rows(subject, context))

    def attacked(engine: Engine) -> AttackResult:
        return attack_rows(some.rows, DecisionOracle(engine, subject.threshold, until), columns, context.attack)

    results = attack_measurements(some, attacked(subject.model), attacked(subject.reference), columns)
    registered = len(subsample(subject, AttackSection().rows).rows)
    return with_effort(results, "attack", context.attack, rows=(len(some.rows), registered))


def _rows(subject: Comparison, context: AuditContext) -> int:
    """Return the number of rows to attack: `[attack] rows`, halved down to 125 until both models fit the budget."""
    max_rows = context.attack.rows
    a_row = context.row_s or time_per_row(subsample(subject, MIN_ROWS))
    while max_rows > MIN_ROWS and max_rows * context.attack.queries * a_row > context.budget_s / 2:
        max_rows //= 2
    return max_rows


def attack_measurements(
    subject: Comparison, own: AttackResult, before: AttackResult, columns: Sequence[AttackColumn]
) -> MetricResults:
    """Return the measurements of an attack on the variant (`own`) and the same attack on the baseline (`before`)."""
    turned = np.array([~own.robust, ~before.robust], dtype=np.float64)
    changes, margins = decision_changes(subject, build_blocks(subject)), decision_margins(subject)
    both = list(_success_statistics("attack.success", turned, changes, margins))
    found: list[Measurement | NotApplicable] = [subset_mean(statistic, statistic.among) for statistic in both]
    for name, inside in _by_decision(subject, own):
        found += [named(subset_mean(statistic, inside), slice=name) for statistic in both]
    for index, column in enumerate(columns):
        alone = np.array([result.alone[:, index] for result in (own, before)], dtype=np.float64)
        statistics = _success_statistics("attack.column.success", alone, changes, margins)
        found += [named(subset_mean(statistic, statistic.among), slice=column.name) for statistic in statistics]
    found += [
        _median_of_turned("attack.columns", own.changed, own, subject),
        _median_of_turned("attack.reach", own.moved, own, subject),
    ]
    how = "decisions asked of the variant per row, mean"
    return [*found, exact_measurement("attack.queries", own.queries, n_rows=len(own.rows), method=how)]


def _success_statistics(name: str, turned: Floats, changes: DecisionChanges, margins: Floats) -> Iterator[RowStatistic]:
    """Yield the success rate on the variant, and its increase over the baseline; `turned` has shape (2, n)."""
    blocks = changes.blocks
    all_rows = np.ones(blocks.n_rows, dtype=np.bool_)
    share = RowStatistic(name=name, values=turned[0], among=all_rows, bounds=SHARE, blocks=blocks, related=margins)
    yield share
    lost = turned[0] - turned[1]
    exact = "" if lost.any() else changes.exact
    yield replace(
        share,
        name=f"{name}.drop",
        values=lost,
        bounds=CHANGE,
        related=changes.related,
        is_paired=True,
        exact=exact,
    )


def _by_decision(subject: Comparison, own: AttackResult) -> Iterator[tuple[str, Bools]]:
    """Yield the name and the rows of each decision of the variant."""
    classes = subject.variant.signature.classes
    names = ("no", "yes") if subject.variant.task == "binary" else classes
    for decision in np.unique(own.decisions).tolist():
        name = names[decision] if decision < len(names) else str(decision)
        yield f"decided {name}", own.decisions == decision


def _median_of_turned(
    name: str, values: Floats | Ints, own: AttackResult, subject: Comparison
) -> Measurement | NotApplicable:
    """Return the median over flipped rows, or NotApplicable if too few were flipped."""
    some = ~own.robust
    few = NotApplicable(
        f"{name} has no median: {int(some.sum()):,} rows were flipped, {min_sample_size(0.5)} are needed"
    )
    if some.sum() < min_sample_size(0.5):
        return few
    try:
        words = ("rows that were flipped", "groups")
        return percentile_interval(name, values[some].astype(np.float64), subject.groups[some], 0.5, of=words)
    except NotApplicable:
        return few
