"""Columns as Arrow arrays, and the parsing of cells into numbers and categories."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import nanoarrow
import numpy as np
from nanoarrow import TimeUnit, Type

from headway.core.batch import ArrowColumn, Refusal, ScoringOptions
from headway.core.errors import DataError
from headway.core.variant import Field
from headway.serving.protocol.tensors import Codes

if TYPE_CHECKING:
    from headway.core.arrays import Floats

MISSING = float("nan")
UNKNOWN = "a category that the model does not know"
INFINITE = "an infinity: leave the cell empty, or null, where a value is missing"
_FORMULA = re.compile(r"(^|[;,|\t\r\n])(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_TRUTH = {"true": 1.0, "false": 0.0}
_SHOWN = 200


def parse_number(text: str) -> float | None:
    """Parse a number, with true as 1 and false as 0; None if the string is not one.

    >>> parse_number(" 1e3"), parse_number("True"), parse_number("1_000"), parse_number("n/a")
    (1000.0, 1.0, None, None)
    """
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return _TRUTH.get(text.strip().lower())


def rank_categories(
    field: Field, ranks: Codes, strings: Sequence[str | None], start: int, refusals: list[Refusal]
) -> list[float]:
    """Return the ranks of a column's categories; append a refusal for each value that its field refuses.

    `start` is the row of the first value.
    """
    if field.is_text:
        found = []
        for index, text in enumerate(strings):
            try:
                found.append(ranks[text])
            except DataError as error:
                refusals.append(new_refusal(start + index, field.name, text or "", error.what))
                found.append(MISSING)
        return found
    if field.unseen != "refused":
        return [ranks[text] for text in strings]
    for index, text in enumerate(strings):
        if text is not None and text not in ranks:
            refusals.append(new_refusal(start + index, field.name, text, UNKNOWN))
    return [ranks.get(text, MISSING) for text in strings]


def new_refusal(row: int, column: str, value: str, reason: str) -> Refusal:
    """Make a refusal; a long value is shortened."""
    value = value.encode("utf-8", "backslashreplace").decode()
    return Refusal(
        row=row, column=column, value=value if len(value) <= _SHOWN else f"{value[:_SHOWN]}...", reason=reason
    )


def refuse_invalid_utf8(name: str, strings: Sequence[str | None], start: int) -> Iterator[Refusal]:
    """Yield a refusal for each string with bytes that are not UTF-8, which are decoded as lone surrogates."""
    for index, text in enumerate(strings):
        if text is not None and _NOT_UTF8.search(text):
            yield new_refusal(start + index, name, text, "not UTF-8")


def refuse_infinities(rows: Floats, names: Sequence[str], start: int) -> list[Refusal]:
    """Replace infinities by NaN, and return a refusal for each, as the server refuses them.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Changed in place.
    names : sequence of str, of length d
        Columns of the rows.
    start : int
        Number of the first row.
    """
    infinite = np.isinf(rows)
    if not infinite.any():
        return []
    refusals = [
        new_refusal(start + row, names[column], f"{rows[row, column]:g}", INFINITE)
        for row, column in np.argwhere(infinite).tolist()
    ]
    rows[infinite] = MISSING
    return refusals


def escape_formulas(text: str) -> str:
    """Return a text in which no spreadsheet finds a formula: a quote stands before each; numbers stay as they are.

    A cell may begin behind a separator of another language as well.

    >>> escape_formulas("=1+1"), escape_formulas("-5"), escape_formulas("a;@b"), escape_formulas("a-b")
    ("'=1+1", '-5', "a;'@b", 'a-b')
    """
    return text if parse_number(text) is not None else _FORMULA.sub(r"\1'", text)


def escape_column(column: ArrowColumn) -> ArrowColumn:
    """Return a column whose strings hold no formula."""
    if not isinstance(column.values, list):
        return column
    return replace(column, values=[text if text is None else escape_formulas(text) for text in column.values])


def check_columns(names: Sequence[str], options: ScoringOptions, where: str) -> None:
    """Raise DataError if a required column is missing from the file or occurs twice."""
    for name in options.names:
        if names.count(name) > 1:
            raise DataError(f"column '{name}' occurs {names.count(name)} times", where=where, hint="rename one")
        if name not in names:
            raise DataError(
                f"column '{name}' is missing from the file",
                where=f"{where}: {_join_names(names)}",
                hint=_column_hint(name, names, options),
            )


def _column_hint(name: str, names: Sequence[str], options: ScoringOptions) -> str:
    if name in options.views:
        return (
            f"join it to the file: it belongs to view '{options.views[name]}', whose online table has only current "
            "values"
        )
    near = difflib.get_close_matches(name, names, 1)
    return (
        f"nearest: {near[0]}"
        if near
        else "the file needs every column that the model reads, with null for missing values"
    )


def _join_names(names: Sequence[str]) -> str:
    return f"{', '.join(names[:20])}{', ...' if len(names) > 20 else ''}"


_UNITS = {
    Type.DATE32: "D",
    Type.DATE64: "ms",
    **dict.fromkeys((Type.TIME32, Type.TIME64, Type.TIMESTAMP, Type.DURATION), ""),
}
_SECOND_UNITS = {TimeUnit.SECOND: "s", TimeUnit.MILLI: "ms", TimeUnit.MICRO: "us", TimeUnit.NANO: "ns"}
_TIMES_OF_DAY = (Type.TIME32, Type.TIME64)
TEXT = nanoarrow.large_string()
_CHUNK_BYTES = 1 << 24
_MAX_ROWS = 1 << 16
_MIN_ROWS = 1 << 10
_TEXT_ROWS = 1 << 11
"""Rows with texts: a process holds some hundred thousand texts at a time."""


def chunk_rows(width: int, *, has_texts: bool = False) -> int:
    """Return how many rows of `width` numbers to read at a time: at most 65,536 rows, or 16 MiB; 2,048 with texts."""
    return min(max(_CHUNK_BYTES // (8 * max(width, 1)), _MIN_ROWS), _TEXT_ROWS if has_texts else _MAX_ROWS)


def string_column(values: Sequence[str | None]) -> ArrowColumn:
    """Make a column of strings."""
    return ArrowColumn(type=TEXT, values=list(values))


def slice_column(column: ArrowColumn, start: int, end: int) -> ArrowColumn:
    """Return the rows [start, end) of a column."""
    missing = None if column.missing is None else column.missing[start:end]
    return ArrowColumn(type=column.type, values=column.values[start:end], missing=missing)


def concat_columns(columns: Sequence[ArrowColumn]) -> ArrowColumn:
    """Concatenate one or more columns of one type."""
    first = columns[0]
    if len(columns) == 1:
        return first
    if isinstance(first.values, list):
        return ArrowColumn(type=first.type, values=[value for column in columns for value in column.values])
    missing = None
    if any(column.missing is not None for column in columns):
        flags = [
            np.zeros(len(column), dtype=np.bool_) if column.missing is None else column.missing for column in columns
        ]
        missing = np.concatenate(flags)
    values = np.concatenate([np.asarray(column.values) for column in columns])
    return ArrowColumn(type=first.type, values=values, missing=missing)


def to_arrow_table(columns: Mapping[str, ArrowColumn], metadata: Mapping[str, str] | None = None) -> Any:
    """Return columns of equal length as one Arrow struct array."""
    arrays = {name: to_arrow_array(column) for name, column in columns.items()}
    kinds = {name: nanoarrow.Schema(column.type, nullable=True) for name, column in columns.items()}
    schema = nanoarrow.Schema(nanoarrow.struct(kinds), metadata=dict(metadata or {}), nullable=False)
    length = len(next(iter(columns.values())))
    return nanoarrow.c_array_from_buffers(schema, length, [None], children=list(arrays.values()))


def to_arrow_array(column: ArrowColumn) -> Any:
    """Return a column as one Arrow array."""
    if isinstance(column.values, list):
        return _string_array(column.values)
    values, validity, nulls = np.ascontiguousarray(column.values), None, 0
    if column.missing is not None:
        validity, nulls = np.packbits(~column.missing, bitorder="little"), int(column.missing.sum())
    if values.dtype == np.bool_:
        values = np.packbits(values, bitorder="little")
    return nanoarrow.c_array_from_buffers(column.type, len(column), [validity, values], null_count=nulls)


def format_values(column: ArrowColumn) -> list[str]:
    """Format values as strings that parse back to the same value; a null is the empty string, times are in ISO 8601.

    A time with a zone is shown in UTC, a duration in seconds (`PT0.5S`).
    """
    if isinstance(column.values, list):
        return ["" if value is None else value for value in column.values]
    plain = nanoarrow.Schema(column.type).type not in _UNITS
    found = [str(value) for value in column.values.tolist()] if plain else _format_times(column)
    if column.missing is not None:
        found = ["" if none else text for text, none in zip(found, column.missing.tolist(), strict=True)]
    return found


def _format_times(column: ArrowColumn) -> list[str]:
    schema, counts = nanoarrow.Schema(column.type), np.asarray(column.values, dtype=np.int64)
    unit = _UNITS[schema.type] or _SECOND_UNITS[schema.unit]
    if schema.type == Type.DURATION:
        digits = {"s": 0, "ms": 3, "us": 6, "ns": 9}[unit]
        spans = [Decimal(count).scaleb(-digits) for count in counts.tolist()]
        return [f"{'-' if span < 0 else ''}PT{abs(span):f}S" for span in spans]
    times: list[str] = np.datetime_as_string(counts.astype(f"M8[{unit}]")).tolist()
    if schema.type in _TIMES_OF_DAY:
        return [text.partition("T")[2] for text in times]
    return [f"{text}Z" for text in times] if schema.type == Type.TIMESTAMP and schema.timezone else times


def _string_array(values: Sequence[str | None]) -> Any:
    encoded = ["" if value is None else value for value in values]
    content = [value.encode("utf-8", "replace") for value in encoded]
    offsets = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum([len(encoded) for encoded in content], out=offsets[1:])
    missing = np.array([value is None for value in values], dtype=np.bool_)
    validity = np.packbits(~missing, bitorder="little") if missing.any() else None
    buffers = [validity, offsets, b"".join(content)]
    return nanoarrow.c_array_from_buffers(TEXT, len(values), buffers, null_count=int(missing.sum()))
