"""D030: A class is rare, or has too few held-out rows to evaluate a model on it."""

from __future__ import annotations

import math

import polars as pl

from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.core.variant import MULTILABEL
from headway.data.context import CheckContext
from headway.data.label_sets import indicator_matrix

CODES = ("D030",)
RARE = 0.2
MIN_ROWS, MAX_SHOWN = 50, 5
EVALUATED = ("validation", "test")


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding on the rarest class if it has less than a fifth of an equal share (a tenth of two classes).

    It is a note, and a warning if the class has fewer than 50 rows in `validation` or `test`: with 50 rows the
    recall is known to 14 percentage points at best. Rarity itself is not an error. The audit `imbalance` of `headway
    evaluate` measures whether class weights help, and the costs of `[model]` set the threshold.
    """
    dataset = context.dataset
    target = dataset.roles.target
    if dataset.roles.task == MULTILABEL:
        return _rare_labels(context)
    if dataset.roles.task not in ("binary", "multiclass"):
        raise NotApplicable(f"a target of task '{dataset.roles.task}' has no classes")
    counts = dataset.table[target].drop_nulls().value_counts().sort("count", target)
    if len(counts) < 2:
        raise NotApplicable("the target has one class only")
    rarest, rows = counts.row(0)
    known = int(counts["count"].sum())
    share = rows / known
    if share >= RARE / len(counts):
        return []
    held_out = {name: _of(context, name, rarest) for name in EVALUATED if name in context.periods}
    few = {name: of for name, (of, _) in held_out.items() if of < MIN_ROWS}
    parts = {name: _of(context, name, rarest) for name in context.periods}
    shares = ", ".join(f"{name} {of / max(1, among):.1%} of {among:,}" for name, (of, among) in parts.items())
    fewest = min(few.values(), default=0)
    half = f"; a recall from {fewest} rows is known to {_half(fewest):.0%} at best" if few else ""
    named = dataset.roles.classes[int(rarest)] if dataset.roles.classes else f"{rarest:g}"
    return [
        Finding(
            code="D030",
            severity="warn" if few else "note",
            message=f"class {named} is rare: {share:.1%} of {known:,} rows with an outcome ({rows:,})"
            + (f"; {shares}" if shares else "")
            + half,
            where=f"[split] {', '.join(few)}" if few else f"column {target}",
            measured=share,
            limit=RARE / len(counts),
            hint="longer periods, so that each holds 50 of its rows" if few else "headway evaluate --audit imbalance",
        )
    ]


def _rare_labels(context: CheckContext) -> list[Finding]:
    """Return a warning on the labels that too few rows of `validation` or `test` have."""
    roles = context.dataset.roles
    few: list[str] = []
    for name in EVALUATED:
        if name in context.periods:
            outcomes = context.periods[name].table[roles.target].drop_nulls()
            sums = indicator_matrix(outcomes, roles.classes).sum(axis=0)
            counts = zip(roles.classes, sums.astype(int).tolist(), strict=True)
            few += [f"{label} ({rows} of {name})" for label, rows in counts if rows < MIN_ROWS]
    if not few:
        return []
    shown = ", ".join(few[:MAX_SHOWN]) + (f" and {len(few) - MAX_SHOWN} more" if few[MAX_SHOWN:] else "")
    return [
        Finding(
            code="D030",
            severity="warn",
            message=f"labels with fewer than {MIN_ROWS} rows in a period that judges: {shown}; a recall from 50 rows "
            "is known to 14 % at best",
            where=f"column {roles.target}",
            measured=float(len(few)),
            limit=0.0,
            hint="longer periods, or leave out labels that are too rare to be judged",
        )
    ]


def _of(context: CheckContext, name: str, value: float) -> tuple[int, int]:
    """Return the number of rows of a class in a period, and of rows with an outcome."""
    outcomes = context.periods[name].table[context.dataset.roles.target].drop_nulls().cast(pl.Float64)
    return int((outcomes == float(value)).sum()), len(outcomes)


def _half(rows: int) -> float:
    """Return the largest possible half-width of a 95 % interval of a share from `rows` rows."""
    return min(1.0, 1.96 * math.sqrt(0.25 / rows)) if rows else 1.0
