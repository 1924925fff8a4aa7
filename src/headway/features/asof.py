"""Point-in-time join: the newest observation known at the time of each row; rows keep their number and order."""

from __future__ import annotations

import polars as pl

from headway.core.errors import DataError

_ROW = "__row"


def join_asof(
    rows: pl.DataFrame, observations: pl.DataFrame, *, on: tuple[str, str], by: str, tolerance: str
) -> pl.DataFrame:
    """Join each row with the newest observation of the same key that is not later than the row.

    Parameters
    ----------
    rows, observations : DataFrame
        The two tables.
    on : tuple of str
        Time column of the rows and of the observations.
    by : str
        The key.
    tolerance : str
        A polars duration such as `6h`. Older observations are not used; their columns are null.

    Returns
    -------
    DataFrame
        As many rows as `rows`, in the same order.

    Raises
    ------
    DataError
        If a time column is not a time, or both tables have a column of the same name.
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
