"""The gRPC server: the Open Inference Protocol's GRPCInferenceService and the standard health service.

Its messages are classes built from the field numbers that the protocols publish. This avoids generated code and the
protobuf versions that it pins. A separate descriptor pool allows a client in the same process to have its own messages.
Fields that are not listed here are ignored.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache, partial
from queue import Empty, SimpleQueue
from threading import TIMEOUT_MAX, Lock
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import msgspec
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

import headway
from headway.core.errors import ConfigError, DataError
from headway.serving.auth.authenticator import Authenticator, Caller, require_access
from headway.serving.batching.answers import RowAnswers
from headway.serving.batching.validation import Violation
from headway.serving.grpc.transport import ServerContext
from headway.serving.http.connection import SMALL_BODY_BYTES
from headway.serving.http.routes import EXTENSIONS
from headway.serving.http.tls import TlsContext
from headway.serving.loading import LoadedModel
from headway.serving.protocol.admission import LARGE_BODY_BYTES, admit_message
from headway.serving.protocol.endpoints import ROUTES_BY_ENDPOINT
from headway.serving.protocol.errors import RequestError, error_message, request_error
from headway.serving.protocol.open_inference import (
    DecodedRequest,
    InferRequest,
    OutputParameters,
    RequestedOutput,
    RequestParameters,
    RequestReader,
    best_classes,
)
from headway.serving.protocol.tensors import (
    BYTES,
    BinaryTensor,
    Tensor,
    Values,
    pack_values,
    require_finite,
    unpack_tensor,
    value_count,
)
from headway.serving.repository import find_model, load_error, model_config, model_statistics

message_target: Callable[[bytes], tuple[str, str] | None] | None = None
with suppress(ImportError):  # the extension was not built
    from headway.serving.protocol._numbers import message_target  # type: ignore[import-not-found, no-redef, unused-ignore]

if TYPE_CHECKING:
    from headway.core.contracts import Floats

_Field = descriptor_pb2.FieldDescriptorProto
_FIELD_TYPES = {
    name: getattr(_Field, f"TYPE_{name.upper()}")
    for name in ("bool", "bytes", "double", "float", "int32", "int64", "string", "uint32", "uint64")
}

# One message a line: its name, then `number name type` of each field. `*` repeats, `{}` is a map from strings, `|` is
# one of several, `enum` goes over the wire as an int32.
_INFERENCE_MESSAGES = """
ServerLiveRequest:
ServerLiveResponse: 1 live bool
ServerReadyRequest:
ServerReadyResponse: 1 ready bool
ModelReadyRequest: 1 name string, 2 version string
ModelReadyResponse: 1 ready bool
ServerMetadataRequest:
ServerMetadataResponse: 1 name string, 2 version string, 3 extensions string*
ModelMetadataRequest: 1 name string, 2 version string
TensorMetadata: 1 name string, 2 datatype string, 3 shape int64*
ModelMetadataResponse: 1 name string, 2 versions string*, 3 platform string, 4 inputs TensorMetadata*, \
5 outputs TensorMetadata*
InferParameter: 1 bool_param bool|, 2 int64_param int64|, 3 string_param string|, 4 double_param double|, \
5 uint64_param uint64|
InferTensorContents: 1 bool_contents bool*, 2 int_contents int32*, 3 int64_contents int64*, 4 uint_contents uint32*, \
5 uint64_contents uint64*, 6 fp32_contents float*, 7 fp64_contents double*, 8 bytes_contents bytes*
InferInputTensor: 1 name string, 2 datatype string, 3 shape int64*, 4 parameters InferParameter{}, \
5 contents InferTensorContents
InferRequestedOutputTensor: 1 name string, 2 parameters InferParameter{}
ModelInferRequest: 1 model_name string, 2 model_version string, 3 id string, 4 parameters InferParameter{}, \
5 inputs InferInputTensor*, 6 outputs InferRequestedOutputTensor*, 7 raw_input_contents bytes*
InferOutputTensor: 1 name string, 2 datatype string, 3 shape int64*, 4 parameters InferParameter{}, \
5 contents InferTensorContents
ModelInferResponse: 1 model_name string, 2 model_version string, 3 id string, 4 parameters InferParameter{}, \
5 outputs InferOutputTensor*, 6 raw_output_contents bytes*
ModelStreamInferResponse: 1 error_message string, 2 infer_response ModelInferResponse
ModelConfigRequest: 1 name string, 2 version string
ModelInput: 1 name string, 2 data_type int32, 4 dims int64*
ModelOutput: 1 name string, 2 data_type int32, 3 dims int64*
ModelConfig: 1 name string, 2 platform string, 4 max_batch_size int32, 5 input ModelInput*, 6 output ModelOutput*, \
17 backend string
ModelConfigResponse: 1 config ModelConfig
ModelStatisticsRequest: 1 name string, 2 version string
StatisticDuration: 1 count uint64, 2 ns uint64
InferStatistics: 1 success StatisticDuration, 2 fail StatisticDuration, 3 queue StatisticDuration, \
4 compute_input StatisticDuration, 5 compute_infer StatisticDuration, 6 compute_output StatisticDuration, \
7 cache_hit StatisticDuration, 8 cache_miss StatisticDuration
InferBatchStatistics: 1 batch_size uint64
ModelStatistics: 1 name string, 2 version string, 3 last_inference uint64, 4 inference_count uint64, \
5 execution_count uint64, 6 inference_stats InferStatistics, 7 batch_stats InferBatchStatistics*
ModelStatisticsResponse: 1 model_stats ModelStatistics*
RepositoryIndexRequest: 1 repository_name string, 2 ready bool
ModelIndex: 1 name string, 2 version string, 3 state string, 4 reason string
RepositoryIndexResponse: 1 models ModelIndex*
RepositoryModelLoadRequest: 1 repository_name string, 2 model_name string
RepositoryModelLoadResponse:
RepositoryModelUnloadRequest: 1 repository_name string, 2 model_name string
RepositoryModelUnloadResponse:
"""
_HEALTH_MESSAGES = """
HealthCheckRequest: 1 service string
HealthCheckResponse: 1 status int32
"""


def parse_message(kind: type[Any], content: bytes) -> Any:
    """Parse a message of this class; raises DataError if the bytes are not one, or too many for one without rows."""
    if len(content) > LARGE_BODY_BYTES and kind is not INFERENCE["ModelInferRequest"]:
        raise DataError(f"a {kind.__name__} of {len(content):,} bytes is too large: {LARGE_BODY_BYTES:,}")
    try:
        return kind.FromString(content)
    except DecodeError as error:
        raise DataError(f"the message is not a {kind.__name__}") from error


def message_classes(package: str, table: str) -> dict[str, type[Any]]:
    """Return the classes of a table's messages, by name."""
    file = descriptor_pb2.FileDescriptorProto(name=f"headway/{package}.proto", package=package, syntax="proto3")
    for name, fields in _lines(table):
        _describe(file.message_type.add(name=name), package, fields)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made = (pool.FindMessageTypeByName(f"{package}.{name}") for name, _ in _lines(table))
    return {descriptor.name: message_factory.GetMessageClass(descriptor) for descriptor in made}


