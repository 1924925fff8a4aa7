"""How often a decision can be turned by a small change of a row, seeing decisions alone, and through which columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from time import monotonic

import numpy as np
from msgspec.structs import replace as named

from headway.core.arrays import Bools, Floats, Ints
from headway.core.contracts import AuditContext, Comparison, Engine, MetricResults
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.comparison import subsample, time_per_row
from headway.evaluation.decision_attack import (
    AttackColumn,
    AttackResult,
    DecisionOracle,
    attack_rows,
    attackable_columns,
)
from headway.evaluation.statistics.intervals import CHANGE, SHARE, exact_measurement
from headway.evaluation.statistics.percentiles import min_sample_size, percentile_interval
from headway.evaluation.statistics.subsets import RowStatistic, subset_mean
from headway.evaluation.statistics.tables import Blocks, build_blocks

FEWEST_ROWS = 125


def plugin(subject: Comparison, ground: AuditContext) -> MetricResults:
    """`attack.success`: the share of rows whose decision another can turn within `[attack] columns` and `reach`.

    `attack.success.drop` is how much more often than of the model as it came, by the same attack on the same rows: 0
    where the two decide alike. A slice is the decision, `decided yes`. `attack.column.success` and `.drop` are of one
    column alone, a slice each; `attack.columns` and `attack.reach` the columns that a turn takes and how far the
    furthest moves, in interquartile ranges, both medians over the rows turned. Another attacker may find more, never
    less. Columns that are `fixed` stay, others keep within `bounds`. A slow model is asked fewer rows; without time for
    all decisions nothing is told, so that no rule passes on a part of them.
    """
    until = monotonic() + ground.budget_s
    if subject.variant.task not in ("binary", "multiclass"):
        raise NotApplicable(f"a {subject.variant.task} model makes no decision that could be turned")
    columns = attackable_columns(subject, ground.attack)
    if not columns:
        raise NotApplicable(
            "no feature may change that takes more than one value",
            where="[attack] fixed",
            hint="leave out of it what a caller can change",
        )
    some = subsample(subject, _rows(subject, ground))

    def attacked(engine: Engine) -> AttackResult:
        return attack_rows(some.rows, DecisionOracle(engine, subject.threshold, until), columns, ground.attack)

    return attack_measurements(some, attacked(subject.model), attacked(subject.reference), columns)


def _rows(subject: Comparison, ground: AuditContext) -> int:
    """As many rows as `[attack] rows`, or half of them, down to 125, for which both models leave time."""
    most = ground.attack.rows
    a_row = time_per_row(subsample(subject, FEWEST_ROWS))
    while most > FEWEST_ROWS and most * ground.attack.queries * a_row > ground.budget_s / 2:
        most //= 2
    return most


def attack_measurements(
    subject: Comparison, own: AttackResult, before: AttackResult, columns: Sequence[AttackColumn]
) -> MetricResults:
    """`attack.success` and `.drop`, by decision too, `attack.column.success` and `.drop`, and what a turn takes.

    Rows of the subject are those that were attacked; `before` is the attack on the model as it came.
    """
    blocks = build_blocks(subject)
    turned = np.array([~own.held, ~before.held], dtype=np.float64)
    both = list(_success_statistics("attack.success", turned, blocks))
    found: list[Measurement | NotApplicable] = [subset_mean(each, each.among) for each in both]
    for name, inside in _by_decision(subject, own):
        found += [named(subset_mean(each, inside), slice=name) for each in both]
    for place, column in enumerate(columns):
        alone = np.array([each.alone[:, place] for each in (own, before)], dtype=np.float64)
        asked = _success_statistics("attack.column.success", alone, blocks)
        found += [named(subset_mean(each, each.among), slice=column.name) for each in asked]
    found += [
        _median_of_turned("attack.columns", own.changed, own, subject),
        _median_of_turned("attack.reach", own.moved, own, subject),
    ]
    how = "decisions asked of the variant for a row, on average"
    return [*found, exact_measurement("attack.queries", own.asked, n_rows=len(own.rows), method=how)]


def _success_statistics(name: str, turned: Floats, blocks: Blocks) -> Iterator[RowStatistic]:
    """A share of rows of the variant, and how much more that is than of the model as it came; turned [2, n]."""
    every = np.ones(blocks.n_rows, dtype=np.bool_)
    share = RowStatistic(name=name, values=turned[0], among=every, bounds=SHARE, blocks=blocks)
    yield share
    yield replace(share, name=f"{name}.drop", values=turned[0] - turned[1], bounds=CHANGE)


def _by_decision(subject: Comparison, own: AttackResult) -> Iterator[tuple[str, Bools]]:
    """The rows of each decision that the variant made, by its name."""
    classes = subject.variant.signature.classes
    names = ("no", "yes") if subject.variant.task == "binary" else classes
    for decision in np.unique(own.decisions).tolist():
        name = names[decision] if decision < len(names) else str(decision)
        yield f"decided {name}", own.decisions == decision


def _median_of_turned(
    name: str, values: Floats | Ints, own: AttackResult, subject: Comparison
) -> Measurement | NotApplicable:
    """The median over rows that were turned, or why there is none."""
    some = ~own.held
    few = NotApplicable(
        f"{name} has no median: {int(some.sum()):,} rows were turned, {min_sample_size(0.5)} are needed"
    )
    if some.sum() < min_sample_size(0.5):
        return few
    try:
        words = ("rows that were turned", "groups")
        return percentile_interval(name, values[some].astype(np.float64), subject.groups[some], 0.5, of=words)
    except NotApplicable:
        return few
