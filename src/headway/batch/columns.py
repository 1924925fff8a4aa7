"""Columns as Arrow arrays, and the parsing of cells into numbers and categories."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import nanoarrow
import numpy as np
from nanoarrow import TimeUnit, Type

from headway.core.batch import Column, Refusal, ScoringOptions
from headway.core.errors import DataError
from headway.core.variant import Field
from headway.serving.protocol.tensors import CategoryCodes

MISSING = float("nan")
UNKNOWN = "a text that the model does not know"
_TRUTH = {"true": 1.0, "false": 0.0}
_SHOWN = 200


def parse_number(text: str) -> float | None:
    """The number that a text is, with true as 1 and false as 0; None where it is none.

    >>> parse_number(" 1e3"), parse_number("True"), parse_number("1_000"), parse_number("n/a")
    (1000.0, 1.0, None, None)
    """
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return _TRUTH.get(text.strip().lower())


def rank_categories(
    field: Field, ranks: CategoryCodes, texts: Sequence[str | None], start: int, refusals: list[Refusal]
) -> list[float]:
    """The ranks of a column's texts, of which the first is of row `start`; what its field refuses is added to them."""
    if field.unseen != "refused":
        return [ranks[text] for text in texts]
    for place, text in enumerate(texts):
        if text is not None and text not in ranks:
            refusals.append(new_refusal(start + place, field.name, text, UNKNOWN))
    return [ranks.get(text, MISSING) for text in texts]


def new_refusal(row: int, column: str, value: str, reason: str) -> Refusal:
    """Why a row gets no answer; of a long value its beginning."""
    value = value.encode("utf-8", "backslashreplace").decode()
    return Refusal(
        row=row, column=column, value=value if len(value) <= _SHOWN else f"{value[:_SHOWN]}...", reason=reason
    )


def check_columns(names: Sequence[str], wanted: ScoringOptions, where: str) -> None:
    """Raise DataError where a column is not among the names of a file, or is there twice."""
    for name in wanted.names:
        if names.count(name) > 1:
            raise DataError(f"column '{name}' is there {names.count(name)} times", where=where, hint="rename one")
        if name not in names:
            raise DataError(
                f"column '{name}' is not there",
                where=f"{where}: {_listed(names)}",
                hint=_column_hint(name, names, wanted),
            )


def _column_hint(name: str, names: Sequence[str], wanted: ScoringOptions) -> str:
    if name in wanted.views:
        return f"join it to the file: it is of view '{wanted.views[name]}', and what is looked up is as of now"
    near = difflib.get_close_matches(name, names, 1)
    return f"nearest: {near[0]}" if near else "a file holds every column that the model reads, null where it is missing"


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:20])}{', ...' if len(names) > 20 else ''}"


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