def _lines(table: str) -> Iterator[tuple[str, str]]:
    for line in table.strip().splitlines():
        name, _, fields = line.partition(":")
        yield name, fields.strip()


def _describe(message: descriptor_pb2.DescriptorProto, package: str, fields: str) -> None:
    for field in fields.split(", ") if fields else ():
        number, name, kind = field.split()
        plain = kind.rstrip("*|{}")
        made = message.field.add(name=name, number=int(number), label=_Field.LABEL_OPTIONAL)
        if kind.endswith("{}"):
            plain = _entry(message, package, name, plain)
        if kind.endswith(("*", "{}")):
            made.label = _Field.LABEL_REPEATED
        if kind.endswith("|"):
            made.oneof_index = 0
        _typed(made, package, plain)
    if fields.endswith("|"):
        message.oneof_decl.add(name="choice")


def _typed(field: descriptor_pb2.FieldDescriptorProto, package: str, kind: str) -> None:
    if kind in _FIELD_TYPES:
        field.type = _FIELD_TYPES[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{package}.{kind}"


def _entry(message: descriptor_pb2.DescriptorProto, package: str, name: str, kind: str) -> str:
    """Add the entry message of a map field, and return its type name."""
    entry = message.nested_type.add(name=f"{name.title()}Entry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL, type=_Field.TYPE_STRING)
    _typed(entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL), package, kind)
    return f"{message.name}.{entry.name}"


INFERENCE = message_classes("inference", _INFERENCE_MESSAGES)
HEALTH = message_classes("grpc.health.v1", _HEALTH_MESSAGES)


_SERVICE = "inference.GRPCInferenceService"
_THREADS = 64  # also the maximum number of requests in flight: a thread waits for the data plane
_MAX_CALLS = 1024  # further calls are RESOURCE_EXHAUSTED at once
_HEALTH_SERVICE, _SERVING, _NOT_SERVING = "grpc.health.v1.Health", 1, 2
_DATA_TYPES = {"TYPE_FP64": 12, "TYPE_STRING": 13}
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
# The member of InferTensorContents that holds the values of a datatype.
_MEMBERS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}

