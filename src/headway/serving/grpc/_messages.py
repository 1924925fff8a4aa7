"""The messages of the gRPC services, as classes built from the field numbers that the protocols publish.

This avoids generated code and the protobuf versions that it pins. A separate descriptor pool allows a client in the
same process to have its own messages. Fields that are not listed here are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from headway.core.errors import DataError

_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    name: getattr(_Field, f"TYPE_{name.upper()}")
    for name in ("bool", "bytes", "double", "float", "int32", "int64", "string", "uint32", "uint64")
}

# One message a line: its name, then `number name type` of each field. `*` repeats, `{}` is a map from strings, `|` is one
# of several, `enum` goes over the wire as an int32.
_INFERENCE = """
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
_HEALTH = """
HealthCheckRequest: 1 service string
HealthCheckResponse: 1 status int32
"""


def parse_message(kind: type[Any], content: bytes) -> Any:
    """Parse a message of this class; raises DataError if the bytes are not one."""
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
    if kind in _TYPES:
        field.type = _TYPES[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{package}.{kind}"


def _entry(message: descriptor_pb2.DescriptorProto, package: str, name: str, kind: str) -> str:
    """Add the entry message of a map field, and return its type name."""
    entry = message.nested_type.add(name=f"{name.title()}Entry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL, type=_Field.TYPE_STRING)
    _typed(entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL), package, kind)
    return f"{message.name}.{entry.name}"


INFERENCE = message_classes("inference", _INFERENCE)
HEALTH = message_classes("grpc.health.v1", _HEALTH)
