"""Point-in-time join: for each row the newest observation that was known by then; no row is lost or moved."""

from __future__ import annotations

import polars as pl

from headway.core.errors import DataError

_ROW = "__row"


def join_asof(
    rows: pl.DataFrame, observations: pl.DataFrame, *, on: tuple[str, str], by: str, tolerance: str
) -> pl.DataFrame:
    """Rows with the columns of the newest observation of the same `by` that is not later than the row.

    `on` names the time column of the rows and that of the observations.
    An observation older than `tolerance` (a polars duration such as `6h`) is not used: its columns are null.
    Returns as many rows as came in, in their order. Raises DataError where a time column is not a time, or where a
    column of `observations` would replace one of `rows`.
    """
    at, observed = on
    _expect_times(rows, at)
    _expect_times(observations, observed)
    clash = set(rows.columns) & set(observations.columns) - {by}
    if clash:
        raise DataError(f"both tables have {', '.join(sorted(clash))}", hint="rename the columns of the observations")
    joined = (
        rows.with_row_index(_ROW)
        .sort(at)
        .join_asof(
            observations.sort(observed),
            left_on=at,
            right_on=observed,
            by=by,
            tolerance=tolerance,
            check_sortedness=False,
        )
        .sort(_ROW)
        .drop(_ROW)
    )
    if len(joined) != len(rows):
        raise DataError(f"the join gave {len(joined)} rows for {len(rows)}", hint="report this as a defect of headway")
    return joined


def _expect_times(table: pl.DataFrame, column: str) -> None:
    if column not in table.columns:
        raise DataError(f"no column '{column}'", where=f"columns: {', '.join(table.columns)}")
    if not table.schema[column].is_temporal():
        raise DataError(
            f"column '{column}' is {table.schema[column]}, not a time", hint="parse it, e.g. str.to_datetime()"
        )