_log = logging.getLogger(__name__)

_EXACT = ("INT64", "UINT64")
_WHOLE = ("int_contents", "int64_contents", "uint_contents", "uint64_contents")

_RESPONSE = INFERENCE["ModelInferResponse"]
_RAW_OUTPUT = b"\x32"  # field 6, raw_output_contents, of a length that follows
_MAX_PARTS = 64

Method = Callable[[Any, Any], Any]
T = TypeVar("T")


class GrpcServer:
    """A gRPC server on threads, which submit infer requests to the loop of the data plane and wait.

    Open it after the last fork of its process: gRPC does not survive one.
    """

    def __init__(self, context: ServerContext, host: str, port: int) -> None:
        """Listen; port 0 takes a free one. Raises ConfigError if the address is not available."""
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="grpc")
        options = [
            ("grpc.max_receive_message_length", context.body_bytes),
            ("grpc.max_allowed_incoming_connections", context.max_connections),
            ("grpc.so_reuseport", 1),
        ]
        self._server = grpc.server(self._pool, options=options, maximum_concurrent_rpcs=_MAX_CALLS)
        methods, held = _Methods(context), _HeldMessages(context)
        self._server.add_generic_rpc_handlers(
            [
                _service(_SERVICE, methods.inference, INFERENCE, context, held),
                _service(_HEALTH_SERVICE, methods.health, HEALTH, context, held),
            ]
        )
        address = f"[{host}]" if ":" in host else host
        try:
            bound = self._listen(f"{address}:{port}", context.tls)
        except RuntimeError as error:
            self._pool.shutdown()
            where, hint = "[serve] host, grpc_port", "HEADWAY_SERVE_GRPC_PORT=0 takes a free port"
            raise ConfigError(f"cannot listen on {address}:{port}", where=where, hint=hint) from error
        self.address = f"grpc://{address}:{bound}"
        self._server.start()

    def _listen(self, address: str, tls: TlsContext | None) -> int:
        if tls is None:
            return int(self._server.add_insecure_port(address))
        return int(self._server.add_secure_port(address, _credentials(tls)))

    def close(self, within_s: float) -> None:
        """Accept no more calls, answer what is in flight, and stop; abort what takes longer than `within_s`."""
        self._server.stop(within_s).wait()
        self._pool.shutdown()


class GrpcInference(msgspec.Struct, eq=False):
    """An infer request in the data plane; `done` takes the model and its outputs, or the error."""

    content: bytes
    rows: Floats
    key: str
    started_ns: int
    deadline_ns: int
    done: SimpleQueue[tuple[LoadedModel, list[float], RowAnswers | None] | Exception]
    caller: str = ""
    api_key: str = ""

    def read_for(self, model: LoadedModel) -> Floats:
        """Return the rows as another model reads them; raises DataError if the request lacks a column."""
        decoded = model.reader.read_message(self.content)
        if decoded is not None:
            return decoded.rows
        message = parse_message(INFERENCE["ModelInferRequest"], self.content)
        return model.reader.decode(decode_request(message, model.reader)).rows

    def answer(
        self,
        model: LoadedModel,
        values: list[float] | Floats,
        violations: Sequence[Violation] = (),
        answers: RowAnswers | None = None,
    ) -> None:
        """Pass the outputs to the waiting thread; the response cannot list contract violations."""
        self.done.put((model, values if isinstance(values, list) else values.tolist(), answers))

    def prepare(
        self,
        model: LoadedModel,
        values: Floats,
        violations: Sequence[Violation] = (),
        answers: RowAnswers | None = None,
    ) -> Callable[[], None]:
        """Convert many outputs; the function that is returned passes them to the waiting thread."""
        return partial(self.done.put, (model, values.tolist(), answers))

    def fail(self, error: Exception) -> None:
        """Pass the error to the waiting thread."""
        self.done.put(error)


