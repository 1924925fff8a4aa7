"""D008: Some values of a numeric column are not numbers: they are read as missing, or the column as strings."""

from __future__ import annotations

import json
from collections.abc import Mapping

import polars as pl

from headway.core.evidence import Finding
from headway.data.context import CheckContext

CODES = ("D008",)
LIMIT = 0.5
MAX_NAMED = 5


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding per string feature where more than half of the values, but not all, are numbers.

    A model would read such a column as categories. `measured` is the share of numbers. If the others are blanks, such
    as `?` or `NA`, the column is read as numbers, and a note names them.
    """
    dataset = context.dataset
    notes = [_blanks(name, counts, len(dataset.table)) for name, counts in dataset.blanks.items()]
    texts = (dataset.table[name] for name in dataset.tabular_features if dataset.table.schema[name] == pl.String)
    return [*notes, *(finding for column in texts for finding in _mixed(column))]


def _blanks(column: str, counts: Mapping[str, int], rows: int) -> Finding:
    named = ", ".join(f"{word!r} ({count:,})" for word, count in list(counts.items())[:MAX_NAMED])
    more = f" and {len(counts) - MAX_NAMED} more" if len(counts) > MAX_NAMED else ""
    share = sum(counts.values()) / rows
    return Finding(
        code="D008",
        severity="note",
        message=f"'{column}' is read as numbers: {sum(counts.values()):,} of {rows:,} values are read as missing: "
        f"{named}{more}",
        where=f"column {column}",
        measured=1 - share,
        limit=LIMIT,
        hint=f"[data] missing = {json.dumps(list(counts)[:MAX_NAMED])}, so that headway predict reads them so too",
    )


def _mixed(column: pl.Series) -> list[Finding]:
    present = column.is_not_null()
    is_number = column.str.strip_chars().cast(pl.Float64, strict=False).is_not_null()
    share = int(is_number.sum()) / max(1, int(present.sum()))
    if not LIMIT < share < 1:
        return []
    row = int((present & ~is_number).arg_true()[0])
    others = int((present & ~is_number).sum())
    return [
        Finding(
            code="D008",
            severity="warn",
            message=f"'{column.name}' is read as strings: {others:,} of its values are not numbers, {share:.1%} are",
            where=f"{column[row]!r} in row {row + 1} of column {column.name}",
            measured=share,
            limit=LIMIT,
            hint=f'[data] missing = ["{column[row]}"], or correct those values in the source',
        )
    ]
