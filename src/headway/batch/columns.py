"""Columns as Arrow has them: made of numpy arrays and texts, joined, cut and written out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import nanoarrow
import numpy as np
from nanoarrow import TimeUnit, Type

from headway.core.batch import Column

_UNITS = {
    Type.DATE32: "D",
    Type.DATE64: "ms",
    **dict.fromkeys((Type.TIME32, Type.TIME64, Type.TIMESTAMP, Type.DURATION), ""),
}
_OF_SECOND = {TimeUnit.SECOND: "s", TimeUnit.MILLI: "ms", TimeUnit.MICRO: "us", TimeUnit.NANO: "ns"}
_OF_DAY = (Type.TIME32, Type.TIME64)
TEXT = nanoarrow.large_string()
_CHUNK_BYTES = 1 << 24
_MAX_ROWS = 1 << 16
_MIN_ROWS = 1 << 10


def chunk_rows(width: int) -> int:
    """How many rows of `width` numbers are read at a time: at most 65,536, and 16 MiB where they are wide."""
    return min(max(_CHUNK_BYTES // (8 * max(width, 1)), _MIN_ROWS), _MAX_ROWS)


def string_column(values: Sequence[str | None]) -> Column:
    """A column of texts."""
    return Column(type=TEXT, values=list(values))


def slice_column(column: Column, start: int, end: int) -> Column:
    """The rows [start, end) of a column."""
    missing = None if column.missing is None else column.missing[start:end]
    return Column(type=column.type, values=column.values[start:end], missing=missing)


def concat_columns(columns: Sequence[Column]) -> Column:
    """Columns of one type, one after the other; at least one."""
    first = columns[0]
    if len(columns) == 1:
        return first
    if isinstance(first.values, list):
        return Column(type=first.type, values=[value for each in columns for value in each.values])
    missing = None
    if any(each.missing is not None for each in columns):
        flags = [np.zeros(len(each), dtype=np.bool_) if each.missing is None else each.missing for each in columns]
        missing = np.concatenate(flags)
    values = np.concatenate([np.asarray(each.values) for each in columns])
    return Column(type=first.type, values=values, missing=missing)


def to_arrow_table(columns: Mapping[str, Column], metadata: Mapping[str, str] | None = None) -> Any:
    """Columns of equal length as one Arrow struct array, which any library that speaks Arrow takes."""
    arrays = {name: to_arrow_array(column) for name, column in columns.items()}
    kinds = {name: nanoarrow.Schema(column.type, nullable=True) for name, column in columns.items()}
    schema = nanoarrow.Schema(nanoarrow.struct(kinds), metadata=dict(metadata or {}), nullable=False)
    length = len(next(iter(columns.values())))
    return nanoarrow.c_array_from_buffers(schema, length, [None], children=list(arrays.values()))


def to_arrow_array(column: Column) -> Any:
    """A column as one Arrow array."""
    if isinstance(column.values, list):
        return _string_array(column.values)
    values, validity, nulls = np.ascontiguousarray(column.values), None, 0
    if column.missing is not None:
        validity, nulls = np.packbits(~column.missing, bitorder="little"), int(column.missing.sum())
    if values.dtype == np.bool_:
        values = np.packbits(values, bitorder="little")
    return nanoarrow.c_array_from_buffers(column.type, len(column), [validity, values], null_count=nulls)


def format_values(column: Column) -> list[str]:
    """The values as texts that read back the same; a null is the empty text, times are in ISO 8601.

    What has a zone is shown in UTC, a duration in seconds (`PT0.5S`).
    """
    if isinstance(column.values, list):
        return ["" if value is None else value for value in column.values]
    plain = nanoarrow.Schema(column.type).type not in _UNITS
    found = [str(value) for value in column.values.tolist()] if plain else _format_times(column)
    if column.missing is not None:
        found = ["" if none else text for text, none in zip(found, column.missing.tolist(), strict=True)]
    return found


def _format_times(column: Column) -> list[str]:
    schema, counts = nanoarrow.Schema(column.type), np.asarray(column.values, dtype=np.int64)
    unit = _UNITS[schema.type] or _OF_SECOND[schema.unit]
    if schema.type == Type.DURATION:
        digits = {"s": 0, "ms": 3, "us": 6, "ns": 9}[unit]
        spans = [Decimal(count).scaleb(-digits) for count in counts.tolist()]
        return [f"{'-' if span < 0 else ''}PT{abs(span):f}S" for span in spans]
    moments: list[str] = np.datetime_as_string(counts.astype(f"M8[{unit}]")).tolist()
    if schema.type in _OF_DAY:
        return [text.partition("T")[2] for text in moments]
    return [f"{text}Z" for text in moments] if schema.type == Type.TIMESTAMP and schema.timezone else moments


def _string_array(values: Sequence[str | None]) -> Any:
    encoded = ["" if value is None else value for value in values]
    content = [value.encode("utf-8", "replace") for value in encoded]
    offsets = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum([len(each) for each in content], out=offsets[1:])
    missing = np.array([value is None for value in values], dtype=np.bool_)
    validity = np.packbits(~missing, bitorder="little") if missing.any() else None
    buffers = [validity, offsets, b"".join(content)]
    return nanoarrow.c_array_from_buffers(TEXT, len(values), buffers, null_count=int(missing.sum()))