class _HeldMessages:
    """Bytes of the large messages that are being answered, over all threads; one that does not fit is refused."""

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self._limit = max(context.held_bytes, context.body_bytes)
        self._lock = Lock()
        self._bytes = 0

    def answer(self, method: Method, content: bytes, call: Any) -> Any:
        """Return what a method answers to a message; raises RequestError if a large message does not fit."""
        size = len(content)
        if size <= SMALL_BODY_BYTES:
            return method(content, call)
        with self._lock:
            if self._bytes + size > self._limit:
                reason = f"the messages of open calls have more than {self._limit} bytes"
                self._context.soon(self._context.overload, "max_bodies_mb", reason)
                raise RequestError(503, "the server holds too many large requests", hint="retry later")
            self._bytes += size
        try:
            return method(content, call)
        finally:
            with self._lock:
                self._bytes -= size


class _Methods:
    """The methods of the services: each returns its response or raises RequestError, or DataError for a bad message."""

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self._plane = context.plane
        # By the name of the messages: the endpoint of the HTTP route with the same access rule, and the method.
        self.health: dict[str, tuple[str, Method]] = {"HealthCheck": ("ready", self._check)}
        self.inference: dict[str, tuple[str, Method]] = {
            "ServerLive": ("live", lambda message, call: {"live": True}),
            "ServerReady": ("ready", lambda message, call: {"ready": not context.draining()}),
            "ServerMetadata": ("server", self._server),
            "ModelReady": ("model ready", self._model_ready),
            "ModelMetadata": ("model", self._model),
            "ModelInfer": ("infer", self._infer),
            "ModelConfig": ("config", self._config),
            "ModelStatistics": ("stats", self._stats),
            "RepositoryIndex": ("index", self._index),
            "RepositoryModelLoad": ("load", self._load),
            "RepositoryModelUnload": ("unload", self._unload),
        }

    def _infer(self, message: tuple[bytes, Caller], call: Any) -> bytes:
        started_ns = time.perf_counter_ns()
        content, caller = message
        model, decoded = self._decoded(content, caller)
        left_s = min(call.time_remaining(), TIMEOUT_MAX)
        deadline_ns = self._deadline_ns(started_ns, decoded.timeout_us, left_s)
        key = (caller.name or _peer(call)) if self._plane.congested else ""
        inference = GrpcInference(
            content, decoded.rows, decoded.key, started_ns, deadline_ns, SimpleQueue(), key, api_key=caller.name
        )
        self._context.soon(self._plane.submit, model, inference)
        done = _wait(inference.done, left_s)
        if isinstance(done, Exception):
            raise request_error(done)
        model, values, answers = done
        return encode_response(
            model,
            values,
            len(decoded.rows),
            id=decoded.id,
            raw=decoded.binary,
            answers=answers,
            top_k=decoded.top_k,
        )

    def _decoded(self, content: bytes, caller: Caller) -> tuple[LoadedModel, DecodedRequest]:
        """Return the model that a ModelInferRequest asks for, and its rows; `binary` if its values are raw bytes."""
        target = message_target(content) if message_target else None
        if target is not None:
            require_access(caller, target[0])
            model = find_model(self._plane, *target)
            decoded = model.reader.read_message(content)
            if decoded is not None:
                return model, decoded
        readers = [model.reader for model in list(self._plane.models.values())]
        admit_message(content, max_inputs=max((reader.max_inputs for reader in readers), default=1))
        message = parse_message(INFERENCE["ModelInferRequest"], content)
        require_access(caller, message.model_name)
        model = find_model(self._plane, message.model_name, message.model_version)
        decoded = model.reader.decode(decode_request(message, model.reader))
        decoded.binary = bool(message.raw_input_contents)
        return model, decoded

    def _deadline_ns(self, started_ns: int, timeout_us: int, left_s: float) -> int:
        """Return the earlier of the request's timeout and the caller's deadline; 0 for none."""
        caller_ns = started_ns + int(left_s * 1e9) if left_s < TIMEOUT_MAX else 0
        return min(filter(None, (self._plane.deadline_ns(started_ns, timeout_us), caller_ns)), default=0)

    def _check(self, message: Any, call: Any) -> Any:
        if message.service not in ("", _SERVICE):
            raise RequestError(404, f"no service '{message.service}'", hint=_SERVICE)
        return {"status": _NOT_SERVING if self._context.draining() else _SERVING}

    def _server(self, message: Any, call: Any) -> Any:
        return {"name": "headway", "version": headway.__version__, "extensions": EXTENSIONS}

    def _model_ready(self, message: Any, call: Any) -> Any:
        find_model(self._plane, message.name, message.version)
        return {"ready": True}

    def _model(self, message: Any, call: Any) -> Any:
        metadata = msgspec.json.decode(find_model(self._plane, message.name, message.version).metadata)
        for tensor in (*metadata["inputs"], *metadata["outputs"]):
            tensor.pop("parameters", None)  # the message of a tensor has no field for them
        return {name: value for name, value in metadata.items() if name != "parameters"}

    def _config(self, message: Any, call: Any) -> Any:
        model = find_model(self._plane, message.name, message.version)
        config = msgspec.to_builtins(model_config(model, max_batch_rows=self._plane.max_batch_rows))
        for tensor in (*config["input"], *config["output"]):
            tensor["data_type"] = _DATA_TYPES[tensor["data_type"]]
        return {"config": config}

    def _stats(self, message: Any, call: Any) -> Any:
        plane = self._plane
        model = find_model(plane, message.name, message.version) if message.name else None
        models = [model] if model else list(plane.models.values())
        self._wait_for_loop(call)  # it counts a call directly after answering it
        stats = [model_statistics(model, plane.metrics.total(model.name)) for model in models]
        return {"model_stats": msgspec.to_builtins(stats)}

    def _index(self, message: Any, call: Any) -> Any:
        return {"models": msgspec.to_builtins(self._context.repository.index(ready=message.ready))}

    def _load(self, message: Any, call: Any) -> Any:
        return self._request(message.model_name, call, load=True)

    def _unload(self, message: Any, call: Any) -> Any:
        return self._request(message.model_name, call, load=False)

    def _request(self, name: str, call: Any, *, load: bool) -> Any:
        error = self._context.repository.request(name, load=load).exception()
        if error is not None:
            raise load_error(error)
        self._wait_for_loop(call)  # it changes what the data plane serves
        return {}

    def _wait_for_loop(self, call: Any) -> None:
        """Wait until the loop has done what it was asked to do so far."""
        done = SimpleQueue[None]()
        self._context.soon(done.put, None)
        _wait(done, min(call.time_remaining(), TIMEOUT_MAX))


