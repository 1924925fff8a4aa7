"""D002: A column is missing where the outcome is missing, so it is written together with the outcome."""

from __future__ import annotations

import polars as pl

from headway.core.dataset import Dataset
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.roles import known_line

CODES = ("D002",)
MIN_ROWS = 20
LIMIT = 0.8
RATIO = 20


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding per feature whose missing values follow those of the target.

    `measured` is the share of rows without an outcome in which the column is missing too. It must be at least 0.8
    and 20 times the share among rows with an outcome. This finds columns that predict little, such as the air
    time of a flight.
    """
    dataset = context.dataset
    absent = dataset.table[dataset.roles.target].is_null()
    if not absent.any():
        raise NotApplicable("every row has an outcome: missing values cannot be compared")
    if absent.sum() < MIN_ROWS:
        raise NotApplicable(
            f"only {absent.sum()} rows have no outcome; {MIN_ROWS} are needed to compare missing values"
        )
    if absent.all():
        raise NotApplicable("no row has an outcome: missing values cannot be compared")
    without, within = _missing_shares(dataset, absent), _missing_shares(dataset, ~absent)
    suspects = [name for name in without if without[name] >= LIMIT and without[name] >= RATIO * within[name]]
    rows = int(absent.sum())
    return [_finding(name, without[name], rows, declared=name in dataset.roles.known) for name in suspects]


def _missing_shares(dataset: Dataset, among: pl.Series) -> dict[str, float]:
    missing = [(pl.col(name).is_null() & among).sum() for name in dataset.features]
    counts = dataset.table.select(missing).row(0, named=True)
    return {name: count / int(among.sum()) for name, count in counts.items()}


def _finding(column: str, share: float, rows: int, *, declared: bool) -> Finding:
    return Finding(
        code="D002",
        severity="warn" if declared else "stop",
        message=f"'{column}' is missing in {share:.0%} of the {rows:,} rows without an outcome: it is written "
        "afterwards",
        where=f"column {column}",
        measured=share,
        limit=LIMIT,
        hint=f'{known_line(column, "outcome")} (or "request" if you are sure)',
    )
