"""How often a decision can be turned by a small change of a row, seeing decisions alone, and through which columns."""

from __future__ import annotations

from time import monotonic

from headway.core.contracts import AuditContext, Comparison, Engine, MetricResults
from headway.core.errors import NotApplicable
from headway.evaluation.altered import seconds_a_row, thinned
from headway.evaluation.attacks.columns import columns_of
from headway.evaluation.attacks.search import Attacked, Decisions, attack
from headway.evaluation.attacks.told import told

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
    columns = columns_of(subject, ground.attack)
    if not columns:
        raise NotApplicable(
            "no feature may change that takes more than one value",
            where="[attack] fixed",
            hint="leave out of it what a caller can change",
        )
    some = thinned(subject, _rows(subject, ground))

    def attacked(engine: Engine) -> Attacked:
        return attack(some.rows, Decisions(engine, subject.threshold, until), columns, ground.attack)

    return told(some, attacked(subject.model), attacked(subject.reference), columns)


def _rows(subject: Comparison, ground: AuditContext) -> int:
    """As many rows as `[attack] rows`, or half of them, down to 125, for which both models leave time."""
    most = ground.attack.rows
    a_row = seconds_a_row(thinned(subject, FEWEST_ROWS))
    while most > FEWEST_ROWS and most * ground.attack.queries * a_row > ground.budget_s / 2:
        most //= 2
    return most
