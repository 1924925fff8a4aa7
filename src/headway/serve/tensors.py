"""One input of an infer request: its values as numbers, or the reason why they are not what the release reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from headway.core.errors import DataError
from headway.core.variant import Field

if TYPE_CHECKING:
    from headway.core.contracts import Floats

TEXT = "BYTES"
_INTEGERS = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})
_NUMBERS = _INTEGERS | {"FP32", "FP64"}

Value = float | str | None
Values = list[Value | list[Value]]


class Tensor(msgspec.Struct, gc=False):
    """One input: its values in row-major order, flat or nested."""

    name: str
    shape: list[int]
    datatype: str
    data: Values


class Ranks(dict[object, float]):
    """Text to its rank among the categories of a field: null is missing, an unseen text is what the field says."""

    def __init__(self, field: Field) -> None:
        super().__init__({text: float(rank) for rank, text in enumerate(field.categories)})
        self._field = field
        self._unseen = float(len(field.categories)) if field.unseen == "other" else float("nan")

    def __missing__(self, text: object) -> float:
        if text is None:
            return float("nan")
        if not isinstance(text, str):
            raise TypeError(text)
        if self._field.unseen == "refused":
            raise DataError(
                f"column '{self._field.name}' holds {text!r}, a text that the model does not know",
                mend=f"one of its {len(self)} texts, or null where it is missing",
            )
        return self._unseen


def ranks_of(field: Field) -> Ranks | None:
    """The ranks of a text column's categories; None for a column of numbers."""
    return Ranks(field) if field.datatype == TEXT else None


def length_of(tensor: Tensor) -> int:
    """How many rows the shape of a column speaks of; at least one."""
    n = tensor.shape[0] if tensor.shape else 0
    if n < 1:
        raise DataError(f"input '{tensor.name}' has shape {tensor.shape}: no row", mend="shape [n], n >= 1")
    return n


def column_of(tensor: Tensor, ranks: Ranks | None, shapes: Sequence[list[int]]) -> Values:
    """The values of a named column of one of these shapes ([n] or [n, 1]), texts as ranks.

    Raises DataError where shape, count or datatype is another.
    """
    if tensor.shape not in shapes:
        raise DataError(f"input '{tensor.name}' has shape {tensor.shape}, expected {shapes[0]} as the first input has")
    values = flat(tensor, shapes[0][0])
    if ranks is None:
        if tensor.datatype not in _NUMBERS:
            raise _wrong_type(tensor, "a number: FP64, FP32 or INT64")
        return values
    if tensor.datatype != TEXT:
        raise _wrong_type(tensor, "a text: BYTES")
    try:
        return [ranks[value] for value in values]
    except TypeError as error:
        raise DataError(f"input '{tensor.name}' holds a number or a list, expected texts or null") from error


def flat(tensor: Tensor, size: int) -> Values:
    """The `size` values of an input in one list; nested data is one list a row."""
    data = tensor.data
    if len(data) == size and not isinstance(data[0], list):
        return data
    if data and isinstance(data[0], list):
        data = [value for row in data for value in (row if isinstance(row, list) else [row])]
    if len(data) != size:
        raise DataError(f"input '{tensor.name}' has {len(data)} values, its shape {tensor.shape} asks for {size}")
    return data


def numbers(values: Values, name: str) -> Floats:
    """Numbers and nulls as float64 [n]; raises DataError where a text or a list is among them."""
    array: Floats
    try:
        array = np.array(values)
    except ValueError as error:
        raise DataError(f"input '{name}' mixes lists and numbers") from error
    if array.dtype.kind == "f":
        return array
    text = next((value for value in values if isinstance(value, str)), None)
    if text is not None:
        raise DataError(f"input '{name}' holds the text {text!r}, expected numbers or null")
    return np.array(values, dtype=np.float64)


def narrowed(values: Floats, tensor: Tensor) -> Floats:
    """What a datatype other than FP64 makes of the values: FP32 rounds to it, integers must be whole and fit."""
    datatype = tensor.datatype
    if datatype not in _NUMBERS:
        raise _wrong_type(tensor, "numbers: FP64, FP32 or INT64")
    if datatype == "FP32":
        with np.errstate(over="ignore"):
            exact = values.astype(np.float32).astype(np.float64)
        wrong = np.isinf(exact)
    else:
        exact, limits = values, np.iinfo(datatype.lower())
        wrong = ((values != np.rint(values)) & ~np.isnan(values)) | (values < limits.min) | (values > limits.max)
    if wrong.any():
        raise DataError(f"input '{tensor.name}' holds {values[wrong][0]:g}, which is no {datatype}")
    return exact


def _wrong_type(tensor: Tensor, expected: str) -> DataError:
    return DataError(f"input '{tensor.name}' is {tensor.datatype}, expected {expected}")
