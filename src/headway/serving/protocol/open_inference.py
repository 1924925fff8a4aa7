"""The Open Inference Protocol v2: requests decoded straight to rows, answers encoded so that floats come back.

A request has one input per named column (numbers, or texts as BYTES; null is missing), or one matrix [n, d]. Values
stand in its JSON, or as raw bytes behind it (`binary.py`). Many numbers of a JSON are lifted out of it by C
(`numbers.c`) where that was built, before the rest is decoded; the rows are the same without it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np

from headway.core.errors import DataError
from headway.core.record import Scalar
from headway.core.variant import Signature
from headway.serving.batching.validation import Violation
from headway.serving.protocol.binary import BinaryTensor, pack_output, unpack_tensors
from headway.serving.protocol.schemas import ModelMetadata, OutsideValue, OutsideValues, TensorMetadata
from headway.serving.protocol.tensors import (
    BYTES,
    Tensor,
    Value,
    Values,
    cast_datatype,
    category_codes,
    column_values,
    flatten,
    row_count,
    to_float64,
)

lift: Lift | None = None
with suppress(ImportError):  # no C compiler was at hand
    from headway.serving.protocol._numbers import lift  # type: ignore[import-not-found, no-redef, unused-ignore]

if TYPE_CHECKING:
    from headway.core.contracts import Floats

    Lift = Callable[[bytes | bytearray], tuple[bytes, bytearray, list[int]] | None]

Together = Callable[[Sequence[Tensor], Sequence[Values], int], "Floats"]
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_LONGEST_US = 86_400_000_000
_AS_THEY_ARE = ("FP64", BYTES)
_json = msgspec.json.Encoder().encode


class OutputParameters(msgspec.Struct, gc=False):
    """In which form an output is asked for; two forms are not given."""

    binary_data: bool | None = None
    classification: int = 0
    shared_memory_region: str = ""


class RequestedOutput(msgspec.Struct, gc=False):
    """An output that is asked for."""

    name: str
    parameters: OutputParameters | None = None


class RequestParameters(msgspec.Struct, gc=False):
    """What a caller says beside the rows: the key that they belong to, and whether the answer is to be raw bytes.

    After `timeout` microseconds it no longer waits for its turn; 0 leaves that to the server.
    """

    key: str = ""
    binary_data_output: bool = False
    timeout: Annotated[int, msgspec.Meta(ge=0, le=_LONGEST_US)] = 0


class InferRequest(msgspec.Struct, gc=False):
    """The body of an infer request; members that are not known here are passed over."""

    inputs: list[Tensor]
    id: str = ""
    outputs: list[RequestedOutput] = []
    parameters: RequestParameters | None = None


class BinaryInferRequest(msgspec.Struct, gc=False):
    """The JSON of an infer request that has values as raw bytes behind it."""

    inputs: list[BinaryTensor]
    id: str = ""
    outputs: list[RequestedOutput] = []
    parameters: RequestParameters | None = None


class _Truths(Tensor, gc=False):
    """An input that may hold true and false, as BOOL does in JSON."""

    data: list[bool | Value | list[bool | Value]]


class _TruthsRequest(InferRequest, gc=False):
    inputs: list[_Truths]  # type: ignore[assignment] # as above


class _Lifted(Tensor, gc=False):
    """An input whose values may be lifted: then their place among those that are."""

    data: int | Values  # type: ignore[assignment] # as above


class _LiftedRequest(InferRequest, gc=False):
    inputs: list[_Lifted]  # type: ignore[assignment] # as above


class DecodedRequest(msgspec.Struct, gc=False):
    """A request, read: rows float64 [n, d] in C order with missing as NaN, its id and its key, if it has them.

    `binary` where the answer is to be raw bytes; `timeout_us` is how long it waits, 0 where it does not say.
    """

    rows: Floats
    id: str
    key: str
    binary: bool
    timeout_us: int


_NO_PARAMETERS = RequestParameters()
_decode = msgspec.json.Decoder(InferRequest).decode
_decode_truths = msgspec.json.Decoder(_TruthsRequest).decode
_decode_lifted = msgspec.json.Decoder(_LiftedRequest).decode
_decode_packed = msgspec.json.Decoder(BinaryInferRequest).decode


class RequestReader:
    """Reads infer requests for one signature; a column of `passed_over` may be sent as well, and is not read."""

    def __init__(self, signature: Signature, *, passed_over: Collection[str] = (), lift: Lift | None = lift) -> None:
        self._lift = lift
        self._passed_over = passed_over
        self._order = signature.names
        self._names = frozenset(self._order)
        self._columns = tuple((field.name, category_codes(field)) for field in signature.inputs)
        self._output = signature.output
        self._text = next((name for name, ranks in self._columns if ranks is not None), None)

    def read(self, body: bytes | bytearray, json_bytes: int | None = None) -> DecodedRequest:
        """The rows of a request, its id and its key; `json_bytes` of the body are JSON where not all are.

        Raises DataError that names the input at fault.
        """
        if json_bytes is not None:
            return self.take(_unpack(body, json_bytes))
        request = _lifted(body, self._lift) if self._lift else None
        if request is not None:
            return self.take(request)
        try:
            request = _decode(body)
        except _UNREADABLE as error:
            request = _with_truths(body, error)
        return self.take(request, _together)

    def take(self, request: InferRequest, together: Together | None = None) -> DecodedRequest:
        """The rows of a decoded request, whose values may be arrays; raises DataError as `read` does."""
        parameters = request.parameters or _NO_PARAMETERS
        binary = parameters.binary_data_output
        if request.outputs:
            binary = self._form(request.outputs, binary=binary)
        inputs = request.inputs
        if self._passed_over:
            inputs = [tensor for tensor in inputs if tensor.name not in self._passed_over]
        if len(inputs) == 1 and len(inputs[0].shape) == 2 and inputs[0].name not in self._names:
            rows = self._matrix(inputs[0])
        else:
            rows = self._table(inputs, together or _each)
        return DecodedRequest(rows, request.id, parameters.key, binary, parameters.timeout)

    def table(self, columns: Mapping[str, Sequence[Value]], n: int) -> Floats:
        """The rows, float64 [n, d], of `n` values for each column, under its name and of the type that it has."""
        texts = {name for name, ranks in self._columns if ranks is not None}
        tensors = [
            Tensor(name, [n], BYTES if name in texts else "FP64", list(values))
            for name, values in columns.items()
            if name not in self._passed_over
        ]
        return self._table(tensors, _together)

    def matrix(self, values: Sequence[Value], n: int) -> Floats:
        """The rows, float64 [n, d], of values that come row by row."""
        return self._matrix(Tensor("rows", [n, len(self._columns)], "FP64", list(values)))

    def _form(self, outputs: Iterable[RequestedOutput], *, binary: bool) -> bool:
        """Whether the output is asked for as raw bytes; `binary` where it does not say."""
        for output in outputs:
            if output.name != self._output:
                raise DataError(f"no output '{output.name}'", where="outputs", hint=f"ask for '{self._output}'")
            form = output.parameters or OutputParameters()
            if form.classification or form.shared_memory_region:
                what = "in shared memory" if form.shared_memory_region else "as classes"
                raise DataError(f"output '{output.name}' is not given {what}", where="outputs", hint="leave it out")
            binary = binary if form.binary_data is None else form.binary_data
        return binary

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
                hint="send one input per column",
            )
        values = to_float64(flatten(tensor, n * d), tensor.name, columns=self._order)
        if tensor.datatype != "FP64":
            values = cast_datatype(values, tensor, columns=self._order)
        return values.reshape(n, d)

    def _table(self, inputs: Sequence[Tensor], together: Together) -> Floats:
        by_name = {tensor.name: tensor for tensor in inputs}
        if by_name.keys() != self._names or len(by_name) != len(inputs):
            raise self._misnamed(inputs)
        n = row_count(inputs[0]) if inputs else 1
        shapes = ([n], [n, 1])
        tensors = [by_name[name] for name, _ in self._columns]
        columns = [column_values(by_name[name], ranks, shapes) for name, ranks in self._columns]
        table = together(tensors, columns, n)
        for position, tensor in enumerate(tensors):
            if tensor.datatype not in _AS_THEY_ARE:
                table[position] = cast_datatype(table[position], tensor)
        return np.ascontiguousarray(table.T)

    def _misnamed(self, inputs: Sequence[Tensor]) -> DataError:
        names = [tensor.name for tensor in inputs]
        for name in names:
            if name not in self._names:
                near = difflib.get_close_matches(name, sorted(self._names), 1)
                return DataError(f"unknown column '{name}'", hint=f"nearest: {near[0]}" if near else "")
            if names.count(name) > 1:
                return DataError(f"column '{name}' is there {names.count(name)} times")
        missing = next(name for name, _ in self._columns if name not in names)
        return DataError(f"column '{missing}' is not there", hint="send null where a value is missing")


class ResponseWriter:
    """Writes the answers of one release."""

    def __init__(self, *, name: str, version: str, output: str) -> None:
        self._head = b'{"model_name":%b,"model_version":%b' % (_json(name), _json(version))
        self._outputs = b',"outputs":[{"name":%b,"datatype":"FP64","shape":[' % _json(output)

    def write(self, id: str, values: list[float], n: int, outside: Sequence[Violation] = ()) -> bytes:
        """The body of an answer to n rows: `values` in row-major order, as the shortest text that reads back the same.

        A value that is not finite has no form in JSON and is null. `outside` are values that the contract has not seen.
        """
        named = b',"id":%b' % _json(id) if id else b""
        if outside:
            named += _marked(outside)
        return b'%b%b%b%d,%d],"data":%b}]}' % (self._head, named, self._outputs, n, len(values) // n, _json(values))

    def pack(self, id: str, values: list[float], n: int, outside: Sequence[Violation] = ()) -> tuple[bytes, bytes]:
        """The JSON of an answer to n rows and the raw bytes that stand behind it."""
        named = b',"id":%b' % _json(id) if id else b""
        if outside:
            named += _marked(outside)
        return pack_output(b"%b%b%b%d,%d]," % (self._head, named, self._outputs, n, len(values) // n), values)


def _marked(outside: Sequence[Violation]) -> bytes:
    return b',"parameters":%b' % _json(OutsideValues(tuple(OutsideValue(**breach._asdict()) for breach in outside)))


def describe_model(signature: Signature, *, name: str, version: str, parameters: Mapping[str, Scalar]) -> bytes:
    """The metadata of a model: its inputs in order, its output, and what else a caller may want to know."""
    inputs = tuple(TensorMetadata(field.name, field.datatype, (-1, 1)) for field in signature.inputs)
    output = TensorMetadata(signature.output, "FP64", (-1, -1))
    return _json(ModelMetadata(name, (version,), "headway", inputs, (output,), dict(parameters)))


def _together(tensors: Sequence[Tensor], columns: Sequence[Values], n: int) -> Floats:
    """The columns as numbers, float64 [d, n]; all at once, and one by one only to say which is at fault."""
    try:
        return to_float64(list(chain.from_iterable(columns)), "").reshape(len(columns), n)
    except DataError:
        return _each(tensors, columns, n)


def _each(tensors: Sequence[Tensor], columns: Sequence[Values], n: int) -> Floats:
    """The columns as numbers, float64 [d, n], one by one."""
    each = [to_float64(column, tensor.name) for tensor, column in zip(tensors, columns, strict=True)]
    return np.array(each).reshape(len(columns), n)


def _lifted(body: bytes | bytearray, lift: Lift) -> InferRequest | None:
    """A request of many numbers, decoded without them; None where there are few, or where it cannot be read."""
    found = lift(body)
    if found is None:
        return None
    rest, values, ends = found
    try:
        request = _decode_lifted(rest)
    except _UNREADABLE:  # why not is told of the body as it came
        return None
    every = np.frombuffer(values, np.float64)
    parts = [every[start:end] for start, end in pairwise([0, *ends])]
    for tensor in request.inputs:
        if isinstance(tensor.data, int):
            tensor.data = parts[tensor.data]  # type: ignore[assignment] # it is read as the list of its values
    return request


def _with_truths(body: bytes | bytearray, error: Exception) -> InferRequest:
    """A request that has true and false in inputs of BOOL, and is else one that could be read; raises DataError."""
    try:
        request = _decode_truths(body)
    except _UNREADABLE:
        raise _malformed(bytes(body), error) from error
    for tensor in request.inputs:
        values = list(chain.from_iterable(each if isinstance(each, list) else [each] for each in tensor.data))
        if tensor.datatype != "BOOL" and any(isinstance(value, bool) for value in values):
            raise _malformed(bytes(body), error) from error
        tensor.data = [float(value) if isinstance(value, bool) else value for value in values]
    return request


def _unpack(body: bytes | bytearray, json_bytes: int) -> InferRequest:
    """A request whose JSON is the first bytes of its body; its inputs take their values from the others."""
    if json_bytes > len(body):
        raise DataError(f"the body has {len(body)} bytes, of which {json_bytes} were to be JSON")
    whole = memoryview(body)
    try:
        head = _decode_packed(whole[:json_bytes])
    except _UNREADABLE as error:
        raise _malformed(bytes(whole[:json_bytes]), error) from error
    return InferRequest(unpack_tensors(head.inputs, whole[json_bytes:]), head.id, head.outputs, head.parameters)


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
        hint="send null where a value is missing" if re.search(rb"NaN|Infinity", body[max(at - 9, 0) : at + 9]) else "",
    )


class _Named(msgspec.Struct):
    name: str = ""


class _NamedInputs(msgspec.Struct):
    inputs: list[_Named] = []


def _input_at(body: bytes, message: str) -> str:
    """The name of the input that a message of msgspec (`... at `$.inputs[3].data[0]``) is about."""
    place = re.search(r"\$\.inputs\[(\d+)\]", message)
    if place is None:
        return ""
    try:
        name = msgspec.json.decode(body, type=_NamedInputs).inputs[int(place[1])].name
    except (*_UNREADABLE, IndexError):
        name = ""
    return f"input '{name}'" if name else f"input {place[1]}"
