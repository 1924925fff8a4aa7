"""The binary tensor extension: values as raw little-endian bytes behind the JSON of a request or an answer."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from headway.core.errors import DataError
from headway.serving.protocol.tensors import BYTES, Tensor, Values

if TYPE_CHECKING:
    from headway.core.contracts import Floats

_NUMBERS = {
    "BOOL": "?",
    "FP16": "<f2",
    "BF16": "<u2",
    "FP32": "<f4",
    "FP64": "<f8",
    **{f"INT{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"UINT{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
}
_LENGTH = struct.Struct("<I")


class BinarySize(msgspec.Struct, gc=False):
    """How many bytes of an input stand behind the JSON."""

    binary_data_size: int | None = None


class BinaryTensor(msgspec.Struct, gc=False):
    """One input: its values behind the JSON where `parameters` says how many bytes they are, else in `data`."""

    name: str
    shape: list[int]
    datatype: str
    data: Values | None = None
    parameters: BinarySize | None = None


def unpack_tensors(inputs: list[BinaryTensor], raw: memoryview) -> list[Tensor]:
    """The inputs with their values, which stand one after the other in `raw`; numbers as FP64, of the same value.

    Raises DataError that names the input whose bytes are not what its shape and datatype ask for.
    """
    tensors, start = [], 0
    for each in inputs:
        size = each.parameters.binary_data_size if each.parameters else None
        if size is None:
            tensors.append(_in_json(each))
            continue
        if size < 0 or start + size > len(raw):
            left = len(raw) - start
            raise DataError(f"input '{each.name}' has a binary_data_size of {size}, and {left} bytes are left")
        tensors.append(unpack_tensor(each, raw[start : start + size]))
        start += size
    if start != len(raw):
        raise DataError(f"{len(raw) - start} bytes are left behind the last input", hint="say each binary_data_size")
    return tensors


def pack_output(head: bytes, values: list[float]) -> tuple[bytes, bytes]:
    """An answer's JSON up to the parameters of its output, closed, and the values behind it."""
    raw = np.array(values, dtype="<f8").tobytes()
    return b'%b"parameters":{"binary_data_size":%d}}]}' % (head, len(raw)), raw


def _in_json(each: BinaryTensor) -> Tensor:
    if each.data is None:
        raise DataError(f"input '{each.name}' has no data", hint='"data", or "parameters": {"binary_data_size": ...}')
    return Tensor(each.name, each.shape, each.datatype, each.data)


def unpack_tensor(each: BinaryTensor, raw: memoryview) -> Tensor:
    """One input with its values, which are all of `raw`; raises DataError as `unpack_tensors` does."""
    if any(size < 0 for size in each.shape):
        raise DataError(f"input '{each.name}' has shape {each.shape}: no row", hint="shape [n], n >= 1")
    count = math.prod(each.shape)
    if each.datatype == BYTES:
        return Tensor(each.name, each.shape, BYTES, _texts(each, raw, count))
    code = _NUMBERS.get(each.datatype)
    if code is None:
        raise DataError(f"input '{each.name}' is {each.datatype}, expected one of {', '.join([*_NUMBERS, BYTES])}")
    dtype = np.dtype(code)
    if len(raw) != count * dtype.itemsize:
        raise _wrong_size(each, len(raw), f"{count * dtype.itemsize}")
    values = np.frombuffer(raw, dtype)
    if each.datatype == "BF16":  # the upper half of an FP32
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return Tensor(each.name, each.shape, "FP64", require_finite(each.name, values.astype(np.float64)))


def require_finite(name: str, values: Floats) -> Values:
    """Numbers of a request: NaN is missing, as null is in JSON, which has no infinity either."""
    if np.isinf(values).any():
        raise DataError(f"input '{name}' holds an infinity", hint="send NaN where a value is missing")
    return values  # type: ignore[return-value] # an array is read as the list of its values


def _texts(each: BinaryTensor, raw: memoryview, count: int) -> Values:
    """Texts, each behind its length of four bytes."""
    texts: Values = []
    at = 0
    while at + _LENGTH.size <= len(raw) and len(texts) < count:
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(raw, at)[0]
        try:
            texts.append(str(raw[start:at], "utf-8"))
        except UnicodeDecodeError as error:
            raise DataError(f"input '{each.name}' holds a text that is not UTF-8: {error.reason}") from error
    if at != len(raw) or len(texts) != count:
        raise _wrong_size(each, len(raw), f"{count} texts, each behind its length,")
    return texts


def _wrong_size(each: BinaryTensor, met: int, expected: str) -> DataError:
    return DataError(
        f"input '{each.name}' has {met} bytes, its shape {each.shape} of {each.datatype} asks for {expected}"
    )
