"""Parse strings and database rows: ISO 8601 dates, words for missing values, and rows from database drivers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import polars as pl

from headway.core.errors import DataError

Column = TypeVar("Column", pl.Series, pl.Expr)

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


def date_expressions(frame: pl.LazyFrame) -> list[pl.Expr]:
    """Return an expression for each string column that `parse_date_column` parses, for a table of any size."""
    names = [name for name, dtype in frame.collect_schema().items() if dtype == pl.String]
    if not names:
        return []
    first = frame.select(pl.col(name).drop_nulls().first() for name in names).collect(engine="streaming")
    forms = {name: _date_format(first[name]) for name in names if _matches(first[name], "|".join(_FORMATS)).all()}
    forms = {name: form for name, form in forms.items() if first[name].count()}
    columns = {name: (pl.col(name), form) for name, form in forms.items()}
    unparsed = frame.select(_unparsed(column, form).any() for column, form in columns.values())
    found = unparsed.collect(engine="streaming") if columns else pl.DataFrame()
    return [_parse_format(column, form) for name, (column, form) in columns.items() if not found[name].item()]


def unparsed_dates(column: pl.Series) -> pl.Series:
    """Return a mask, shape (n,), of the values that are not ISO 8601 or have another format than the first one."""
    return _unparsed(column, _date_format(column))


BLANKS = ("", "?", "-", "--", ".", "na", "n/a", "n.a.", "#n/a", "nan", "null", "none", "missing", "unknown")
"""Strings, in lower case, that stand for a missing value among numbers."""
MIN_NUMBERS = 0.5
_CODE = r"^\s*[+-]?0\d"
"""A number with a leading zero, such as a postcode, is a name."""


class _Numbers:
    """Counts of strings, and of those that are integers or numbers."""

    def __init__(self) -> None:
        self.values = self._integers = self._floats = 0

    def add(self, texts: pl.Series) -> None:
        if self._floats < self.values:
            return  # one of them cannot be read as a number: the column stays one of strings
        self.values += texts.count()
        integers = texts.cast(pl.Int64, strict=False).count()
        self._integers += integers
        self._floats += integers if integers == texts.count() else texts.cast(pl.Float64, strict=False).count()

    @property
    def dtype(self) -> type[pl.DataType] | None:
        """The type of the numbers; None if there are none, or a string is not a number."""
        if not self.values or self._floats < self.values:
            return None
        return pl.Int64 if self._integers == self.values else pl.Float64


class StringColumn:
    """How a column of strings is read, decided by all of its values, which may come in batches.

    Parameters
    ----------
    words : sequence of str
        Strings that mean a missing value. A column with only numbers left becomes numeric.
    blanks : bool
        Whether a column whose values are numbers apart from blanks such as `?` and `NA` becomes numeric. At least half
        of the values must be numbers.
    """

    def __init__(self, words: Sequence[str], *, blanks: bool) -> None:
        self._words, self._blanks = list(words), blanks
        self._n_words = self._n_values = self._n_codes = 0
        self._without_words, self._without_blanks = _Numbers(), _Numbers()
        self._found = Counter[str]()

    def add(self, column: pl.Series) -> None:
        """Count the values of a batch."""
        if self._words:
            self._n_words += int(column.is_in(self._words).sum())
            column = self.without_words(column)
            self._without_words.add(column)
        if self._blanks:
            self._n_values += column.count()
            is_blank = _is_blank(column)
            self._found.update(dict(column.filter(is_blank).value_counts().iter_rows()))
            texts = column.set(is_blank, None).str.strip_chars()
            self._without_blanks.add(texts)
            self._n_codes += int(texts.str.contains(_CODE).sum())

    @property
    def blanks(self) -> dict[str, int]:
        """How often each blank occurs, the most frequent first; empty if the column is not read as numbers for them."""
        n_blank = self._found.total()
        if not n_blank or n_blank > (1 - MIN_NUMBERS) * self._n_values or self._n_codes:
            return {}
        if self._number_of_words or self._without_blanks.dtype is None:
            return {}
        return dict(self._found.most_common())

    def without_words(self, column: pl.Series) -> pl.Series:
        """Return the strings of a batch with the words for missing values as null."""
        return column.set(column.is_in(self._words), None) if self._words else column

    def read_words(self, column: pl.Series) -> pl.Series:
        """Return the values of a batch as `replace_missing` reads them."""
        if not self._n_words:
            return column
        column = self.without_words(column)
        return column.cast(self._number_of_words, strict=False) if self._number_of_words else column

    def read_blanks(self, column: pl.Series) -> pl.Series:
        """Return values that `read_words` returned as `parse_number_texts` reads them."""
        dtype = self._without_blanks.dtype
        if dtype is None or not self.blanks:
            return column
        return column.set(_is_blank(column), None).str.strip_chars().cast(dtype, strict=False)

    @property
    def _number_of_words(self) -> type[pl.DataType] | None:
        return self._without_words.dtype if self._n_words else None


def replace_missing(table: pl.DataFrame, words: Sequence[str]) -> pl.DataFrame:
    """Replace the words for missing values by null; a column with only numbers left becomes numeric."""
    if not words:
        return table
    texts = (column for column in table.iter_columns() if column.dtype == pl.String)
    return table.with_columns(_counted(column, words, blanks=False).read_words(column) for column in texts)


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
    texts = {name: _counted(table[name], (), blanks=True) for name in names if table.schema[name] == pl.String}
    parsed = {name: found for name, found in texts.items() if found.blanks}
    return table.with_columns(found.read_blanks(table[name]) for name, found in parsed.items()), {
        name: found.blanks for name, found in parsed.items()
    }


def _counted(column: pl.Series, words: Sequence[str], *, blanks: bool) -> StringColumn:
    found = StringColumn(words, blanks=blanks)
    found.add(column)
    return found


def _is_blank(column: pl.Series) -> pl.Series:
    return column.str.strip_chars().str.to_lowercase().is_in(list(BLANKS))


def _date_format(column: pl.Series) -> str:
    """Return the pattern of the first value; that of a date if it has none."""
    first = column.drop_nulls().head(1)
    return next((form for form in _FORMATS if _matches(first, form).all()), _FORMATS[0])


def _unparsed(column: Column, form: str) -> Column:
    """Return a mask of the values that have another format, or are no date of it."""
    fits = _matches(column, form).fill_null(True)
    return ~fits | (_parse_format(column, form).is_null() & column.is_not_null())


def _matches(column: Column, pattern: str) -> Column:
    return column.str.contains(pattern)


def _parse_format(column: Column, form: str) -> Column:
    """Parse the values of one format; `_unparsed` finds those of another one."""
    if form == _FORMATS[0]:
        return column.str.to_date("%Y-%m-%d", strict=False)
    texts = column.str.replace(" ", "T", literal=True).str.replace(r"^(.{16})($|Z|[+-])", "${1}:00${2}")
    if form == _FORMATS[1]:
        return texts.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
    return texts.str.to_datetime("%+", time_unit="us", strict=False).dt.convert_time_zone("UTC")


Rows = Sequence[tuple[Any, ...]]


FETCH_ROWS = 50_000
"""Rows of a database that are fetched together: as Python objects they take ten times the memory of a table."""


def table_from_rows(names: Sequence[str], rows: Rows, *, where: str) -> pl.DataFrame:
    """Build a table from the rows of a database driver, as `table_from_batches` does."""
    return table_from_batches(names, [rows], where=where)


def table_from_batches(names: Sequence[str], batches: Iterable[Rows], *, where: str) -> pl.DataFrame:
    """Build a table from batches of rows of a database driver, with one batch in memory in addition to the table.

    Raises DataError as `frames_from_batches`.
    """
    return concat_frames(list(frames_from_batches(names, batches, where=where)))


def frames_from_batches(names: Sequence[str], batches: Iterable[Rows], *, where: str) -> Iterator[pl.DataFrame]:
    """Yield a table for each batch of rows of a database driver.

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
    n_rows = 0
    kinds: list[list[type]] = [[] for _ in names]
    for rows in batches:
        columns = zip(*rows, strict=True) if rows else [()] * len(names)
        described = zip(names, columns, kinds, strict=True)
        yield pl.DataFrame([_column(name, values, known, n_rows, where) for name, values, known in described])
        n_rows += len(rows)


def concat_frames(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Concatenate the tables of the batches of one result; a column has the type that holds the values of all."""
    return pl.concat(same_types(frames), how="vertical_relaxed") if len(frames) > 1 else frames[0]


def same_types(frames: Sequence[pl.DataFrame]) -> list[pl.DataFrame]:
    """Return the tables with decimals of one scale, the largest of each column."""
    scales = dict[str, int]()
    for part in frames:
        for name, dtype in part.schema.items():
            if isinstance(dtype, pl.Decimal):
                scales[name] = max(scales.get(name, 0), dtype.scale)
    wanted = {name: pl.Decimal(38, scale) for name, scale in scales.items()}
    return [part.cast({name: wanted[name] for name in part.columns if name in wanted}) for part in frames]


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
