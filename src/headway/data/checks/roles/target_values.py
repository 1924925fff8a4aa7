"""D007: The target cannot be learned: no outcome, a single value, or values that do not fit the task."""

from __future__ import annotations

import polars as pl

from headway.core.evidence import Finding
from headway.core.variant import MULTILABEL
from headway.data.context import CheckContext
from headway.data.label_sets import known_labels

CODES = ("D007",)
SHOWN = 5


def plugin(context: CheckContext) -> list[Finding]:
    """Return at most one finding; `measured` is the number of distinct values."""
    dataset = context.dataset
    name, task = dataset.roles.target, dataset.roles.task
    known = dataset.table[name].drop_nulls()
    counts = known.cast(pl.String).value_counts(sort=True)
    values = counts[name].to_list()
    if not values:
        return [
            _finding(name, 0, f"no row has an outcome: '{name}' is empty", "take a longer period, or another target")
        ]
    shown = ", ".join(f"{value} ({count:,} rows)" for value, count in counts.head(SHOWN).iter_rows())
    if len(values) == 1:
        message = f"'{name}' has one {'value' if task == 'regression' else 'class'} only: {shown}"
        return [_finding(name, 1, message, "take a longer period, or rows of the other outcome too")]
    if task == "binary" and not known.cast(pl.Float64, strict=False).is_in([0.0, 1.0]).all():
        message = f"'{name}' has {len(values):,} values where a binary target has 0 and 1: {shown}"
        hint = f'[data] positive = "{values[1]}"' if len(values) == 2 else '[data] task = "multiclass" or "regression"'
        return [_finding(name, len(values), message, hint)]
    absent = sorted(set(dataset.roles.classes) - set(known_labels(known))) if task == MULTILABEL else []
    if absent:
        message = f"no row of '{name}' has {len(absent)} of {len(dataset.roles.classes)} labels: "
        return [_finding(name, len(values), message + ", ".join(absent[:SHOWN]), "take them out of [data] classes")]
    classes = known.cast(pl.Float64, strict=False).unique().sort().to_list()
    if task == "multiclass" and classes != [float(index) for index in range(len(classes))]:
        message = f"'{name}' has {len(values):,} classes that are not numbered 0 to {len(values) - 1}: {shown}"
        listed = ", ".join(f'"{value}"' for value in sorted(values)[:SHOWN])
        return [
            _finding(name, len(values), message, f"[data] classes = [{listed}{', ...' if len(values) > SHOWN else ''}]")
        ]
    return []


def _finding(column: str, count: int, message: str, hint: str) -> Finding:
    return Finding(
        code="D007",
        severity="stop",
        message=message,
        where=f"column {column}",
        measured=float(count),
        limit=2.0,
        hint=hint,
    )
