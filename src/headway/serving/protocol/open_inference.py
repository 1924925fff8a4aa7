"""The Open Inference Protocol v2: infer requests decoded to rows, outputs encoded so that floats read back the same.

A request has one input per named column (numbers, or strings as BYTES; null is missing), or one matrix [n, d]. Values
are in its JSON, or raw bytes behind it (`tensors.py`). If the C extension was built (`numbers.c`), it reads requests of
the common form, and extracts long arrays of numbers from others before the rest is decoded. The rows are the same
without it, and every request that it does not read has its errors from here.
"""

from __future__ import annotations

import difflib
import heapq
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np

from headway.core.errors import DataError
from headway.core.record import Scalar
from headway.core.texts import BeyondExact, entity_codes
from headway.core.variant import Signature
from headway.serving.batching.answers import RowAnswers
from headway.serving.batching.validation import Violation
from headway.serving.protocol.admission import RequestLimits, admit_inference
from headway.serving.protocol.schemas import ModelMetadata, OutputClasses, OutsideValue, OutsideValues, TensorMetadata
from headway.serving.protocol.tensors import (
    BYTES,
    BinaryTensor,
    Tensor,
    Value,
    Values,
    cast_datatype,
    column_values,
    flatten,
    pack_output,
    pack_values,
    refuse_shared_memory,
    row_count,
    string_codes,
    to_exact,
    to_float64,
    unpack_tensors,
    value_count,
)

lift: Lift | None = None
read_common: ReadCommon | None = None
write_numbers: WriteNumbers | None = None
write_top: WriteTop | None = None
with suppress(ImportError):  # the extension was not built: there was no C compiler
    from headway.serving.protocol._numbers import (  # type: ignore[import-not-found, no-redef, unused-ignore]
        lift,
        read_common,
        write_numbers,
        write_top,
    )

if TYPE_CHECKING:
    from headway.core.contracts import Floats

    Lift = Callable[[bytes | bytearray], tuple[bytes, bytearray, list[int]] | None]
    Codes = tuple[Mapping[object, float] | None, ...]
    ReadCommon = Callable[
        [bytes | bytearray, bool, tuple[bytes, ...], dict[str, int], Codes, bytes, int, int],
        tuple[bytearray, str, str, bool, int] | None,
    ]
    WriteNumbers = Callable[[bytes, Floats, bytes], bytes | None]
    WriteTop = Callable[[bytes, Floats, bytes, int, int, tuple[bytes, ...], int], bytes | None]

Stack = Callable[[Sequence[Tensor], Sequence[Values], int], "Floats"]
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_MAX_TIMEOUT_US = 86_400_000_000
_MAX_STARTS = 64
_FLOAT64 = np.dtype(np.float64)
_EXACT_DATATYPES = ("FP64", BYTES)
_COMPARED, _NEAREST = 2_000, 8  # columns of which the nearest to a name is searched, roughly and then exactly
_json = msgspec.json.Encoder().encode


class OutputParameters(msgspec.Struct, gc=False):
    """The form of a requested output: `classification` is a number of classes; shared memory is not supported."""

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


class _JsonRequest(InferRequest, gc=False):
    """An infer request whose parameters are decoded later, because their names have a limit."""

    parameters: msgspec.Raw = msgspec.Raw()  # type: ignore[assignment] # as above


class _BinaryJsonRequest(BinaryInferRequest, gc=False):
    parameters: msgspec.Raw = msgspec.Raw()  # type: ignore[assignment] # as above


class _BoolTensor(Tensor, gc=False):
    """An input that may hold true and false, as BOOL does in JSON."""

    data: list[bool | Value | list[bool | Value]]


class _BoolRequest(_JsonRequest, gc=False):
    inputs: list[_BoolTensor]  # type: ignore[assignment] # as above


class _ExactTensor(BinaryTensor, gc=False):
    """An input whose integers have all of their digits."""

    data: list[Any] | None = None


