"""The Open Inference Protocol v2: infer requests decoded to rows, outputs encoded so that floats read back the same.

A request has one input per named column (numbers, or strings as BYTES; null is missing), or one matrix [n, d]. Values
are in its JSON, or raw bytes behind it (`tensors.py`). If the C extension was built (`numbers.c`), it extracts long
arrays of numbers from the JSON before the rest is decoded; the rows are the same without it.
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
from headway.serving.protocol.schemas import ModelMetadata, OutputClasses, OutsideValue, OutsideValues, TensorMetadata
from headway.serving.protocol.tensors import (
    BYTES,
    BinaryTensor,
    Tensor,
    Value,
    Values,
    cast_datatype,
    category_codes,
    column_values,
    flatten,
    pack_output,
    row_count,
    to_float64,
    unpack_tensors,
)

lift: Lift | None = None
with suppress(ImportError):  # the extension was not built: there was no C compiler
    from headway.serving.protocol._numbers import lift  # type: ignore[import-not-found, no-redef, unused-ignore]

if TYPE_CHECKING:
    from headway.core.contracts import Floats

    Lift = Callable[[bytes | bytearray], tuple[bytes, bytearray, list[int]] | None]

Stack = Callable[[Sequence[Tensor], Sequence[Values], int], "Floats"]
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_MAX_TIMEOUT_US = 86_400_000_000
_EXACT_DATATYPES = ("FP64", BYTES)
_json = msgspec.json.Encoder().encode


class OutputParameters(msgspec.Struct, gc=False):
    """The form of a requested output; classification and shared memory are not supported."""

    binary_data: bool | None = None
    classification: int = 0
    shared_memory_region: str = ""


class RequestedOutput(msgspec.Struct, gc=False):
    """A requested output."""

    name: str
    parameters: OutputParameters | None = None


class RequestParameters(msgspec.Struct, gc=False):
    """Parameters of a request: the key of its rows, whether to reply with raw bytes, and the timeout in microseconds.

    A timeout of 0 is the default of the server.
    """

    key: str = ""
    binary_data_output: bool = False
    timeout: Annotated[int, msgspec.Meta(ge=0, le=_MAX_TIMEOUT_US)] = 0


class InferRequest(msgspec.Struct, gc=False):
    """Body of an infer request; unknown members are ignored."""

    inputs: list[Tensor]
    id: str = ""
    outputs: list[RequestedOutput] = []
    parameters: RequestParameters | None = None


class BinaryInferRequest(msgspec.Struct, gc=False):
    """JSON of an infer request with raw values behind it."""

    inputs: list[BinaryTensor]
    id: str = ""
    outputs: list[RequestedOutput] = []
    parameters: RequestParameters | None = None


class _BoolTensor(Tensor, gc=False):
    """An input that may hold true and false, as BOOL does in JSON."""

    data: list[bool | Value | list[bool | Value]]


class _BoolRequest(InferRequest, gc=False):
    inputs: list[_BoolTensor]  # type: ignore[assignment] # as above


class _LiftedTensor(Tensor, gc=False):
    """An input whose values may have been lifted: `data` is then the index of its array."""

    data: int | Values  # type: ignore[assignment] # as above


class _LiftedRequest(InferRequest, gc=False):
    inputs: list[_LiftedTensor]  # type: ignore[assignment] # as above


class DecodedRequest(msgspec.Struct, gc=False):
    """A decoded request: rows float64 [n, d] in C order with missing values as NaN, its id and its key, or "".

    `binary` asks for raw bytes in the response; `timeout_us` is 0 if the request has none.
    """

    rows: Floats
    id: str
    key: str
    binary: bool
    timeout_us: int


_NO_PARAMETERS = RequestParameters()
_decode = msgspec.json.Decoder(InferRequest).decode
_decode_bools = msgspec.json.Decoder(_BoolRequest).decode
_decode_lifted = msgspec.json.Decoder(_LiftedRequest).decode
_decode_binary = msgspec.json.Decoder(BinaryInferRequest).decode


class RequestReader:
    """Decodes infer requests for one signature; a column in `ignored` may be sent as well, and is not read."""

    def __init__(self, signature: Signature, *, ignored: Collection[str] = (), lift: Lift | None = lift) -> None:
        self._lift = lift
        self._ignored = ignored
        self._order = signature.names
        self._names = frozenset(self._order)
        self._columns = tuple((field.name, category_codes(field)) for field in signature.inputs)
        self._output = signature.output
        self._categorical = next((name for name, codes in self._columns if codes is not None), None)

    def read(self, body: bytes | bytearray, json_bytes: int | None = None) -> DecodedRequest:
        """Decode the body of a request.

        Parameters
        ----------
        body
            The body.
        json_bytes
            Length of its JSON if raw values follow; None if all of the body is JSON.

        Raises
        ------
        DataError
            If the body cannot be read; the error names the input at fault.
        """
        if json_bytes is not None:
            return self.decode(_unpack(body, json_bytes))
        request = _lifted(body, self._lift) if self._lift else None
        if request is not None:
            return self.decode(request)
        try:
            request = _decode(body)
        except _UNREADABLE as error:
            request = _with_bools(body, error)
        return self.decode(request, _stack_at_once)

    def decode(self, request: InferRequest, stack: Stack | None = None) -> DecodedRequest:
        """Convert a parsed request, whose values may be arrays; raises DataError as `read` does."""
        parameters = request.parameters or _NO_PARAMETERS
        binary = parameters.binary_data_output
        if request.outputs:
            binary = self._wants_binary(request.outputs, binary=binary)
        inputs = request.inputs
        if self._ignored:
            inputs = [tensor for tensor in inputs if tensor.name not in self._ignored]
        if len(inputs) == 1 and len(inputs[0].shape) == 2 and inputs[0].name not in self._names:
            rows = self._matrix(inputs[0])
        else:
            rows = self._table(inputs, stack or _stack_columns)
        return DecodedRequest(rows, request.id, parameters.key, binary, parameters.timeout)

    def table(self, columns: Mapping[str, Sequence[Value]], n: int) -> Floats:
        """Return the rows, float64 [n, d], of `n` values for each column by name."""
        categorical = {name for name, codes in self._columns if codes is not None}
        tensors = [
            Tensor(name, [n], BYTES if name in categorical else "FP64", list(values))
            for name, values in columns.items()
            if name not in self._ignored
        ]
        return self._table(tensors, _stack_at_once)

    def matrix(self, values: Sequence[Value], n: int) -> Floats:
        """Return the rows, float64 [n, d], of values in row-major order."""
        return self._matrix(Tensor("rows", [n, len(self._columns)], "FP64", list(values)))

    def _wants_binary(self, outputs: Iterable[RequestedOutput], *, binary: bool) -> bool:
        """Return whether the output is requested as raw bytes, `binary` if it does not say."""
        for output in outputs:
            if output.name != self._output:
                raise DataError(f"no output '{output.name}'", where="outputs", hint=f"request '{self._output}'")
            parameters = output.parameters or OutputParameters()
            if parameters.classification or parameters.shared_memory_region:
                form = "in shared memory" if parameters.shared_memory_region else "as classes"
                raise DataError(
                    f"output '{output.name}' is not supported {form}", where="outputs", hint="omit the parameter"
                )
            binary = binary if parameters.binary_data is None else parameters.binary_data
        return binary

    def _matrix(self, tensor: Tensor) -> Floats:
        n, d = tensor.shape
        if n < 1 or d != len(self._columns):
            raise DataError(
                f"input '{tensor.name}' has shape {tensor.shape}, expected [n, {len(self._columns)}]",
                where=f"columns: {', '.join(name for name, _ in self._columns)}",
            )
        if self._categorical is not None:
            raise DataError(
                f"input '{tensor.name}' is a matrix, but column '{self._categorical}' holds strings",
                hint="send one input per column",
            )
        values = to_float64(flatten(tensor, n * d), tensor.name, columns=self._order)
        if tensor.datatype != "FP64":
            values = cast_datatype(values, tensor, columns=self._order)
        return values.reshape(n, d)

    def _table(self, inputs: Sequence[Tensor], stack: Stack) -> Floats:
        by_name = {tensor.name: tensor for tensor in inputs}
        if by_name.keys() != self._names or len(by_name) != len(inputs):
            raise self._wrong_names(inputs)
        n = row_count(inputs[0]) if inputs else 1
        shapes = ([n], [n, 1])
        tensors = [by_name[name] for name, _ in self._columns]
        columns = [column_values(by_name[name], codes, shapes) for name, codes in self._columns]
        table = stack(tensors, columns, n)
        for position, tensor in enumerate(tensors):
            if tensor.datatype not in _EXACT_DATATYPES:
                table[position] = cast_datatype(table[position], tensor)
        return np.ascontiguousarray(table.T)

    def _wrong_names(self, inputs: Sequence[Tensor]) -> DataError:
        names = [tensor.name for tensor in inputs]
        for name in names:
            if name not in self._names:
                near = difflib.get_close_matches(name, sorted(self._names), 1)
                return DataError(f"unknown column '{name}'", hint=f"nearest: {near[0]}" if near else "")
            if names.count(name) > 1:
                return DataError(f"column '{name}' occurs {names.count(name)} times")
        missing = next(name for name, _ in self._columns if name not in names)
        return DataError(f"column '{missing}' is missing", hint="send null where a value is missing")


class ResponseWriter:
    """Encodes the outputs of one release; with several columns, their `classes` are in the parameters of the output."""

    def __init__(self, *, name: str, version: str, output: str, classes: tuple[str, ...] = ()) -> None:
        self._head = b'{"model_name":%b,"model_version":%b' % (_json(name), _json(version))
        self._outputs = b',"outputs":[{"name":%b,"datatype":"FP64","shape":[' % _json(output)
        self._classes = b'"classes":%b' % _json(classes) if classes else b""
        self._parameters = b',"parameters":{%b}' % self._classes if classes else b""

    def write(self, id: str, values: list[float], n: int, violations: Sequence[Violation] = ()) -> bytes:
        """Encode a response to n rows.

        Parameters
        ----------
        id
            Id of the request; "" for none.
        values
            Outputs in row-major order. Each is written with the fewest digits that read back the same, and as null if
            it is not finite, because JSON has no such number.
        n
            Number of rows.
        violations
            Values outside the contract, to be listed in the parameters.
        """
        named = b',"id":%b' % _json(id) if id else b""
        if violations:
            named += _violation_parameters(violations)
        shape = b"%d,%d]" % (n, len(values) // n)
        return b'%b%b%b%b%b,"data":%b}]}' % (
            *(self._head, named, self._outputs, shape),
            *(self._parameters, _json(values)),
        )

    def pack(self, id: str, values: list[float], n: int, violations: Sequence[Violation] = ()) -> tuple[bytes, bytes]:
        """Encode a response to n rows as its JSON and the raw bytes behind it; see `write`."""
        named = b',"id":%b' % _json(id) if id else b""
        if violations:
            named += _violation_parameters(violations)
        shape, comma = b"%d,%d]" % (n, len(values) // n), b"," if self._classes else b""
        head = (self._head, named, self._outputs, shape, self._classes, comma)
        return pack_output(b'%b%b%b%b,"parameters":{%b%b' % head, values)


def _violation_parameters(violations: Sequence[Violation]) -> bytes:
    outside = OutsideValues(tuple(OutsideValue(**violation._asdict()) for violation in violations))
    return b',"parameters":%b' % _json(outside)


def describe_model(signature: Signature, *, name: str, version: str, parameters: Mapping[str, Scalar]) -> bytes:
    """Encode the metadata of a model: inputs in order, the output with its classes, and the release's parameters."""
    inputs = tuple(TensorMetadata(field.name, field.datatype, (-1, 1)) for field in signature.inputs)
    classes = OutputClasses(signature.classes) if signature.classes else None
    output = TensorMetadata(signature.output, "FP64", (-1, -1), classes)
    return _json(ModelMetadata(name, (version,), "headway", inputs, (output,), dict(parameters)))


