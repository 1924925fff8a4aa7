"""The values of a column as the type that was agreed, whatever the table holds them as."""

from __future__ import annotations

from datetime import date, datetime

import polars as pl

from headway.core.errors import ConfigError
from headway.data.contract.terms import Bound, ColumnContract

ORDERED_TYPES = ("number", "whole", "date", "time")
STRING_DTYPES = (pl.String, pl.Categorical, pl.Enum)


def has_value(name: str, dtype: pl.DataType) -> pl.Expr:
    """Where a column has a value; NaN is none."""
    there = pl.col(name).is_not_null()
    return there & pl.col(name).is_not_nan() if dtype.is_float() else there


def as_type(name: str, dtype: pl.DataType, terms: ColumnContract) -> pl.Expr | None:
    """A column as its agreed type, null where a value is none of it; None where no value of this `dtype` can be."""
    column = pl.col(name)
    if dtype == pl.Null:
        return column
    if terms.type in ("number", "whole"):
        return _as_numbers(column, dtype)
    if terms.type == "text":
        return column if dtype == pl.String else column.cast(pl.String) if dtype in STRING_DTYPES else None
    if terms.type == "boolean":
        return _as_booleans(column, dtype)
    return _as_times(column, dtype, terms.type)


def compares_as_float(dtype: pl.DataType, terms: ColumnContract) -> bool:
    """Whether the values of a column are floats, as their agreed type."""
    return dtype.is_float() or (terms.type in ("number", "whole") and dtype in STRING_DTYPES)


def parse_bound(
    terms: ColumnContract, given: bool | Bound, *, where: str
) -> bool | int | float | str | date | datetime:
    """A value that a contract names, as its type holds it; raises ConfigError for one that is none."""
    if terms.type in ("number", "whole") and isinstance(given, int | float) and not isinstance(given, bool):
        return given
    if terms.type == "text" and isinstance(given, str):
        return given
    if terms.type == "boolean" and isinstance(given, bool):
        return given
    if terms.type in ("date", "time") and isinstance(given, str):
        try:
            return date.fromisoformat(given) if terms.type == "date" else _parse_time(given)
        except ValueError:
            pass
    form = {"date": "2024-03-31, as text", "time": "2024-03-31T17:05:00, as text"}.get(terms.type, f"a {terms.type}")
    raise ConfigError(f"{given!r} is no {terms.type}", where=where, hint=form)


def _parse_time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is not None:
        raise ValueError("times have no zone here")
    return found


def _as_numbers(column: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    if dtype.is_numeric():
        return column
    if dtype == pl.Boolean:
        return column.cast(pl.Int8)
    return column.cast(pl.String).cast(pl.Float64, strict=False).fill_nan(None) if dtype in STRING_DTYPES else None


def _as_booleans(column: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    if dtype == pl.Boolean:
        return column
    if dtype.is_numeric():
        return pl.when(column == 1).then(True).when(column == 0).then(False)
    words = column.cast(pl.String).str.to_lowercase()
    return pl.when(words == "true").then(True).when(words == "false").then(False) if dtype in STRING_DTYPES else None


def _as_times(column: pl.Expr, dtype: pl.DataType, kind: str) -> pl.Expr | None:
    """Dates, or times without their zone, in microseconds."""
    if dtype in STRING_DTYPES:
        texts = column.cast(pl.String)
        if kind == "date":
            return texts.str.to_date("%Y-%m-%d", strict=False)
        whole = texts.str.replace(" ", "T", literal=True).str.replace(r"^(.{16})($|Z|[+-])", "${1}:00${2}")
        local = whole.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
        zoned = whole.str.to_datetime("%+", time_unit="us", strict=False).dt.convert_time_zone("UTC")
        return pl.coalesce(local, zoned.dt.replace_time_zone(None))
    if kind == "date":
        return column if dtype == pl.Date else None
    return column.cast(pl.Datetime("us")).dt.replace_time_zone(None) if dtype in (pl.Date, pl.Datetime) else None
