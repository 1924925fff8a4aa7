"""The Open Inference Protocol v2 in JSON: requests decoded straight to rows, answers encoded so that floats come back.

A request has one input per named column (numbers, or texts as BYTES; null is missing), or one matrix [n, d].
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from headway.core.errors import DataError
from headway.core.record import Scalar
from headway.core.variant import Signature
from headway.serve.tensors import TEXT, Tensor, Values, column_of, flat, length_of, narrowed, numbers, ranks_of

if TYPE_CHECKING:
    from headway.core.contracts import Floats

_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_AS_THEY_ARE = ("FP64", TEXT)
_json = msgspec.json.Encoder().encode


class Wanted(msgspec.Struct, gc=False):
    """An output that is asked for."""

    name: str


class Parameters(msgspec.Struct, gc=False):
    """What a caller says beside the rows: the key that they belong to."""

    key: str = ""


class InferRequest(msgspec.Struct, gc=False):
    """The body of an infer request; members that are not known here are passed over."""

    inputs: list[Tensor]
    id: str = ""
    outputs: list[Wanted] = []
    parameters: Parameters | None = None


class Asked(NamedTuple):
    """A request, read: rows float64 [n, d] in C order with missing as NaN, its id and its key, if it has them."""

    rows: Floats
    id: str
    key: str


_decode = msgspec.json.Decoder(InferRequest).decode


class Reader:
    """Reads infer requests for one signature; a column of `passed_over` may be sent as well, and is not read."""

    def __init__(self, signature: Signature, *, passed_over: Collection[str] = ()) -> None:
        self._passed_over = passed_over
        self._names = frozenset(signature.names)
        self._columns = tuple((field.name, ranks_of(field)) for field in signature.inputs)
        self._output = signature.output
        self._text = next((name for name, ranks in self._columns if ranks is not None), None)

    def read(self, body: bytes | bytearray) -> Asked:
        """The rows of a request, its id and its key.

        Raises DataError that names the input at fault.
        """
        try:
            request = _decode(body)
        except _UNREADABLE as error:
            raise _malformed(bytes(body), error) from error
        if request.outputs:
            self._expect_output(request.outputs)
        inputs = request.inputs
        if self._passed_over:
            inputs = [tensor for tensor in inputs if tensor.name not in self._passed_over]
        if len(inputs) == 1 and len(inputs[0].shape) == 2 and inputs[0].name not in self._names:
            rows = self._matrix(inputs[0])
        else:
            rows = self._table(inputs)
        return Asked(rows, request.id, request.parameters.key if request.parameters else "")

    def _expect_output(self, outputs: Iterable[Wanted]) -> None:
        for output in outputs:
            if output.name != self._output:
                raise DataError(f"no output '{output.name}'", where="outputs", mend=f"ask for '{self._output}'")

    def _matrix(self, tensor: Tensor) -> Floats:
        n, d = tensor.shape
        if n < 1 or d != len(self._columns):
            raise DataError(
                f"input '{tensor.name}' has shape {tensor.shape}, expected [n, {len(self._columns)}]",
                where=f"columns: {', '.join(name for name, _ in self._columns)}",
            )
        if self._text is not None:
            raise DataError(
                f"input '{tensor.name}' is a matrix, and column '{self._text}' is text",
                mend="send one input per column",
            )
        values = numbers(flat(tensor, n * d), tensor.name)
        return (values if tensor.datatype == "FP64" else narrowed(values, tensor)).reshape(n, d)

    def _table(self, inputs: Sequence[Tensor]) -> Floats:
        by_name = {tensor.name: tensor for tensor in inputs}
        if by_name.keys() != self._names or len(by_name) != len(inputs):
            raise self._misnamed(inputs)
        n = length_of(inputs[0]) if inputs else 1
        shapes = ([n], [n, 1])
        tensors = [by_name[name] for name, _ in self._columns]
        columns = [column_of(by_name[name], ranks, shapes) for name, ranks in self._columns]
        table = _together(tensors, columns, n)
        for position, tensor in enumerate(tensors):
            if tensor.datatype not in _AS_THEY_ARE:
                table[position] = narrowed(table[position], tensor)
        return np.ascontiguousarray(table.T)

    def _misnamed(self, inputs: Sequence[Tensor]) -> DataError:
        names = [tensor.name for tensor in inputs]
        for name in names:
            if name not in self._names:
                near = difflib.get_close_matches(name, sorted(self._names), 1)
                return DataError(f"unknown column '{name}'", mend=f"nearest: {near[0]}" if near else "")
            if names.count(name) > 1:
                return DataError(f"column '{name}' is there {names.count(name)} times")
        missing = next(name for name, _ in self._columns if name not in names)
        return DataError(f"column '{missing}' is not there", mend="send null where a value is missing")


class Writer:
    """Writes the answers of one release."""

    def __init__(self, *, name: str, version: str, output: str) -> None:
        self._head = b'{"model_name":%b,"model_version":%b' % (_json(name), _json(version))
        self._outputs = b',"outputs":[{"name":%b,"datatype":"FP64","shape":[' % _json(output)

    def write(self, id: str, values: list[float], n: int) -> bytes:
        """The body of an answer to n rows: `values` in row-major order, as the shortest text that reads back the same.

        A value that is not finite has no form in JSON and is null.
        """
        named = b',"id":%b' % _json(id) if id else b""
        return b'%b%b%b%d,%d],"data":%b}]}' % (self._head, named, self._outputs, n, len(values) // n, _json(values))


def describe(signature: Signature, *, name: str, version: str, parameters: Mapping[str, Scalar]) -> bytes:
    """The metadata of a model: its inputs in order, its output, and what else a caller may want to know."""
    inputs = [{"name": field.name, "datatype": field.datatype, "shape": [-1]} for field in signature.inputs]
    output = {"name": signature.output, "datatype": "FP64", "shape": [-1, -1]}
    said = {"name": name, "versions": [version], "platform": "headway", "inputs": inputs, "outputs": [output]}
    return _json({**said, "parameters": parameters})


def _together(tensors: Sequence[Tensor], columns: Sequence[Values], n: int) -> Floats:
    """The columns as numbers, float64 [d, n]; all at once, and one by one only to say which is at fault."""
    try:
        return numbers(list(chain.from_iterable(columns)), "").reshape(len(columns), n)
    except DataError:
        return np.array([numbers(column, tensor.name) for tensor, column in zip(tensors, columns, strict=True)])


def _malformed(body: bytes, error: Exception) -> DataError:
    """Why a body could not be read, with the input at fault where it can be told."""
    place = re.search(r"\(byte (\d+)\)", str(error))
    if place is None:
        return DataError(f"the body is no infer request: {error}", where=_input_at(body, str(error)))
    at = int(place[1])
    names = re.findall(rb'"name"\s*:\s*"([^"]*)"', body[:at])
    return DataError(
        f"the body is not JSON: {error}",
        where=f"input '{names[-1].decode(errors='replace')}'" if names else "",
        mend="send null where a value is missing" if re.search(rb"NaN|Infinity", body[max(at - 9, 0) : at + 9]) else "",
    )


class _Named(msgspec.Struct):
    name: str = ""


class _NamedInputs(msgspec.Struct):
    inputs: list[_Named] = []


def _input_at(body: bytes, says: str) -> str:
    """The name of the input that a message of msgspec (`... at `$.inputs[3].data[0]``) is about."""
    place = re.search(r"\$\.inputs\[(\d+)\]", says)
    if place is None:
        return ""
    try:
        name = msgspec.json.decode(body, type=_NamedInputs).inputs[int(place[1])].name
    except (*_UNREADABLE, IndexError):
        name = ""
    return f"input '{name}'" if name else f"input {place[1]}"