def _stack_at_once(tensors: Sequence[Tensor], columns: Sequence[Values], n: int) -> Floats:
    """Convert all columns at once to float64 [d, n]; one by one only to find the one at fault."""
    try:
        return to_float64(list(chain.from_iterable(columns)), "").reshape(len(columns), n)
    except DataError:
        return _stack_columns(tensors, columns, n)


def _stack_columns(tensors: Sequence[Tensor], columns: Sequence[Values], n: int) -> Floats:
    """Convert the columns one by one to float64 [d, n]."""
    arrays = [to_float64(column, tensor.name) for tensor, column in zip(tensors, columns, strict=True)]
    return np.array(arrays).reshape(len(columns), n)


def _lifted(body: bytes | bytearray, lift: Lift) -> InferRequest | None:
    """Decode a request without its long arrays; None if it has none, or if it cannot be read."""
    found = lift(body)
    if found is None:
        return None
    rest, values, ends = found
    try:
        request = _decode_lifted(rest)
    except _UNREADABLE:  # decoding the original body will say why
        return None
    numbers = np.frombuffer(values, np.float64)
    parts = [numbers[start:end] for start, end in pairwise([0, *ends])]
    for tensor in request.inputs:
        if isinstance(tensor.data, int):
            tensor.data = parts[tensor.data]  # type: ignore[assignment] # it is read as the list of its values
    return request


