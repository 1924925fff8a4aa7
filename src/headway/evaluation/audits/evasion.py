"""Evasion: how far a row must move to be decided otherwise, by the costs of its columns and the contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from headway.core.arrays import Bools, Floats
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.core.variant import DECIDES
from headway.data.contract.table_contract import Relation, TableContract, parse_relation
from headway.evaluation.comparison import subsample, time_per_row
from headway.evaluation.context import AuditContext, Comparison, MetricResults
from headway.evaluation.decision_attack import AttackColumn, DecisionOracle, attackable_columns, with_effort
from headway.evaluation.nearest_flip import NearestFlips, Plausible, find_nearest_flips
from headway.evaluation.quality.decision_changes import decision_margins
from headway.evaluation.statistics.intervals import SHARE
from headway.evaluation.statistics.percentiles import min_sample_size, percentile_interval
from headway.evaluation.statistics.subsets import mean_measurement
from headway.evaluation.statistics.tables import build_blocks

ON_REQUEST = ("evasion.distance", "evasion.queries", "evasion.success")
MAX_ROWS, MIN_ROWS = 500, 125
_CLOSE = 1e-9


def plugin(subject: Comparison, context: AuditContext) -> MetricResults:
    """Measure how far rows must move to be decided otherwise, seeing decisions alone.

    The attacker holds the rows of the audit without labels. Columns of `[attack] fixed` stay; the others keep within
    `[attack] bounds`, else within the contract, else within the values seen, and altered rows keep the relations of the
    contract. `[attack] columns` and `reach` do not limit this audit.

    Measures:

    - `evasion.distance`: median distance of the nearest flip found. A number counts its move in interquartile ranges
      of its column, a category or flag 1, each times `[attack] cost`; distances are Euclidean.
    - `evasion.success`: share of rows for which a flip was found.
    - `evasion.queries`: median number of decisions asked until the nearest flip, at most `[attack] queries`.

    Distances are upper bounds: another attacker may find nearer flips. The audit `certificate` gives lower ones. With
    fewer rows, or fewer queries than by default, a rule may fail by them, and is never met.
    """
    until = context.until()
    if subject.variant.task not in DECIDES:
        raise NotApplicable(f"a {subject.variant.task} model makes no decisions")
    columns = plausible_columns(subject, context)
    if not columns:
        raise NotApplicable(
            "no feature with several values may change",
            where="[attack] fixed",
            hint="remove the features that a caller can change from it",
        )
    some = subsample(subject, _rows(subject, context))
    flips = find_nearest_flips(
        some.rows,
        DecisionOracle(subject.model, subject.threshold, until),
        columns,
        pool=some.rows,
        queries=context.attack.queries,
        plausible=relations_kept(context.contract, subject.names),
    )
    registered = len(subsample(subject, MAX_ROWS).rows)
    return with_effort(_measurements(some, flips), "evasion", context.attack, rows=(len(some.rows), registered))


def plausible_columns(subject: Comparison, context: AuditContext) -> list[AttackColumn]:
    """Return the columns that may change, within the contract where `[attack]` has no bounds."""
    limits, contract = context.attack, context.contract
    known = contract.columns if contract else {}
    bounds = {
        name: (float(terms.minimum), float(terms.maximum))
        for name, terms in known.items()
        if isinstance(terms.minimum, int | float) and isinstance(terms.maximum, int | float)
    }
    texts = {field.name for field in subject.fields if field.datatype == "BYTES"}
    own = {name: ends for name, ends in bounds.items() if name not in texts}
    section = type(limits)(
        fixed=limits.fixed, bounds={**own, **limits.bounds}, cost=limits.cost, rows=limits.rows, queries=limits.queries
    )
    columns = attackable_columns(subject, section)
    return [replace(column, max_move=column.max_value - column.min_value) for column in columns]


def relations_kept(contract: TableContract | None, names: Sequence[str]) -> Plausible | None:
    """Return a function that finds the rows that keep the relations of a contract; None if there are none.

    A row with a missing value keeps them. A relation `a, b -> c` is not checked: it is about several rows.
    """
    relations = [parse_relation(text) for text in (contract.relations if contract else ())]
    index = {name: at for at, name in enumerate(names)}
    checked = [
        relation for relation in relations if relation.kind != "->" and all(name in index for name in relation.columns)
    ]
    if not checked:
        return None

    def keep(rows: Floats) -> Bools:
        found = np.ones(len(rows), dtype=np.bool_)
        for relation in checked:
            total, right = rows[:, [index[name] for name in relation.left]].sum(1), rows[:, index[relation.right]]
            found &= _holds(relation, total, right) | np.isnan(total) | np.isnan(right)
        return found

    return keep


def _holds(relation: Relation, total: Floats, right: Floats) -> Bools:
    if relation.kind == "<":
        return np.asarray(total < right)
    if relation.kind == "<=":
        return np.asarray(total <= right)
    return np.asarray(np.abs(total - right) <= _CLOSE * np.maximum(1.0, np.abs(right)))


def _rows(subject: Comparison, context: AuditContext) -> int:
    """Return the number of rows: 500, or `[attack] rows` if fewer, halved down to 125 until they fit the budget."""
    max_rows = min(context.attack.rows, MAX_ROWS)
    a_row = context.row_s or time_per_row(subsample(subject, MIN_ROWS))
    while max_rows > MIN_ROWS and max_rows * context.attack.queries * a_row > context.budget_s / 2:
        max_rows //= 2
    return max_rows


def _measurements(subject: Comparison, flips: NearestFlips) -> list[Measurement | NotApplicable]:
    turned = np.isfinite(flips.distances)
    found: list[Measurement | NotApplicable] = [
        mean_measurement(
            "evasion.success",
            turned.astype(np.float64),
            build_blocks(subject),
            SHARE,
            related=decision_margins(subject),
        )
    ]
    for name, values in (("evasion.distance", flips.distances), ("evasion.queries", flips.queries.astype(np.float64))):
        few = NotApplicable(
            f"{name} has no median: {int(turned.sum()):,} rows were flipped, {min_sample_size(0.5)} are needed"
        )
        if turned.sum() < min_sample_size(0.5):
            found.append(few)
            continue
        try:
            words = ("rows that were flipped", "groups")
            found.append(percentile_interval(name, values[turned], subject.groups[turned], 0.5, of=words))
        except NotApplicable:
            found.append(few)
    return found
