"""Parse strings and database rows: ISO 8601 dates, words for missing values, and rows from database drivers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from headway.core.errors import DataError

_DAY = r"^\d{4}-\d{2}-\d{2}"
_CLOCK = r"[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?"
_ZONE = r"(?:Z|[+-]\d{2}:?\d{2})"
_FORMATS = (f"{_DAY}$", f"{_DAY}{_CLOCK}$", f"{_DAY}{_CLOCK}{_ZONE}$")


def parse_dates(table: pl.DataFrame) -> pl.DataFrame:
    """Parse each string column whose values are all ISO 8601 dates or times.

    No other format is guessed: 01/02/2024 is ambiguous.
    """
    return table.with_columns(map(parse_date_column, table.iter_columns()))


def parse_date_column(column: pl.Series) -> pl.Series:
    """Parse a string column as dates or times if every value is one; return any other column unchanged.

    Times with a zone are converted to UTC.
    """
    if column.dtype != pl.String or column.null_count() == len(column):
        return column
    if not _matches(column.drop_nulls().head(1), "|".join(_FORMATS)).all():
        return column
    return column if unparsed_dates(column).any() else _parse_format(column, _date_format(column))


def unparsed_dates(column: pl.Series) -> pl.Series:
    """Return a mask, shape (n,), of the values that are not ISO 8601 or have another format than the first one."""
    form = _date_format(column)
    fits = _matches(column, form).fill_null(True)
    return ~fits | (_parse_format(column, form).is_null() & column.is_not_null())


def replace_missing(table: pl.DataFrame, words: Sequence[str]) -> pl.DataFrame:
    """Replace the words for missing values by null; a column with only numbers left becomes numeric."""
    if not words:
        return table
    texts = (column for column in table.iter_columns() if column.dtype == pl.String)
    touched = (column for column in texts if column.is_in(list(words)).any())
    return table.with_columns(_numbers(column.set(column.is_in(list(words)), None)) for column in touched)


BLANKS = ("", "?", "-", "--", ".", "na", "n/a", "n.a.", "#n/a", "nan", "null", "none", "missing", "unknown")
"""Strings, in lower case, that stand for a missing value among numbers."""
MIN_NUMBERS = 0.5
_CODE = r"^\s*[+-]?0\d"
"""A number with a leading zero, such as a postcode, is a name."""


def parse_number_texts(table: pl.DataFrame, names: Sequence[str]) -> tuple[pl.DataFrame, dict[str, dict[str, int]]]:
    """Parse the string columns whose values are numbers apart from blanks such as `?` and `NA`.

    Parameters
    ----------
    table : DataFrame
    names : sequence of str
        The columns to parse; others stay unchanged.

    Returns
    -------
    tuple of DataFrame and dict
        The table with these columns as numbers and their blanks missing; by column, how often each blank occurs.
        At least half of the values must be numbers.
    """
    parsed: dict[str, pl.Series] = {}
    blanks: dict[str, dict[str, int]] = {}
    for column in (table[name] for name in names if table.schema[name] == pl.String):
        is_blank = column.str.strip_chars().str.to_lowercase().is_in(list(BLANKS))
        n_blank = int(is_blank.sum())
        if not n_blank or n_blank > (1 - MIN_NUMBERS) * column.count():
            continue
        texts = column.set(is_blank, None).str.strip_chars()
        numbers = _numbers(texts)
        if numbers.dtype == pl.String or texts.str.contains(_CODE).any():
            continue
        parsed[column.name] = numbers
        counts = column.filter(is_blank).value_counts(sort=True)
        blanks[column.name] = dict(counts.iter_rows())
    return table.with_columns(**parsed), blanks


def _date_format(column: pl.Series) -> str:
    """Return the pattern of the first value; that of a date if it has none."""
    first = column.drop_nulls().head(1)
    return next((form for form in _FORMATS if _matches(first, form).all()), _FORMATS[0])


def _matches(column: pl.Series, pattern: str) -> pl.Series:
    return column.str.contains(pattern)


def _parse_format(column: pl.Series, form: str) -> pl.Series:
    """Parse the values of one format; others become null."""
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


FETCH_ROWS = 50_000
"""Rows of a database that are fetched together: as Python objects they take ten times the memory of a table."""


def table_from_rows(names: Sequence[str], rows: Rows, *, where: str) -> pl.DataFrame:
    """Build a table from the rows of a database driver, as `table_from_batches` does."""
    return table_from_batches(names, [rows], where=where)


def table_from_batches(names: Sequence[str], batches: Iterable[Rows], *, where: str) -> pl.DataFrame:
    """Build a table from batches of rows of a database driver, with one batch in memory in addition to the table.

    Parameters
    ----------
    names : sequence of str
        Column names.
    batches : iterable of sequence of tuple
        Rows with a value per name.
    where : str
        The query, for error messages.

    Raises
    ------
    DataError
        If two columns share a name, or a column has several types or one that tables do not support.
    """
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise DataError(f"the query gives two columns '{twice[0]}'", where=where, hint=f"SELECT ... AS {twice[0]}_2")
    parts, n_rows = list[pl.DataFrame](), 0
    kinds: list[list[type]] = [[] for _ in names]
    for rows in batches:
        columns = zip(*rows, strict=True) if rows else [()] * len(names)
        described = zip(names, columns, kinds, strict=True)
        parts.append(pl.DataFrame([_column(name, values, known, n_rows, where) for name, values, known in described]))
        n_rows += len(rows)
    return pl.concat(_same_scale(parts), how="vertical_relaxed") if len(parts) > 1 else parts[0]


def _same_scale(parts: Sequence[pl.DataFrame]) -> list[pl.DataFrame]:
    """Return the tables with decimals of one scale, the largest of each column."""
    scales = dict[str, int]()
    for part in parts:
        for name, dtype in part.schema.items():
            if isinstance(dtype, pl.Decimal):
                scales[name] = max(scales.get(name, 0), dtype.scale)
    wanted = {name: pl.Decimal(38, scale) for name, scale in scales.items()}
    return [part.cast({name: wanted[name] for name in part.columns if name in wanted}) for part in parts]


def _column(name: str, values: Sequence[Any], known: list[type], n_before: int, where: str) -> pl.Series:
    """Return the values of a batch; `known` are the types before it, and gets those of the batch."""
    found = {type(value) for value in values} - {type(None)}
    first = known or [type(item) for item in values if item is not None][:1]
    known[:] = [*first, *(kind for kind in found if kind not in first)]
    if {*known} == {int, float}:
        return pl.Series(name, values, dtype=pl.Float64, strict=False)
    if len(known) > 1:
        row, value = next((row, item) for row, item in enumerate(values, n_before + 1) if _differs(item, first[0]))
        raise DataError(
            f"column '{name}' holds {' and '.join(sorted(kind.__name__ for kind in known))}",
            where=f"{value!r} in row {row} of {where}",
            hint=f"CAST({name} AS ...) in [data] query",
        )
    column = pl.Series(name, values)
    if column.dtype == pl.Object:
        raise DataError(
            f"column '{name}' holds {known[0].__name__}, which a table cannot hold",
            where=where,
            hint=f"CAST({name} AS text) in [data] query",
        )
    return column


def _differs(value: object, kind: type) -> bool:
    """Return True if a value has another type than the first one."""
    return value is not None and type(value) is not kind
