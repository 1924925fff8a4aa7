"""D031: Served values of a slice have hardly any training rows, or too few test rows to be evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.languages import slice_values
from headway.data.leakage.samples import served_rows, train_and_test
from headway.data.roles import text_of_language
from headway.data.settings.policy import PolicySection

CODES = ("D031",)
MIN_TRAINING_ROWS = 20
LIMIT = 0.01
NAMED = 4
_LONGER = "a longer test, a lower [policy] slice_rows (wider intervals), or a review of these values by hand"
_COUNTS = ("served", "training", "tested")


def plugin(context: CheckContext) -> list[Finding]:
    """Return findings per slice and sensitive column on served values with little training or test data.

    A value needs 20 training rows, and `[policy] slice_rows` test rows. Served rows are the requests, else the
    period `live`, else the test. Above 1 % of the served rows it is a warning, else a note. A test shorter than a
    slice is reported once.
    """
    train, test = train_and_test(context)
    where, rows = served_rows(context)
    roles = context.dataset.roles
    names = list(dict.fromkeys((*roles.slices, *roles.sensitive_features)))
    of_texts = [name for name in names if text_of_language(name, roles.text)]
    rows, trained, tested = (
        table.with_columns(slice_values(table, roles, name) for name in of_texts)
        for table in (rows, train.table, test.table)
    )
    names = [name for name in names if name in rows.columns]
    if not names:
        raise NotApplicable("the served rows have none of the declared slices", hint='[data] slices = ["COLUMN"]')
    needed = context.config[PolicySection].slice_rows
    found = _short(len(test.table), needed)
    for name in names:
        counts = _counts(name, [rows, trained, tested])
        untrained = counts.filter(pl.col("training") < MIN_TRAINING_ROWS)
        untested = counts.filter((pl.col("training") >= MIN_TRAINING_ROWS) & (pl.col("tested") < needed))
        more = f"with fewer than {MIN_TRAINING_ROWS} training rows", "collect such rows, or reject such requests"
        less = f"with fewer than {needed:,} test rows", _LONGER
        found += _finding(name, (where, len(rows)), untrained, "training", more)
        if len(test.table) >= needed:
            found += _finding(name, (where, len(rows)), untested, "tested", less)
    return found


def _short(tested: int, needed: int) -> list[Finding]:
    if tested >= needed:
        return []
    return [
        Finding(
            code="D031",
            severity="warn",
            message=f"the test has {tested:,} rows and a slice needs {needed:,}: no slice will be evaluated",
            where="[split] test",
            measured=float(tested),
            limit=float(needed),
            hint=_LONGER,
        )
    ]


def _counts(name: str, tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Count the served, training and test rows of each served value, the most served first."""
    of = [
        table.select(pl.col(name).cast(pl.String).fill_null("missing")).group_by(name).agg(pl.len().alias(count))
        for table, count in zip(tables, _COUNTS, strict=True)
    ]
    joined = of[0].join(of[1], on=name, how="left").join(of[2], on=name, how="left")
    return joined.with_columns(pl.col("training", "tested").fill_null(0)).sort(
        ["served", name], descending=[True, False]
    )


def _finding(
    name: str, served: tuple[str, int], few: pl.DataFrame, count: str, words: tuple[str, str]
) -> list[Finding]:
    if few.is_empty():
        return []
    where, total = served
    rows = int(few["served"].sum())
    share = rows / total
    named = [f"{row[name]} ({_rows_of(row, count)})" for row in few.head(NAMED).to_dicts()]
    more = [f"{len(few) - NAMED} more"] if len(few) > NAMED else []
    return [
        Finding(
            code="D031",
            severity="warn" if share > LIMIT else "note",
            message=f"{rows:,} of {total:,} rows of {where} ({share:.1%}) have a '{name}' {words[0]}: "
            + ", ".join([*named, *more]),
            where=f"column {name}",
            measured=share,
            limit=LIMIT,
            hint=words[1],
        )
    ]


def _rows_of(row: Mapping[str, int], count: str) -> str:
    """Return the rows of a value; once if the served rows are the test rows."""
    if count == "tested" and row["served"] == row[count]:
        return f"{row[count]:,} rows"
    return f"{row['served']:,} served, {row[count]:,} {count}"
