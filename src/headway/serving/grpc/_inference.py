"""Infer requests of gRPC: read to what a release reads of any request, and answered in the form that they came in."""

from __future__ import annotations

from collections.abc import Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from headway.core.errors import DataError
from headway.serving.batching.validation import Violation
from headway.serving.grpc._messages import INFERENCE
from headway.serving.loading import LoadedModel
from headway.serving.protocol.binary import BinaryTensor, require_finite, unpack_tensor
from headway.serving.protocol.open_inference import InferRequest, OutputParameters, RequestedOutput, RequestParameters
from headway.serving.protocol.tensors import BYTES, Tensor, Values

if TYPE_CHECKING:
    from headway.core.contracts import Floats

# Which member of InferTensorContents holds the values of a datatype.
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


class GrpcInference(msgspec.Struct, eq=False):
    """An infer request on its way through the plane; `done` takes the release and its answers, or the error."""

    request: InferRequest
    rows: Floats
    key: str
    started_ns: int
    deadline_ns: int
    done: SimpleQueue[tuple[LoadedModel, list[float]] | Exception]

    def read_for(self, release: LoadedModel) -> Floats:
        """The rows as another release asks for them; raises DataError where the request does not bring them."""
        return release.reader.take(self.request).rows

    def answer(self, release: LoadedModel, values: list[float], outside: Sequence[Violation] = ()) -> None:
        """Hand the answers of a release to the thread that waits for them; what was outside has no place there."""
        self.done.put((release, values))

    def fail(self, error: Exception) -> None:
        """Hand the reason to the thread that waits."""
        self.done.put(error)


def decode_request(message: Any) -> InferRequest:
    """A ModelInferRequest as a request of any way in; raises DataError that names the input at fault."""
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise DataError(f"raw_input_contents holds {len(raw)} inputs, and inputs {len(message.inputs)}")
    tensors = [_tensor(each, raw[at] if raw else None) for at, each in enumerate(message.inputs)]
    outputs = [RequestedOutput(each.name, _form(each.parameters)) for each in message.outputs]
    key = _parameter(message.parameters, "key", "string_param", "")
    timeout = max(_parameter(message.parameters, "timeout", "int64_param", 0), 0)
    return InferRequest(tensors, message.id, outputs, RequestParameters(key=key, timeout=timeout))


def encode_response(message: Any, release: LoadedModel, values: list[float], n: int) -> Any:
    """The ModelInferResponse to n rows: `values` in row-major order, as raw bytes where the request had those."""
    output: dict[str, Any] = {"name": release.views.asked.output, "datatype": "FP64", "shape": (n, len(values) // n)}
    answer = {"model_name": release.name, "model_version": release.version, "id": message.id, "outputs": [output]}
    if message.raw_input_contents:
        answer["raw_output_contents"] = [np.array(values, dtype="<f8").tobytes()]
    else:
        output["contents"] = {"fp64_contents": values}
    return INFERENCE["ModelInferResponse"](**answer)


def _tensor(each: Any, raw: bytes | None) -> Tensor:
    if "shared_memory_region" in each.parameters:
        raise DataError(f"input '{each.name}' is not taken from shared memory", hint="send its values")
    shape = list(each.shape)
    if raw is None:
        return _typed(each, shape)
    if each.HasField("contents"):
        raise DataError(f"input '{each.name}' has contents and raw_input_contents", hint="send one of them")
    return unpack_tensor(BinaryTensor(each.name, shape, each.datatype), memoryview(raw))


def _typed(each: Any, shape: list[int]) -> Tensor:
    member = _MEMBERS.get(each.datatype)
    if member is None:
        hint = f"one of {', '.join(_MEMBERS)}; FP16 in raw_input_contents"
        raise DataError(f"input '{each.name}' is {each.datatype}, which has no contents", hint=hint)
    values = list(getattr(each.contents, member))
    if each.datatype == BYTES:
        return Tensor(each.name, shape, BYTES, _texts(each.name, values))
    if each.datatype == "BOOL":
        return Tensor(each.name, shape, "FP64", [float(value) for value in values])
    require_finite(each.name, np.array(values, dtype=np.float64))
    return Tensor(each.name, shape, each.datatype, values)


def _texts(name: str, values: list[bytes]) -> Values:
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise DataError(f"input '{name}' holds a text that is not UTF-8: {error.reason}") from error


def _form(parameters: Any) -> OutputParameters:
    return OutputParameters(
        classification=_parameter(parameters, "classification", "int64_param", 0),
        shared_memory_region=_parameter(parameters, "shared_memory_region", "string_param", ""),
    )


def _parameter(parameters: Any, name: str, kind: str, default: Any) -> Any:
    """A parameter's value of this kind; raises DataError where it is of another."""
    if name not in parameters:
        return default
    value = parameters[name]
    if value.WhichOneof("choice") != kind:
        raise DataError(f"parameter '{name}' is no {kind}", where="parameters")
    return getattr(value, kind)
