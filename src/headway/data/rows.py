"""Rows of a database as a table: names, types and texts of dates, with errors that name column and row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from headway.core.errors import DataError

Rows = Sequence[tuple[Any, ...]]


def table_from_rows(names: Sequence[str], rows: Rows, *, where: str) -> pl.DataFrame:
    """The table of rows as a driver gives them, each a value for every name.

    Raises DataError where two columns share a name, or the values of a column are of two types or of one that no table
    holds; `where` says which query.
    """
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise DataError(f"the query gives two columns '{twice[0]}'", where=where, hint=f"SELECT ... AS {twice[0]}_2")
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return pl.DataFrame([_column(name, values, where) for name, values in zip(names, columns, strict=True)])


def _column(name: str, values: Sequence[Any], where: str) -> pl.Series:
    kinds = {type(value) for value in values} - {type(None)}
    if kinds == {int, float}:
        return pl.Series(name, values, dtype=pl.Float64, strict=False)
    if len(kinds) > 1:
        row, value = next((row, each) for row, each in enumerate(values, 1) if _differs(each, values))
        raise DataError(
            f"column '{name}' holds {' and '.join(sorted(kind.__name__ for kind in kinds))}",
            where=f"{value!r} in row {row} of {where}",
            hint=f"CAST({name} AS ...) in [data] query",
        )
    column = pl.Series(name, values)
    if column.dtype == pl.Object:
        raise DataError(
            f"column '{name}' holds {next(iter(kinds)).__name__}, which a table cannot hold",
            where=where,
            hint=f"CAST({name} AS text) in [data] query",
        )
    return column


def _differs(value: object, values: Sequence[Any]) -> bool:
    """Whether a value is of another type than the first that is there."""
    first = next(each for each in values if each is not None)
    return value is not None and type(value) is not type(first)
