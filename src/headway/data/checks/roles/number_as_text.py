"""D008: A numeric column is read as strings because some of its values are not numbers."""

from __future__ import annotations

import polars as pl

from headway.core.evidence import Finding
from headway.data.context import CheckContext

CODES = ("D008",)
LIMIT = 0.5


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding per string feature where more than half of the values, but not all, are numbers.

    A model would read such a column as categories. `measured` is the share of numbers.
    """
    dataset = context.dataset
    texts = (dataset.table[name] for name in dataset.features if dataset.table.schema[name] == pl.String)
    return [finding for column in texts for finding in _mixed(column)]


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
