"""D033: The values of a column changed after they were first written, compared with an earlier version of the rows."""

from __future__ import annotations

import polars as pl

from headway.core.errors import DataError, NotApplicable
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.open import load_snapshot
from headway.data.roles import known_line
from headway.data.settings.data import DataSection

CODES = ("D033",)
LIMIT = 0.01
MIN_ROWS = 100
_THEN = "__then."


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding per feature that differs from `[data] snapshot`, with rows matched by `key`.

    If at least 100 rows got their outcome after the snapshot, only they count; else all common rows. Above 1 % it
    is a `stop`, or a warning if the column is declared; below it is a note. A model trained on corrected values
    learns from values that were not known at the decision.

    Raises
    ------
    NotApplicable
        If no snapshot is declared, or fewer than 100 rows are in both.
    DataError
        If the key is missing or not unique.
    """
    snapshot = load_snapshot(context.config)
    if snapshot is None:
        hint = '[data] snapshot = "FILE" and key = "COLUMN": the table as it was at the decisions'
        raise NotApplicable("no earlier version of the rows is declared", hint=hint)
    dataset, key = context.dataset, context.config[DataSection].key
    for table in (dataset.table, snapshot):
        _expect_key(table, key)
    target = dataset.roles.target
    names = [name for name in dataset.features if name in snapshot.columns and name != key]
    shared = [name for name in (*names, target) if name in snapshot.columns]
    then = snapshot.select(key, *(pl.col(name).alias(_THEN + name) for name in shared))
    both = dataset.table.select(key, *names, target).join(then, on=key, how="inner")
    rows = _labeled_since(both, target)
    if len(rows) < MIN_ROWS:
        raise NotApplicable(f"{len(rows)} rows are in the table and in its snapshot; {MIN_ROWS} are needed")
    return [finding for name in names if (finding := _finding(rows, name, declared=name in dataset.roles.known))]


def _expect_key(table: pl.DataFrame, key: str) -> None:
    if key not in table.columns:
        raise DataError(
            f"no column '{key}' identifies the rows of the table and of its snapshot",
            where="[data] key",
            hint=f"one of: {', '.join(table.columns)}",
        )
    twice = len(table) - table[key].n_unique()
    if twice:
        raise DataError(
            f"{twice:,} rows share their '{key}' with another row", where="[data] key", hint="a column of unique values"
        )


def _labeled_since(both: pl.DataFrame, target: str) -> pl.DataFrame:
    """Return the rows whose outcome came after the snapshot; all rows if there are too few."""
    if _THEN + target not in both.columns:
        return both
    since = both.filter(pl.col(target).is_not_null() & pl.col(_THEN + target).is_null())
    return since if len(since) >= MIN_ROWS else both


def _finding(rows: pl.DataFrame, name: str, *, declared: bool) -> Finding | None:
    now, then = rows[name], rows[_THEN + name]
    kind = pl.Float64 if now.dtype.is_numeric() and then.dtype.is_numeric() else pl.String
    now, then = (
        series.cast(kind).fill_nan(None) if kind == pl.Float64 else series.cast(kind) for series in (now, then)
    )
    other = now.ne_missing(then)
    count, late = int(other.sum()), int((then.is_null() & now.is_not_null()).sum())
    if not count:
        return None
    share = count / len(rows)
    return Finding(
        code="D033",
        severity="note" if share <= LIMIT else "warn" if declared else "stop",
        message=f"'{name}' changed in {count:,} of {len(rows):,} rows ({share:.1%}) since the snapshot: "
        f"{late:,} were filled, {count - late:,} changed",
        where=f"column {name}",
        measured=share,
        limit=LIMIT,
        hint=f"take its value from the snapshot, or {known_line(name, 'outcome')}",
    )