def decode_request(message: Any, reader: RequestReader) -> InferRequest:
    """Convert a ModelInferRequest to the form of all transports, within the limits of the reader of its model.

    Raises DataError that names the input at fault.
    """
    for name in message.parameters:
        reader.limits.require_name("the name of a parameter", name)
    for tensor in message.inputs:
        reader.require_count(tensor.name, tensor.shape)
        reader.limits.require_name("the name of an input", tensor.name)
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise DataError(f"raw_input_contents holds {len(raw)} inputs, and inputs {len(message.inputs)}")
    tensors = [
        _tensor(tensor, raw[index] if raw else None, as_text=tensor.name in reader.texts)
        for index, tensor in enumerate(message.inputs)
    ]
    outputs = [RequestedOutput(output.name, _output_parameters(output.parameters)) for output in message.outputs]
    key = _parameter(message.parameters, "key", "string_param", "")
    timeout = max(_parameter(message.parameters, "timeout", "int64_param", 0), 0)
    return InferRequest(tensors, message.id, outputs, RequestParameters(key=key, timeout=timeout))


def encode_response(
    model: LoadedModel,
    values: list[float],
    n: int,
    *,
    id: str,
    raw: bool,
    answers: RowAnswers | None = None,
    top_k: int = 0,
) -> bytes:
    """Encode the ModelInferResponse to n rows: `values` in row-major order, as raw bytes or as contents.

    With `top_k` each row has that many classes in place of its values, as `best_classes` writes them.

    A message may be encoded in parts, and those that do not change between responses are cached.
    """
    head = _encoded_head(model.name, model.version)
    named = _RESPONSE(id=id).SerializeToString() if id else b""
    output, shape = model.features.request.output, (n, len(values) // n)
    top = best_classes(values, n, min(top_k, shape[1]), model.classes) if top_k else None
    if not raw:
        described = _describe_output(output, model.classes, shape) | {"contents": {"fp64_contents": values}}
        if top is not None:
            described = _describe_classes(output, n, top) | {"contents": _contents("BYTES", top)}
        more = [
            {"name": name, "datatype": datatype, "shape": (n, 1), "contents": _contents(datatype, found)}
            for name, datatype, found in (answers.outputs() if answers else ())
        ]
        return b"".join((head, named, _RESPONSE(outputs=[described, *more]).SerializeToString()))
    content = np.array(values, dtype="<f8").tobytes() if top is None else pack_values(top)
    encoded = (
        _encoded_output(output, model.classes, shape)
        if top is None
        else _RESPONSE(outputs=[_describe_classes(output, n, top)]).SerializeToString()
    )
    parts = [head, named, encoded, _RAW_OUTPUT, _varint(len(content)), content]
    for name, datatype, found in answers.outputs() if answers else ():
        described, content = {"name": name, "datatype": datatype, "shape": (n, 1)}, pack_values(found)
        parts += [_RESPONSE(outputs=[described]).SerializeToString(), _RAW_OUTPUT, _varint(len(content)), content]
    return b"".join(parts)


def _contents(datatype: str, values: list[str] | list[float]) -> dict[str, Any]:
    return {_MEMBERS[datatype]: [value.encode() if isinstance(value, str) else value for value in values]}


def _describe_output(name: str, classes: tuple[str, ...], shape: tuple[int, int]) -> dict[str, Any]:
    output: dict[str, Any] = {"name": name, "datatype": "FP64", "shape": shape}
    if classes:
        output["parameters"] = {"classes": {"string_param": msgspec.json.encode(classes).decode()}}
    return output


def _describe_classes(name: str, n: int, top: Sequence[str]) -> dict[str, Any]:
    return {"name": name, "datatype": "BYTES", "shape": (n, len(top) // n)}


@lru_cache(maxsize=_MAX_PARTS)
def _encoded_head(name: str, version: str) -> bytes:
    return bytes(_RESPONSE(model_name=name, model_version=version).SerializeToString())


@lru_cache(maxsize=_MAX_PARTS)
def _encoded_output(name: str, classes: tuple[str, ...], shape: tuple[int, int]) -> bytes:
    return bytes(_RESPONSE(outputs=[_describe_output(name, classes, shape)]).SerializeToString())


def _varint(number: int) -> bytes:
    """Encode a length as protobuf does: seven bits a byte, the lowest first."""
    content = bytearray()
    while number > 0x7F:
        content.append(number & 0x7F | 0x80)
        number >>= 7
    content.append(number)
    return bytes(content)


def _tensor(tensor: Any, raw: bytes | None, *, as_text: bool) -> Tensor:
    if "shared_memory_region" in tensor.parameters:
        raise DataError(f"input '{tensor.name}' is in shared memory, which is not supported", hint="send its values")
    value_count(tensor.name, tensor.shape)
    shape = list(tensor.shape)
    if raw is None:
        return _typed_tensor(tensor, shape, as_text=as_text)
    if tensor.HasField("contents"):
        raise DataError(f"input '{tensor.name}' has contents and raw_input_contents", hint="send one of them")
    return unpack_tensor(BinaryTensor(tensor.name, shape, tensor.datatype), memoryview(raw), as_text=as_text)


def _typed_tensor(tensor: Any, shape: list[int], *, as_text: bool) -> Tensor:
    member = _MEMBERS.get(tensor.datatype)
    if member is None:
        hint = f"one of {', '.join(_MEMBERS)}; FP16 in raw_input_contents"
        raise DataError(f"input '{tensor.name}' is {tensor.datatype}, which has no contents", hint=hint)
    contents, count = getattr(tensor.contents, member), value_count(tensor.name, shape)
    if len(contents) != count:
        raise DataError(f"input '{tensor.name}' has {len(contents)} values, its shape {shape} needs {count}")
    values = list(contents)
    if tensor.datatype == BYTES:
        return Tensor(tensor.name, shape, BYTES, _strings(tensor.name, values))
    if as_text and member in _WHOLE:
        return Tensor(tensor.name, shape, BYTES, [str(value) for value in values])
    if tensor.datatype == "BOOL":
        return Tensor(tensor.name, shape, "FP64", [float(value) for value in values])
    require_finite(tensor.name, np.array(values, dtype=np.float64))
    # A number of 64 bits is in the range of its type, whatever its double is.
    return Tensor(tensor.name, shape, "FP64" if tensor.datatype in _EXACT else tensor.datatype, values)


def _strings(name: str, values: list[bytes]) -> Values:
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise DataError(f"input '{name}' holds a string that is not UTF-8: {error.reason}") from error


def _output_parameters(parameters: Any) -> OutputParameters:
    return OutputParameters(
        classification=_parameter(parameters, "classification", "int64_param", 0),
        shared_memory_region=_parameter(parameters, "shared_memory_region", "string_param", ""),
    )


def _parameter(parameters: Any, name: str, kind: str, default: Any) -> Any:
    """Return the value of a parameter; raises DataError if it is not of this kind."""
    if name not in parameters:
        return default
    value = parameters[name]
    if value.WhichOneof("choice") != kind:
        raise DataError(f"parameter '{name}' is not {kind}", where="parameters")
    return getattr(value, kind)


def _peer(call: Any) -> str:
    """Return the address of a client, without its port."""
    return str(call.peer()).rpartition(":")[0]


def _wait(queue: SimpleQueue[T], left_s: float) -> T:
    """Return the result of another thread; raises RequestError if it is not there by the caller's deadline."""
    try:
        return queue.get(timeout=left_s)
    except Empty:
        raise RequestError(504, "there was no answer by the caller's deadline") from None


def _credentials(tls: TlsContext) -> Any:
    """Return credentials that use the current certificate for each connection, and require one of clients if set."""

    def current() -> Any:
        key, certificate, client_ca = tls.pem
        return grpc.ssl_server_certificate_configuration([(key, certificate)], client_ca)

    return grpc.dynamic_ssl_server_credentials(current(), current, require_client_authentication=tls.pem[2] is not None)


def _service(
    name: str,
    methods: dict[str, tuple[str, Method]],
    messages: dict[str, type[Any]],
    context: ServerContext,
    held: _HeldMessages,
) -> Any:
    """Return the handlers of a service, each authorized like the HTTP route of its endpoint."""
    handlers = {}
    for method, (endpoint, answer) in methods.items():
        request, response = messages[f"{method}Request"], messages[f"{method}Response"]
        scope = ROUTES_BY_ENDPOINT[endpoint].scope
        # An infer request is parsed by its method: the common form takes less than the library needs.
        parse = bytes if endpoint == "infer" else partial(parse_message, request)
        handler = _reply(_authorized(answer, parse, scope, context.authenticator), response, context, held)
        handlers[method.removeprefix("Health")] = grpc.unary_unary_rpc_method_handler(handler)
    return grpc.method_handlers_generic_handler(name, handlers)


def _authorized(answer: Method, parse: Callable[[bytes], Any], scope: str, authenticator: Authenticator) -> Method:
    """Require a key with the scope, in the metadata `authorization`, before a message is parsed.

    The key must be for the model of the message; of several models, the response has those that it is for. An infer
    request, which is still bytes, is passed on with its caller.
    """

    def handler(content: bytes, call: Any) -> Any:
        if not scope:
            return answer(parse(content), call)
        header = dict(call.invocation_metadata()).get("authorization", "")
        caller = authenticator.authorize(header.encode(), scope)
        message = parse(content)
        if isinstance(message, bytes):
            return answer((message, caller), call)
        model = getattr(message, "model_name", "") or getattr(message, "name", "")
        require_access(caller, model)
        result = answer(message, call)
        if model or not caller.models:
            return result
        return {field: [model for model in models if caller.may_use(model["name"])] for field, models in result.items()}

    return handler


def _reply(
    answer: Method, response: type[Any], context: ServerContext, held: _HeldMessages
) -> Callable[[bytes, Any], bytes]:
    """Serialize the response of a method; an error ends the call with its code and message."""

    def handler(content: bytes, call: Any) -> bytes:
        try:
            result = held.answer(answer, content, call)
        except DataError as error:
            failure = RequestError(400, error_message(error))
        except RequestError as error:
            failure = error
        except Exception:  # noqa: BLE001 - a defect of the server: its message is for the log, not for the caller
            _log.exception("no answer to a call")
            failure = RequestError(500, "internal server error; see the log of the server")
        else:
            return result if isinstance(result, bytes) else bytes(response(**result).SerializeToString())
        context.soon(context.plane.metrics.fail, failure.status)
        return bytes(call.abort(_CODES[failure.status], error_message(failure)))  # raises

    return handler
