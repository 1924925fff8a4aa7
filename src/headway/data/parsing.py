"""What texts say: dates in ISO 8601, numbers, and the words for a value that is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from headway.core.errors import DataError

_DAY = r"^\d{4}-\d{2}-\d{2}"
_CLOCK = r"[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?"
_ZONE = r"(?:Z|[+-]\d{2}:?\d{2})"
_FORMATS = (f"{_DAY}$", f"{_DAY}{_CLOCK}$", f"{_DAY}{_CLOCK}{_ZONE}$")


def parse_dates(table: pl.DataFrame) -> pl.DataFrame:
    """The table with each text column whose values are ISO 8601 throughout as dates or times.

    No other form is guessed: 01/02/2024 is one day in Europe and another in America.
    """
    return table.with_columns(parse_date_column(column) for column in table.iter_columns() if column.dtype == pl.String)


def parse_date_column(column: pl.Series) -> pl.Series:
    """A text column as dates or times (those with a zone: in UTC) if every value is one, else as it was."""
    if column.null_count() == len(column) or not _matches(column.drop_nulls().head(1), "|".join(_FORMATS)).all():
        return column
    return column if unparsed_dates(column).any() else _parse_format(column, _date_format(column))


def unparsed_dates(column: pl.Series) -> pl.Series:
    """Where a text is no date or time in ISO 8601, or is written in another form than the first; boolean [n]."""
    form = _date_format(column)
    fits = _matches(column, form).fill_null(True)
    return ~fits | (_parse_format(column, form).is_null() & column.is_not_null())


def replace_missing(table: pl.DataFrame, words: Sequence[str]) -> pl.DataFrame:
    """The table without the words that mean a missing value; what holds only numbers then is a column of numbers."""
    if not words:
        return table
    texts = (column for column in table.iter_columns() if column.dtype == pl.String)
    touched = (column for column in texts if column.is_in(list(words)).any())
    return table.with_columns(_numbers(column.set(column.is_in(list(words)), None)) for column in touched)


def _date_format(column: pl.Series) -> str:
    """The pattern that the first value fits; that of a day where it fits none."""
    first = column.drop_nulls().head(1)
    return next((form for form in _FORMATS if _matches(first, form).all()), _FORMATS[0])


def _matches(column: pl.Series, pattern: str) -> pl.Series:
    return column.str.contains(pattern)


def _parse_format(column: pl.Series, form: str) -> pl.Series:
    """The texts of a form as dates or times, null where they are none."""
    fits = column.set(~_matches(column, form), None)
    if form == _FORMATS[0]:
        return fits.str.to_date("%Y-%m-%d", strict=False)
    texts = fits.str.replace(" ", "T", literal=True).str.replace(r"^(.{16})($|Z|[+-])", "${1}:00${2}")
    if form == _FORMATS[1]:
        return texts.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
    return texts.str.to_datetime("%+", time_unit="us", strict=False).dt.convert_time_zone("UTC")


def _numbers(column: pl.Series) -> pl.Series:
    for kind in (pl.Int64, pl.Float64):
        numbers = column.cast(kind, strict=False)
        if numbers.null_count() == column.null_count() < len(column):
            return numbers
    return column


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