class _ExactRequest(_BinaryJsonRequest, gc=False):
    inputs: list[_ExactTensor]  # type: ignore[assignment] # as above


class _LiftedTensor(Tensor, gc=False):
    """An input whose values may have been lifted: `data` is then the index of its array."""

    data: int | Values  # type: ignore[assignment] # as above


class _LiftedRequest(_JsonRequest, gc=False):
    inputs: list[_LiftedTensor]  # type: ignore[assignment] # as above


class DecodedRequest(msgspec.Struct, gc=False):
    """A decoded request: rows float64 [n, d] in C order with missing values as NaN, its id and its key, or "".

    `binary` asks for raw bytes in the response; `timeout_us` is 0 if the request has none. `top_k` asks for the classes
    with the largest outputs instead of all outputs, 0 for all.
    """

    rows: Floats
    id: str
    key: str
    binary: bool
    timeout_us: int
    top_k: int = 0


_NO_PARAMETERS, _LIMITS = RequestParameters(), RequestLimits()
_decode = msgspec.json.Decoder(_JsonRequest).decode
_decode_bools = msgspec.json.Decoder(_BoolRequest).decode
_decode_lifted = msgspec.json.Decoder(_LiftedRequest).decode
_decode_exact = msgspec.json.Decoder(_ExactRequest).decode
_decode_binary = msgspec.json.Decoder(_BinaryJsonRequest).decode
_decode_parameters = msgspec.json.Decoder(RequestParameters | None).decode
_decode_names = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode


class RequestReader:
    """Decodes infer requests for one signature; a column in `ignored` may be sent as well, and is not read.

    `outputs` may be requested by name as well as that of the signature. Columns in `texts` hold strings or integers,
    such as entities of feature views, and are read as `entity_codes`. The key of a request stands for the column
    `keyed` if the request does not have it.
    """

    def __init__(
        self,
        signature: Signature,
        *,
        ignored: Collection[str] = (),
        texts: Collection[str] = (),
        keyed: str = "",
        outputs: Collection[str] = (),
        limits: RequestLimits = _LIMITS,
        lift: Lift | None = lift,
        read_common: ReadCommon | None = read_common,
    ) -> None:
        self.limits = limits
        self.max_inputs = max(len(signature.inputs) + len(ignored), 1)
        self._lift = lift
        self._read_common = read_common
        self._ignored = ignored
        self._order = signature.names
        self._names = frozenset(self._order)
        self.texts, self._keyed = frozenset(texts), keyed
        self._columns = tuple(
            (field.name, entity_codes if field.name in self.texts else string_codes(field))
            for field in signature.inputs
        )
        self._output, self._outputs = signature.output, (signature.output, *outputs)
        self._categorical = next((name for name, codes in self._columns if codes is not None), None)
        self._columns_in_c = (
            tuple(name.encode() for name in self._order),
            # Position -2 leaves a request with that name to Python.
            dict.fromkeys(ignored, -2) | {name: index for index, name in enumerate(self._order)},
            tuple(codes for _, codes in self._columns) if self._categorical is not None else (),
            self._output.encode(),
            limits.max_name_bytes,
            limits.max_request_rows,
        )

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
        decoded = self._common(body) if json_bytes is None else None
        if decoded is not None:
            return decoded
        try:
            return self._read(body, json_bytes)
        except BeyondExact:
            return self.decode(self._exact(body, json_bytes))

    def _read(self, body: bytes | bytearray, json_bytes: int | None) -> DecodedRequest:
        if json_bytes is not None:
            return self.decode(self._unpack(_decode_binary, body, json_bytes))
        counts = admit_inference(body, max_inputs=self.max_inputs)
        request = _lifted(body, self._lift) if self._lift else None
        if request is not None:
            return self.decode(request)
        counts.require_values()
        try:
            request = _decode(body)
        except _UNREADABLE as error:
            request = _with_bools(body, error)
        return self.decode(request, _stack_at_once)

    def read_message(self, message: bytes) -> DecodedRequest | None:
        """Decode a ModelInferRequest of the common form, with the id of its response; None if it has another form.

        `binary` is true if its values are raw bytes.
        """
        return self._common(message, is_message=True)

    def _common(self, body: bytes | bytearray, *, is_message: bool = False) -> DecodedRequest | None:
        """Decode a request in C; None if it does not have the common form, or without the extension."""
        if not self._read_common:
            return None
        found = self._read_common(body, is_message, *self._columns_in_c)
        if found is None:
            return None
        values, id, key, is_raw, top_k = found
        width = len(self._order)
        rows = np.ndarray((len(values) // (8 * width), width), _FLOAT64, values)
        return DecodedRequest(rows, id, key, is_raw, 0, top_k)

    def decode(self, request: InferRequest, stack: Stack | None = None) -> DecodedRequest:
        """Convert a parsed request, whose values may be arrays; raises DataError as `read` does."""
        parameters, limits, inputs = request.parameters or _NO_PARAMETERS, self.limits, request.inputs
        if isinstance(parameters, msgspec.Raw):
            parameters = self._parameters(parameters)
        limits.require_name("the id of the request", request.id)
        limits.require_name("the key of the request", parameters.key)
        binary, top_k = parameters.binary_data_output, 0
        if request.outputs:
            binary, top_k = self._wanted_form(request.outputs, binary=binary)
        if len(inputs) > self.max_inputs:
            raise self._wrong_names([tensor.name for tensor in inputs])
        if self._keyed and parameters.key and all(tensor.name != self._keyed for tensor in inputs):
            inputs = [*inputs, _keys(self._keyed, parameters.key, inputs)]
        if self._ignored:
            inputs = [tensor for tensor in inputs if tensor.name not in self._ignored]
        if len(inputs) == 1 and len(inputs[0].shape) == 2 and inputs[0].name not in self._names:
            rows = self._matrix(inputs[0])
        else:
            rows = self._table(inputs, stack or _stack_columns)
        return DecodedRequest(rows, request.id, parameters.key, binary, parameters.timeout, top_k)

    def require_count(self, name: str, shape: Sequence[int]) -> None:
        """Raise DataError if an input has more values, by its shape, than the rows of a request can have."""
        count, limit = value_count(name, shape), self.limits.max_request_rows * max(len(self._order), 1)
        self.limits.require_rows(shape[0] if shape else 0)
        if count > limit:
            raise DataError(f"input '{name}' has {count:,} values, more than {limit:,}", hint="send several requests")

    def require_columns(self, names: Sequence[str]) -> None:
        """Raise DataError if a name is not one of a column."""
        if not all(name in self._names or name in self._ignored for name in names):
            raise self._wrong_names(names)

    def table(self, columns: Mapping[str, Sequence[Value]], n: int) -> Floats:
        """Return the rows, float64 [n, d], of `n` values for each column by name."""
        categorical = {name for name, codes in self._columns if codes is not None}
        tensors = [
            Tensor(name, [n], BYTES if name in categorical else "FP64", list(values))
            for name, values in columns.items()
            if name not in self._ignored
        ]
        return self._table(tensors, _stack_at_once)

    def read_row(self, values: Mapping[str, Value], key: str) -> Floats:
        """Return one row, float64 [1, d], of its values by column; its key stands for the column `keyed` as above."""
        keyed = {self._keyed: key} if self._keyed and self._keyed not in values else {}
        return self.table({name: [value] for name, value in {**values, **keyed}.items()}, 1)

    def matrix(self, values: Sequence[Value], n: int) -> Floats:
        """Return the rows, float64 [n, d], of values in row-major order."""
        return self._matrix(Tensor("rows", [n, len(self._columns)], "FP64", list(values)))

    def _parameters(self, content: msgspec.Raw) -> RequestParameters:
        """Decode the parameters of a request; raises DataError for a name that is too long."""
        try:
            parameters, names = _decode_parameters(content), _decode_names(content)
        except _UNREADABLE as error:
            raise DataError(f"the body is not an infer request: {error}", where="parameters") from error
        for name in names or ():
            self.limits.require_name("the name of a parameter", name)
        return parameters or _NO_PARAMETERS

    def _unpack(
        self, decode: Callable[[memoryview], BinaryInferRequest], body: bytes | bytearray, json_bytes: int
    ) -> InferRequest:
        """Decode a request whose JSON is the first bytes of its body, followed by raw values."""
        if json_bytes > len(body):
            raise DataError(f"the body has {len(body)} bytes, fewer than the {json_bytes} declared as JSON")
        view = memoryview(body)
        admit_inference(view[:json_bytes], max_inputs=self.max_inputs).require_values()
        try:
            head = decode(view[:json_bytes])
        except _UNREADABLE as error:
            raise _malformed(bytes(view[:json_bytes]), error) from error
        for tensor in head.inputs:
            self.require_count(tensor.name, tensor.shape)
        tensors = unpack_tensors(head.inputs, view[json_bytes:], texts=self.texts)
        return InferRequest(tensors, head.id, head.outputs, head.parameters)

    def _exact(self, body: bytes | bytearray, json_bytes: int | None) -> InferRequest:
        """Decode a request with all digits of its integers; raises DataError for the first that does not fit."""

        def decode(content: memoryview) -> BinaryInferRequest:
            request = _decode_exact(content)
            for tensor in request.inputs:
                if tensor.data is not None and tensor.name in self.texts and tensor.datatype != BYTES:
                    _digits_of(tensor)
                elif tensor.data is not None:
                    to_exact(tensor, columns=() if tensor.name in self._names else self._order)
            return request

        return self._unpack(decode, body, len(body) if json_bytes is None else json_bytes)

    def _wanted_form(self, outputs: Sequence[RequestedOutput], *, binary: bool) -> tuple[bool, int]:
        """Return whether raw bytes are requested, `binary` if no output says so, and the number of classes, or 0."""
        top_k = 0
        for output in outputs:
            self.limits.require_name("the name of an output", output.name)
            if output.name not in self._outputs:
                hint = f"request '{self._output}'" if len(self._outputs) == 1 else ", ".join(self._outputs)
                raise DataError(f"no output '{output.name}'", where="outputs", hint=hint)
            parameters = output.parameters or OutputParameters()
            if parameters.shared_memory_region:
                raise DataError(
                    f"output '{output.name}' is not supported in shared memory", where="outputs", hint="omit it"
                )
            if parameters.classification:
                top_k = self._wanted_classes(output.name, parameters.classification)
            binary = binary if parameters.binary_data is None else parameters.binary_data
        return binary, top_k

    def _wanted_classes(self, name: str, n: int) -> int:
        if name != self._output:
            raise DataError(f"output '{name}' has no classes", where="outputs", hint=f"request '{self._output}'")
        if n < 1:
            raise DataError(f"{n} classes are requested", where=f"output '{name}'", hint='"classification": 5')
        return n

    def _matrix(self, tensor: Tensor) -> Floats:
        n, d = tensor.shape
        self.limits.require_name("the name of an input", tensor.name)
        refuse_shared_memory(tensor.name, tensor.parameters)
        if n < 1 or d != len(self._columns):
            raise DataError(
                f"input '{tensor.name}' has shape {tensor.shape}, expected [n, {len(self._columns)}]",
                where=f"columns: {', '.join(name for name, _ in self._columns)}",
            )
        self.limits.require_rows(n)
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
            raise self._wrong_names([tensor.name for tensor in inputs])
        n = row_count(inputs[0]) if inputs else 1
        self.limits.require_rows(n)
        shapes = ([n], [n, 1])
        tensors = [by_name[name] for name, _ in self._columns]
        for tensor in tensors:
            if tensor.parameters is not None:
                refuse_shared_memory(tensor.name, tensor.parameters)
        columns = [column_values(by_name[name], codes, shapes) for name, codes in self._columns]
        table = stack(tensors, columns, n)
        for position, tensor in enumerate(tensors):
            if tensor.datatype not in _EXACT_DATATYPES and tensor.name not in self.texts:
                table[position] = cast_datatype(table[position], tensor)
        return np.ascontiguousarray(table.T)

    def _wrong_names(self, names: Sequence[str]) -> DataError:
        seen = set[str]()
        for name in names:
            if name not in self._names and name not in self._ignored:
                self.limits.require_name("the name of an input", name)
                near = self._nearest(name)
                return DataError(f"unknown column '{name}'", hint=f"nearest: {near}" if near else "")
            if name in seen:
                return DataError(f"column '{name}' occurs {names.count(name)} times")
            seen.add(name)
        missing = next(name for name, _ in self._columns if name not in seen)
        return DataError(f"column '{missing}' is missing", hint="send null where a value is missing")

    def _nearest(self, name: str) -> str:
        """Return the column whose name is most similar, or "".

        Comparing a name with each of many columns would take long, so only those that share most pairs of letters with
        it are compared.
        """
        pairs = set(pairwise(name))
        shared = {column: len(pairs.intersection(pairwise(column))) for column in islice(self._order, _COMPARED)}
        near = difflib.get_close_matches(name, heapq.nlargest(_NEAREST, shared, key=shared.__getitem__), 1)
        return near[0] if near else ""


def _keys(name: str, key: str, inputs: Sequence[Tensor]) -> Tensor:
    """Return a column with the key of the request in each row."""
    n = inputs[0].shape[0] if inputs and inputs[0].shape else 1
    return Tensor(name, [n], BYTES, [key] * max(n, 1))


def _digits_of(tensor: BinaryTensor) -> None:
    """Replace integers that were decoded with all of their digits by strings."""
    values = [value for row in tensor.data or () for value in (row if isinstance(row, list) else [row])]
    tensor.data = [str(value) if isinstance(value, int) and not isinstance(value, bool) else value for value in values]
    tensor.datatype = BYTES


class ResponseWriter:
    """Encodes the outputs of one release; with several columns, their `classes` are in the parameters of the output.

    If a request asks for `top_k` classes, each row has those with the largest outputs, as strings `value:index:class`.
    """

    def __init__(
        self,
        *,
        name: str,
        version: str,
        output: str,
        classes: tuple[str, ...] = (),
        write_numbers: WriteNumbers | None = write_numbers,
        write_top: WriteTop | None = write_top,
    ) -> None:
        self._write_numbers, self._write_top = write_numbers, write_top
        self._head = b'{"model_name":%b,"model_version":%b' % (_json(name), _json(version))
        self._outputs = b',"outputs":[{"name":%b,"datatype":"FP64","shape":[' % _json(output)
        self._outputs_as_classes = b',"outputs":[{"name":%b,"datatype":"BYTES","shape":[' % _json(output)
        self._names = classes
        self._ends = tuple(_json(f":{index}:{name}")[1:] for index, name in enumerate(classes))  # of a class in JSON
        self._longest = max(map(len, self._ends), default=0)
        self._classes = b'"classes":%b' % _json(classes) if classes else b""
        self._parameters = b',"parameters":{%b}' % self._classes if classes else b""
        self._starts: dict[tuple[int, int, int], bytes] = {}

    def write(
        self,
        id: str,
        values: list[float] | Floats,
        n: int,
        violations: Sequence[Violation] = (),
        answers: RowAnswers | None = None,
        top_k: int = 0,
    ) -> bytes:
        """Encode a response to n rows.

        Parameters
        ----------
        id
            Id of the request; "" for none.
        values
            Outputs in row-major order; an array, float64 (m,), is written in C. Each has the fewest digits that read
            back the same, and is null if it is not finite, because JSON has no such number.
        n
            Number of rows.
        violations
            Values outside the contract, to be listed in the parameters.
        answers
            Answers of a release with an answer plan, each of which is a further output.
        """
        top_k = min(top_k, len(values) // n)
        if id or violations:
            named = b',"id":%b' % _json(id) if id else b""
            named += _violation_parameters(violations) if violations else b""
            start = self._start(n, len(values) // n, top_k, named)
        else:
            start = self._starts.get((n, len(values), top_k)) or self._add_start(n, len(values), top_k)
        end = b"}]}"
        if answers is not None:
            more = (_answer_output(name, datatype, n, _json(found)) for name, datatype, found in answers.outputs())
            end = b"},%b]}" % b",".join(more)
        if top_k:
            return self._with_classes(start, values, end, n, top_k)
        return self._with_values(start, values, end)

    def _with_values(self, start: bytes, values: list[float] | Floats, end: bytes) -> bytes:
        if isinstance(values, list):
            return b"%b%b%b" % (start, _json(values), end)
        written = self._write_numbers(start, values, end) if self._write_numbers else None
        return written or self._with_values(start, values.tolist(), end)

    def _with_classes(self, start: bytes, values: list[float] | Floats, end: bytes, n: int, top_k: int) -> bytes:
        written = None
        if self._write_top and not isinstance(values, list):
            written = self._write_top(start, values, end, len(values) // n, top_k, self._ends, self._longest)
        return written or b"%b%b%b" % (start, _json(best_classes(values, n, top_k, self._names)), end)

    def _start(self, n: int, width: int, top_k: int, named: bytes = b"") -> bytes:
        """Return a response up to its values."""
        if top_k:
            return b'%b%b%b%d,%d],"data":' % (self._head, named, self._outputs_as_classes, n, top_k)
        return b'%b%b%b%d,%d]%b,"data":' % (self._head, named, self._outputs, n, width, self._parameters)

    def _add_start(self, n: int, size: int, top_k: int) -> bytes:
        """Cache the start of responses to n rows of that many values; callers send few different numbers of rows."""
        if len(self._starts) == _MAX_STARTS:
            self._starts.clear()
        return self._starts.setdefault((n, size, top_k), self._start(n, size // n, top_k))

    def pack(
        self,
        id: str,
        values: list[float] | Floats,
        n: int,
        violations: Sequence[Violation] = (),
        answers: RowAnswers | None = None,
        top_k: int = 0,
    ) -> tuple[bytes, bytes]:
        """Encode a response to n rows as its JSON and the raw bytes behind it; see `write`."""
        named = b',"id":%b' % _json(id) if id else b""
        if violations:
            named += _violation_parameters(violations)
        if top_k:
            top_k = min(top_k, len(values) // n)
            raw = pack_values(best_classes(values, n, top_k, self._names))
            head = (self._head, named, self._outputs_as_classes, n, top_k, len(raw))
            packed = b'%b%b%b%d,%d],"parameters":{"binary_data_size":%d}}' % head
        else:
            shape, comma = b"%d,%d]" % (n, len(values) // n), b"," if self._classes else b""
            packed, raw = pack_output(
                b'%b%b%b%b,"parameters":{%b%b' % (self._head, named, self._outputs, shape, self._classes, comma), values
            )
        outputs = [packed]
        for name, datatype, found in answers.outputs() if answers else ():
            values_of = pack_values(found)
            outputs.append(_answer_head(name, datatype, n) + b',"parameters":{"binary_data_size":%d}}' % len(values_of))
            raw += values_of
        return b",".join(outputs) + b"]}", raw


def best_classes(values: Sequence[float] | Floats, n: int, top_k: int, names: Sequence[str]) -> list[str]:
    """Return `value:index:class` of the `top_k` largest outputs of each of n rows, the largest first.

    The form is that of Triton's classification extension. Of equal outputs the first comes first, and what is not a
    number comes last.
    """
    table = np.asarray(values, dtype=np.float64).reshape(n, -1)
    order = np.argsort(-np.where(np.isnan(table), -np.inf, table), axis=1, kind="stable")[:, :top_k]
    return [
        f"{_json(value).decode()}:{index}{f':{names[index]}' if names else ''}"
        for indices, found in zip(order.tolist(), np.take_along_axis(table, order, axis=1).tolist(), strict=True)
        for index, value in zip(indices, found, strict=True)
    ]


def _answer_head(name: str, datatype: str, n: int) -> bytes:
    return b'{"name":"%b","datatype":"%b","shape":[%d,1]' % (name.encode(), datatype.encode(), n)


def _answer_output(name: str, datatype: str, n: int, data: bytes) -> bytes:
    return b'%b,"data":%b}' % (_answer_head(name, datatype, n), data)


def _violation_parameters(violations: Sequence[Violation]) -> bytes:
    outside = OutsideValues(tuple(OutsideValue(**violation._asdict()) for violation in violations))
    return b',"parameters":%b' % _json(outside)


def describe_model(
    signature: Signature,
    *,
    name: str,
    version: str,
    parameters: Mapping[str, Scalar],
    n_outputs: int = -1,
    more: Sequence[tuple[str, str]] = (),
) -> bytes:
    """Encode the metadata of a model: inputs in order, the output with its classes, and the release's parameters.

    `more` are the names and datatypes of further outputs, of one value a row.
    """
    inputs = tuple(TensorMetadata(field.name, field.datatype, (-1, 1)) for field in signature.inputs)
    classes = OutputClasses(signature.classes) if signature.classes else None
    output = TensorMetadata(signature.output, "FP64", (-1, n_outputs), classes)
    outputs = (output, *(TensorMetadata(output_name, datatype, (-1, 1)) for output_name, datatype in more))
    return _json(ModelMetadata(name, (version,), "headway", inputs, outputs, dict(parameters)))


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


def _malformed(body: bytes, error: Exception) -> DataError:
    """Explain why a body could not be read, with the input at fault where msgspec's error gives its position."""
    offset = re.search(r"\(byte (\d+)\)", str(error))
    if offset is None:
        index, found = _input_at(body, str(error))
        if isinstance(found.parameters, dict) and "shared_memory_region" in found.parameters:
            return DataError(
                f"input '{found.name}' is in shared memory, which is not supported", hint="send its values"
            )
        where = f"input '{found.name}'" if found.name else f"input {index}" if index >= 0 else ""
        return DataError(f"the body is not an infer request: {error}", where=where)
    at = int(offset[1])
    start = body.rfind(b'"name"', 0, at)
    named = re.compile(rb'"name"\s*:\s*"([^"]*)"').match(body, start, at) if start >= 0 else None
    not_finite = re.search(rb"NaN|Infinity", body[max(at - 9, 0) : at + 9])
    return DataError(
        f"the body is not JSON: {error}",
        where=f"input '{named[1].decode(errors='replace')}'" if named else "",
        hint="send null where a value is missing" if not_finite else "",
    )


class _Named(msgspec.Struct):
    name: str = ""
    parameters: Any = None


class _NamedInputs(msgspec.Struct):
    inputs: list[_Named] = []


def _input_at(body: bytes, message: str) -> tuple[int, _Named]:
    """Return the input that a path in msgspec's error (`... at `$.inputs[3].data[0]``) points to; index -1 for none."""
    path = re.search(r"\$\.inputs\[(\d+)\]", message)
    if path is None:
        return -1, _Named()
    index = int(path[1])
    try:
        return index, msgspec.json.decode(body, type=_NamedInputs).inputs[index]
    except (*_UNREADABLE, IndexError):
        return index, _Named()
