"""One input of an infer request: its values as numbers, or the reason why they are not what the release reads."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from headway.core.errors import DataError
from headway.core.variant import Field

if TYPE_CHECKING:
    from headway.core.contracts import Floats

BYTES = "BYTES"
UNSEEN_CATEGORY: float = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_5EED))[0]
"""A text that training never saw: missing to a model, as any NaN is, and another one to who looks at its bits."""
_INTEGERS = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})
_FLOATS = ("FP16", "BF16", "FP32", "FP64")
_NUMBERS = _INTEGERS.union(_FLOATS, ["BOOL"])

Value = float | str | None
Values = list[Value | list[Value]]


class Tensor(msgspec.Struct, gc=False):
    """One input: its values in row-major order, flat or nested."""

    name: str
    shape: list[int]
    datatype: str
    data: Values


class CategoryCodes(dict[object, float]):
    """Text to its rank among the categories of a field: null is missing, an unseen text is what the field says."""

    def __init__(self, field: Field) -> None:
        super().__init__({text: float(rank) for rank, text in enumerate(field.categories)})
        self._field = field
        self._unseen = float(len(field.categories)) if field.unseen == "other" else UNSEEN_CATEGORY

    def __missing__(self, text: object) -> float:
        if text is None:
            return float("nan")
        if not isinstance(text, str):
            raise TypeError(text)
        if self._field.unseen == "refused":
            raise KeyError(text)
        return self._unseen


def category_codes(field: Field) -> CategoryCodes | None:
    """The ranks of a text column's categories; None for a column of numbers."""
    return CategoryCodes(field) if field.datatype == BYTES else None


def row_count(tensor: Tensor) -> int:
    """How many rows the shape of a column speaks of; at least one."""
    n = tensor.shape[0] if tensor.shape else 0
    if n < 1:
        raise DataError(f"input '{tensor.name}' has shape {tensor.shape}: no row", hint="shape [n], n >= 1")
    return n


def column_values(tensor: Tensor, ranks: CategoryCodes | None, shapes: Sequence[list[int]]) -> Values:
    """The values of a named column of one of these shapes ([n] or [n, 1]), texts as ranks.

    Raises DataError where shape, count or datatype is another.
    """
    if tensor.shape not in shapes:
        raise DataError(f"input '{tensor.name}' has shape {tensor.shape}, expected {shapes[0]} as the first input has")
    values = flatten(tensor, shapes[0][0])
    if ranks is None:
        if tensor.datatype not in _NUMBERS:
            raise _wrong_type(tensor, f"a number: {', '.join(sorted(_NUMBERS))}")
        return values
    if tensor.datatype != BYTES:
        raise _wrong_type(tensor, "a text: BYTES")
    try:
        return [ranks[value] for value in values]
    except KeyError as error:
        text = error.args[0]
        raise DataError(
            f"column '{tensor.name}' holds {text!r}, a text that the model does not know",
            where=f"row {list(values).index(text)}",
            hint=f"one of its {len(ranks)} texts, or null where it is missing",
        ) from error
    except TypeError as error:
        raise DataError(f"input '{tensor.name}' holds a number or a list, expected texts or null") from error


def flatten(tensor: Tensor, size: int) -> Values:
    """The `size` values of an input in one list; nested data is one list a row."""
    data = tensor.data
    if len(data) == size and not isinstance(data[0], list):
        return data
    if len(data) and isinstance(data[0], list):
        data = [value for row in data for value in (row if isinstance(row, list) else [row])]
    if len(data) != size:
        raise DataError(f"input '{tensor.name}' has {len(data)} values, its shape {tensor.shape} asks for {size}")
    return data


def to_float64(values: Values, name: str, *, columns: Sequence[str] = ()) -> Floats:
    """Numbers and nulls as float64 [n]; raises DataError where a text or a list is among them.

    The values are of one column, or of these `columns`, row by row.
    """
    array: Floats
    try:
        array = np.array(values)
    except ValueError as error:
        raise DataError(f"input '{name}' mixes lists and numbers") from error
    if array.dtype.kind == "f":
        return array
    at = next((place for place, value in enumerate(values) if isinstance(value, str)), None)
    if at is not None:
        what = f"input '{name}' holds the text {values[at]!r}, expected numbers or null"
        raise DataError(what, where=_place(at, columns))
    return np.array(values, dtype=np.float64)


def cast_datatype(values: Floats, tensor: Tensor, *, columns: Sequence[str] = ()) -> Floats:
    """What a datatype other than FP64 makes of the values: FP32 rounds to it, integers must be whole and fit.

    The values are of one column, or of these `columns`, row by row.
    """
    datatype = tensor.datatype
    if datatype not in _NUMBERS:
        raise _wrong_type(tensor, f"numbers: {', '.join(sorted(_NUMBERS))}")
    exact = values
    if datatype in _FLOATS:
        exact = round_to_datatype(values, datatype)
        wrong = np.isinf(exact)
    elif datatype == "BOOL":
        wrong = (values != 0) & (values != 1) & ~np.isnan(values)
    else:
        limits = np.iinfo(datatype.lower())
        wrong = ((values != np.rint(values)) & ~np.isnan(values)) | (values < limits.min) | (values > limits.max)
    if wrong.any():
        at = int(wrong.argmax())
        what = f"input '{tensor.name}' holds {values[at]:g}, which is no {datatype}"
        raise DataError(what, where=_place(at, columns))
    return exact


def round_to_datatype(values: Floats, datatype: str) -> Floats:
    """The nearest numbers that FP32, FP16 or BF16 can hold; infinite where they are beyond what it can."""
    with np.errstate(over="ignore"):
        single = values.astype(np.float16 if datatype == "FP16" else np.float32)
    if datatype != "BF16":
        return single.astype(np.float64)
    bits = single.view(np.uint32)
    upper = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF_0000  # to the nearest, and of two that are as near the even one
    return np.where(np.isnan(single), np.nan, upper.astype(np.uint32).view(np.float32)).astype(np.float64)


def _place(at: int, columns: Sequence[str]) -> str:
    return f"row {at // len(columns)}, column '{columns[at % len(columns)]}'" if columns else f"row {at}"


def _wrong_type(tensor: Tensor, expected: str) -> DataError:
    return DataError(f"input '{tensor.name}' is {tensor.datatype}, expected {expected}")