def _with_bools(body: bytes | bytearray, error: Exception) -> InferRequest:
    """Decode a request that has true and false in BOOL inputs; raises DataError if that was not the reason."""
    try:
        request = _decode_bools(body)
    except _UNREADABLE:
        raise _malformed(bytes(body), error) from error
    for tensor in request.inputs:
        values = list(chain.from_iterable(item if isinstance(item, list) else [item] for item in tensor.data))
        if tensor.datatype != "BOOL" and any(isinstance(value, bool) for value in values):
            raise _malformed(bytes(body), error) from error
        tensor.data = [float(value) if isinstance(value, bool) else value for value in values]
    return request


def _unpack(body: bytes | bytearray, json_bytes: int) -> InferRequest:
    """Decode a request whose JSON is the first bytes of its body, followed by raw values."""
    if json_bytes > len(body):
        raise DataError(f"the body has {len(body)} bytes, fewer than the {json_bytes} declared as JSON")
    view = memoryview(body)
    try:
        head = _decode_binary(view[:json_bytes])
    except _UNREADABLE as error:
        raise _malformed(bytes(view[:json_bytes]), error) from error
    return InferRequest(unpack_tensors(head.inputs, view[json_bytes:]), head.id, head.outputs, head.parameters)


def _malformed(body: bytes, error: Exception) -> DataError:
    """Explain why a body could not be read, with the input at fault where msgspec's error gives its position."""
    offset = re.search(r"\(byte (\d+)\)", str(error))
    if offset is None:
        return DataError(f"the body is not an infer request: {error}", where=_input_name(body, str(error)))
    index = int(offset[1])
    names = re.findall(rb'"name"\s*:\s*"([^"]*)"', body[:index])
    not_finite = re.search(rb"NaN|Infinity", body[max(index - 9, 0) : index + 9])
    return DataError(
        f"the body is not JSON: {error}",
        where=f"input '{names[-1].decode(errors='replace')}'" if names else "",
        hint="send null where a value is missing" if not_finite else "",
    )


class _Named(msgspec.Struct):
    name: str = ""


class _NamedInputs(msgspec.Struct):
    inputs: list[_Named] = []


def _input_name(body: bytes, message: str) -> str:
    """Return the name of the input that a path in msgspec's error (`... at `$.inputs[3].data[0]``) points to."""
    path = re.search(r"\$\.inputs\[(\d+)\]", message)
    if path is None:
        return ""
    try:
        name = msgspec.json.decode(body, type=_NamedInputs).inputs[int(path[1])].name
    except (*_UNREADABLE, IndexError):
        name = ""
    return f"input '{name}'" if name else f"input {path[1]}"
