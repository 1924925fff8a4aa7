"""Input tensors of an infer request: values in JSON or as raw bytes, converted to float64 or rejected with the reason.

Raw bytes are the binary tensor extension: little-endian values behind the JSON of a request or a response.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np

from headway.core.categories import unseen_code
from headway.core.errors import DataError
from headway.core.texts import BeyondExact, TextCodes, text_codes
from headway.core.variant import Field
from headway.serving.protocol.admission import MAX_DIMENSIONS

if TYPE_CHECKING:
    from headway.core.contracts import Floats

BYTES = "BYTES"
UNSEEN_CATEGORY: float = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_5EED))[0]
"""A category that training never saw: a NaN, so missing to a model, but with other bits than a missing value."""
_INTEGERS = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})
_FLOATS = ("FP16", "BF16", "FP32", "FP64")
_NUMBERS = _INTEGERS.union(_FLOATS, ["BOOL"])
_DTYPES = {
    "BOOL": "?",
    "FP16": "<f2",
    "BF16": "<u2",
    "FP32": "<f4",
    "FP64": "<f8",
    **{f"INT{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"UINT{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
}
_LENGTH = struct.Struct("<I")
_MAX_SIZE = 2**63 - 1
_RANGES = {"INT64": (-(2**63), 2**63 - 1), "UINT64": (0, 2**64 - 1)}

Value = float | str | None
Values = list[Value | list[Value]]
Size = Annotated[int, msgspec.Meta(ge=-_MAX_SIZE - 1, le=_MAX_SIZE)]
Shape = Annotated[list[Size], msgspec.Meta(max_length=MAX_DIMENSIONS)]


class InputParameters(msgspec.Struct, gc=False):
    """Where the values of an input are: a number of bytes behind the JSON, or shared memory, which is not supported."""

    binary_data_size: int | None = None
    shared_memory_region: str | None = None


class Tensor(msgspec.Struct, gc=False):
    """One input: its values in row-major order, flat or nested."""

    name: str
    shape: Shape
    datatype: str
    data: Values
    parameters: InputParameters | None = None


class BinaryTensor(msgspec.Struct, gc=False):
    """One input whose values are behind the JSON if `parameters` gives their size, and in `data` otherwise."""

    name: str
    shape: Shape
    datatype: str
    data: Values | None = None
    parameters: InputParameters | None = None


class CategoryCodes(dict[object, float]):
    """Code of each category of a field: null is missing, an unseen category is handled as the field says."""

    def __init__(self, field: Field) -> None:
        super().__init__({category: float(code) for code, category in enumerate(field.categories)})
        self._field = field
        self.grows = self.hashes = field.unseen == "hashed"  # as the readers in C ask
        self._unseen = float(len(field.categories)) if field.unseen == "other" else UNSEEN_CATEGORY

    def __missing__(self, category: object) -> float:
        if category is None:
            return float("nan")
        if not isinstance(category, str):
            raise TypeError(category)
        if self._field.unseen == "refused":
            raise KeyError(category)
        return unseen_code(self._field, category) if self.grows else self._unseen


Codes = CategoryCodes | TextCodes


def string_codes(field: Field) -> Codes | None:
    """Return the codes of a column of categories or texts; None for a column of numbers."""
    return text_codes if field.is_text else CategoryCodes(field) if field.datatype == BYTES else None


def _reads_integers(codes: Codes) -> bool:
    return isinstance(codes, TextCodes) and codes.integers


def value_count(name: str, shape: Sequence[int]) -> int:
    """Return the number of values in a shape, checked in 64 bits as it is multiplied.

    Raises DataError for more than 16 dimensions, for a negative one, and for a number that does not fit.
    """
    if len(shape) > MAX_DIMENSIONS:
        raise DataError(f"input '{name}' has {len(shape)} dimensions, at most {MAX_DIMENSIONS} are allowed")
    count = 1
    for size in shape:
        if size < 0:
            raise DataError(f"input '{name}' has shape {list(shape)}, which has no row", hint="shape [n], n >= 1")
        count *= size
        if count > _MAX_SIZE:
            raise DataError(f"input '{name}' has shape {list(shape)}, whose number of values does not fit in 64 bits")
    return count


def refuse_shared_memory(name: str, parameters: InputParameters | None) -> None:
    """Raise DataError if an input has its values in shared memory."""
    if parameters is not None and parameters.shared_memory_region is not None:
        raise DataError(f"input '{name}' is in shared memory, which is not supported", hint="send its values")


def row_count(tensor: Tensor) -> int:
    """Return the number of rows in the shape of a column; raises DataError for none."""
    n = tensor.shape[0] if tensor.shape else 0
    if n < 1:
        raise DataError(f"input '{tensor.name}' has shape {tensor.shape}, which has no row", hint="shape [n], n >= 1")
    return n


def column_values(tensor: Tensor, codes: Codes | None, shapes: Sequence[list[int]]) -> Values:
    """Return the values of a named column of one of these shapes ([n] or [n, 1]), categories as codes.

    Raises DataError if the shape, the number of values or the datatype does not fit.
    """
    if tensor.shape not in shapes:
        raise DataError(f"input '{tensor.name}' has shape {tensor.shape}, expected {shapes[0]} as the first input has")
    values = flatten(tensor, shapes[0][0])
    if codes is None:
        if tensor.datatype not in _NUMBERS:
            raise _wrong_datatype(tensor, f"a number: {', '.join(sorted(_NUMBERS))}")
        return values
    is_integers = _reads_integers(codes) and tensor.datatype in _INTEGERS
    if tensor.datatype != BYTES and not is_integers:
        expected = "a string: BYTES, or an integer: INT64" if _reads_integers(codes) else "a string: BYTES"
        raise _wrong_datatype(tensor, expected)
    try:
        return [codes[value] for value in values]
    except KeyError as error:
        category = error.args[0]
        raise DataError(
            f"column '{tensor.name}' holds {category!r}, a category that the model does not know",
            where=f"row {list(values).index(category)}",
            hint=f"one of its {len(codes)} categories, or null for a missing value",
        ) from error
    except TypeError as error:
        expected = "strings, integers" if _reads_integers(codes) else "strings"
        what = f"input '{tensor.name}' holds a number or a list, expected {expected} or null"
        raise DataError(what) from error


def flatten(tensor: Tensor, size: int) -> Values:
    """Return the `size` values of an input as one list; nested data has one list a row."""
    data = tensor.data
    if len(data) == size and not isinstance(data[0], list):
        return data
    if len(data) and isinstance(data[0], list):
        data = [value for row in data for value in (row if isinstance(row, list) else [row])]
    if len(data) != size:
        raise DataError(f"input '{tensor.name}' has {len(data)} values, its shape {tensor.shape} needs {size}")
    return data


def to_float64(values: Values, name: str, *, columns: Sequence[str] = ()) -> Floats:
    """Convert numbers and nulls to float64 [n]; raises DataError for a string or a list among them.

    The values are of one column, or of these `columns`, row by row.
    """
    array: Floats
    try:
        array = np.array(values)
    except ValueError as error:
        raise DataError(f"input '{name}' mixes lists and numbers") from error
    if array.dtype.kind == "f":
        return array
    index = next((index for index, value in enumerate(values) if isinstance(value, str)), None)
    if index is not None:
        what = f"input '{name}' holds the string {values[index]!r}, expected numbers or null"
        raise DataError(what, where=_location(index, columns))
    return np.array(values, dtype=np.float64)


def cast_datatype(values: Floats, tensor: Tensor, *, columns: Sequence[str] = ()) -> Floats:
    """Apply a datatype other than FP64: floats are rounded to it, integers must be whole and in range.

    The values are of one column, or of these `columns`, row by row. Raises DataError for the first that does not fit,
    BeyondExact if that depends on its digits in the request.
    """
    datatype = tensor.datatype
    if datatype not in _NUMBERS:
        raise _wrong_datatype(tensor, f"numbers: {', '.join(sorted(_NUMBERS))}")
    exact = values
    if datatype in _FLOATS:
        exact = round_to_datatype(values, datatype)
        wrong = np.isinf(exact)
    elif datatype == "BOOL":
        wrong = (values != 0) & (values != 1) & ~np.isnan(values)
    else:
        limits = np.iinfo(datatype.lower())
        low, high = float(limits.min), float(limits.max)  # of 64 bits: 2**63 and 2**64, the first beyond the range
        wrong = ((values != np.rint(values)) & ~np.isnan(values)) | (values < low) | (values > high)
        if datatype in _RANGES and not wrong.any() and ((values == high) | ((values == low) & (low < 0))).any():
            raise BeyondExact(f"input '{tensor.name}' holds an end of the range of {datatype}")
    if wrong.any():
        index = int(wrong.argmax())
        raise _does_not_fit(f"{values[index]:g}", tensor, index, columns)
    return exact


def to_exact(tensor: Tensor | BinaryTensor, *, columns: Sequence[str] = ()) -> None:
    """Check the numbers of an INT64 or UINT64 input that were decoded with all of their digits; it is FP64 then.

    Raises DataError for the first that does not fit.
    """
    values: list[Any] = [value for row in tensor.data or () for value in (row if isinstance(row, list) else [row])]
    if tensor.datatype in _RANGES:
        low, high = _RANGES[tensor.datatype]
        for index, value in enumerate(values):
            if isinstance(value, (int, float)) and not (low <= value <= high and value == int(value)):
                raise _does_not_fit(f"{value}", tensor, index, columns)
        tensor.datatype = "FP64"
    tensor.data = [float(value) if isinstance(value, int) else value for value in values]


def _does_not_fit(value: str, tensor: Tensor | BinaryTensor, index: int, columns: Sequence[str]) -> DataError:
    what = f"input '{tensor.name}' holds {value}, which does not fit in {tensor.datatype}"
    return DataError(what, where=_location(index, columns))


def round_to_datatype(values: Floats, datatype: str) -> Floats:
    """Round to the nearest FP32, FP16 or BF16; infinite for a value beyond its range."""
    with np.errstate(over="ignore"):
        single = values.astype(np.float16 if datatype == "FP16" else np.float32)
    if datatype != "BF16":
        return single.astype(np.float64)
    bits = single.view(np.uint32)
    upper = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF_0000  # round to nearest, ties to even
    return np.where(np.isnan(single), np.nan, upper.astype(np.uint32).view(np.float32)).astype(np.float64)


def unpack_tensors(inputs: list[BinaryTensor], raw: memoryview, *, texts: Collection[str] = ()) -> list[Tensor]:
    """Return the inputs with their values, which follow one another in `raw`; numbers become FP64 of the same value.

    Integers of a column in `texts` become strings of their digits. Raises DataError, which names the input, if its
    bytes do not fit its shape and datatype.
    """
    tensors, start = [], 0
    for tensor in inputs:
        refuse_shared_memory(tensor.name, tensor.parameters)
        size = tensor.parameters.binary_data_size if tensor.parameters else None
        if size is None:
            tensors.append(_json_tensor(tensor))
            continue
        if size < 0 or start + size > len(raw):
            remaining = len(raw) - start
            raise DataError(f"input '{tensor.name}' has a binary_data_size of {size}, but {remaining} bytes are left")
        tensors.append(unpack_tensor(tensor, raw[start : start + size], as_text=tensor.name in texts))
        start += size
    if start != len(raw):
        raise DataError(
            f"{len(raw) - start} bytes are left behind the last input", hint="give the binary_data_size of each input"
        )
    return tensors


def unpack_tensor(tensor: BinaryTensor, raw: memoryview, *, as_text: bool = False) -> Tensor:
    """Return one input whose values are all of `raw`, integers `as_text`; raises DataError as `unpack_tensors` does."""
    count = value_count(tensor.name, tensor.shape)
    if tensor.datatype == BYTES:
        return Tensor(tensor.name, tensor.shape, BYTES, _unpack_strings(tensor, raw, count))
    code = _DTYPES.get(tensor.datatype)
    if code is None:
        raise DataError(f"input '{tensor.name}' is {tensor.datatype}, expected one of {', '.join([*_DTYPES, BYTES])}")
    dtype = np.dtype(code)
    if len(raw) != count * dtype.itemsize:
        raise _wrong_size(tensor, len(raw), f"{count * dtype.itemsize}")
    values = np.frombuffer(raw, dtype)
    if as_text and tensor.datatype in _INTEGERS:
        return Tensor(tensor.name, tensor.shape, BYTES, [str(value) for value in values.tolist()])
    if tensor.datatype == "BOOL":
        bits = values.view(np.uint8)
        if (bits > 1).any():
            index = int((bits > 1).argmax())
            raise DataError(
                f"input '{tensor.name}' holds {bits[index]}, which does not fit in BOOL", where=f"value {index}"
            )
    if tensor.datatype == "BF16":  # the upper half of an FP32
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return Tensor(tensor.name, tensor.shape, "FP64", require_finite(tensor.name, values.astype(np.float64)))


def require_finite(name: str, values: Floats) -> Values:
    """Return the numbers of a request, where NaN is a missing value.

    Raises DataError for an infinity, as JSON has none.
    """
    if np.isinf(values).any():
        raise DataError(f"input '{name}' holds an infinity", hint="send NaN where a value is missing")
    return values  # type: ignore[return-value] # an array is read as the list of its values


def pack_output(head: bytes, values: list[float] | Floats) -> tuple[bytes, bytes]:
    """Return the JSON of a response up to the end of its output, and the values behind it.

    The head ends within the parameters of the output.
    """
    raw = np.array(values, dtype="<f8").tobytes()
    return b'%b"binary_data_size":%d}}' % (head, len(raw)), raw


def pack_values(values: Sequence[str] | Sequence[float]) -> bytes:
    """Return numbers as FP64, or strings each behind its length, as raw bytes."""
    strings = [value.encode() for value in values if isinstance(value, str)]
    if not strings:
        return np.array(values, dtype="<f8").tobytes()
    return b"".join(_LENGTH.pack(len(text)) + text for text in strings)


def _json_tensor(tensor: BinaryTensor) -> Tensor:
    if tensor.data is None:
        raise DataError(f"input '{tensor.name}' has no data", hint='"data", or "parameters": {"binary_data_size": ...}')
    return Tensor(tensor.name, tensor.shape, tensor.datatype, tensor.data)


def _unpack_strings(tensor: BinaryTensor, raw: memoryview, count: int) -> Values:
    """Return the strings, each of which follows its length of four bytes."""
    strings: Values = []
    end = 0
    while end + _LENGTH.size <= len(raw) and len(strings) < count:
        start = end + _LENGTH.size
        end = start + _LENGTH.unpack_from(raw, end)[0]
        try:
            strings.append(str(raw[start:end], "utf-8"))
        except UnicodeDecodeError as error:
            raise DataError(f"input '{tensor.name}' holds a string that is not UTF-8: {error.reason}") from error
    if end != len(raw) or len(strings) != count:
        raise _wrong_size(tensor, len(raw), f"{count} strings, each behind its length,")
    return strings


def _wrong_size(tensor: BinaryTensor, found: int, expected: str) -> DataError:
    return DataError(
        f"input '{tensor.name}' has {found} bytes, its shape {tensor.shape} of {tensor.datatype} needs {expected}"
    )


def _location(index: int, columns: Sequence[str]) -> str:
    return f"row {index // len(columns)}, column '{columns[index % len(columns)]}'" if columns else f"row {index}"


def _wrong_datatype(tensor: Tensor, expected: str) -> DataError:
    return DataError(f"input '{tensor.name}' is {tensor.datatype}, expected {expected}")
