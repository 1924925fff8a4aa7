"""JSON bodies of requests and responses other than rows; the OpenAPI document is generated from these records."""

from __future__ import annotations

from typing import Any

import msgspec

from headway.core.record import Scalar
from headway.storage.traffic import Label


class ErrorResponse(msgspec.Struct):
    """Body of any error: what happened, where, and a hint."""

    error: str


class ServerMetadata(msgspec.Struct):
    """Name and version of the server, and the protocol extensions that it supports."""

    name: str
    version: str
    extensions: tuple[str, ...]


class ServerLive(msgspec.Struct):
    """Liveness of the server."""

    live: bool


class ServerReady(msgspec.Struct, omit_defaults=True):
    """Readiness of the server; `detail` says which stores are away, if any, and what that means."""

    ready: bool
    detail: str = ""


class ModelReady(msgspec.Struct):
    """Readiness of a model."""

    name: str
    ready: bool


class OutputClasses(msgspec.Struct):
    """Names of a classifier's classes, in the order of its output's columns."""

    classes: tuple[str, ...]


class TensorMetadata(msgspec.Struct, omit_defaults=True):
    """One input or output; a dimension of -1 has any size. `parameters` name the classes of a classifier's output."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: OutputClasses | None = None


class ModelMetadata(msgspec.Struct):
    """Inputs of a model in order, its output, and its release."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
    parameters: dict[str, Scalar]


class OutputTensor(msgspec.Struct):
    """Outputs in row-major order; null for a value that is not finite. Raw bytes behind the JSON replace `data`.

    `parameters` name the class of each column of a multiclass model. A release with an answer plan has the outputs
    `answer`, `confidence`, `answered_by` and `reason` too.
    """

    name: str
    datatype: str
    shape: tuple[int, int]
    data: list[float | str | None]
    parameters: OutputClasses | None = None


class OutsideValue(msgspec.Struct):
    """A value outside the release's contract: row, column, kind (`low`, `high`, `missing` or `unseen`) and range."""

    row: int
    column: str
    kind: str
    value: float | None
    lowest: float | None
    highest: float | None


class OutsideValues(msgspec.Struct):
    """Values outside the release's contract."""

    outside: tuple[OutsideValue, ...]


class InferResponse(msgspec.Struct):
    """Outputs for the rows of a request, with its `id`; `parameters` lists values outside the contract, if any."""

    model_name: str
    model_version: str
    outputs: tuple[OutputTensor, ...]
    id: str = ""
    parameters: OutsideValues | None = None


class ConfigTensor(msgspec.Struct):
    """One input or output of a configuration; `dims` leave out the batch dimension."""

    name: str
    data_type: str
    dims: tuple[int, ...]


class ModelConfig(msgspec.Struct):
    """Configuration of a model in Triton's form."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: tuple[ConfigTensor, ...]
    output: tuple[ConfigTensor, ...]


class StatisticDuration(msgspec.Struct):
    """Number of requests and their total time in nanoseconds."""

    count: int
    ns: int


class InferStatistics(msgspec.Struct):
    """Time of requests by phase; time that is not measured separately counts as queue time."""

    success: StatisticDuration
    fail: StatisticDuration
    queue: StatisticDuration
    compute_input: StatisticDuration
    compute_infer: StatisticDuration
    compute_output: StatisticDuration
    cache_hit: StatisticDuration
    cache_miss: StatisticDuration


class ModelStatistics(msgspec.Struct):
    """Statistics of one model since the server started; `last_inference` in milliseconds since 1970, 0 for never."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: InferStatistics
    batch_stats: tuple[StatisticDuration, ...] = ()


class ModelStatisticsResponse(msgspec.Struct):
    """Statistics of one model or of all."""

    model_stats: tuple[ModelStatistics, ...]


class ModelIndexEntry(msgspec.Struct):
    """A model of the repository: state READY or UNAVAILABLE, and the reason."""

    name: str
    version: str
    state: str
    reason: str = ""


class Predictions(msgspec.Struct):
    """Outputs in MLflow's form: one value a row, or a list a row if the model has several outputs.

    Those of a release with an answer plan are a record a row, by the names of the outputs.
    """

    predictions: list[float | list[float | None] | dict[str, Any] | None]


class AnswerRequest(msgspec.Struct):
    """A message, as `text`, or the values of a row by column, with the key by which a person labels it."""

    text: str | None = None
    row: dict[str, float | str | None] | None = None
    key: str = ""
    id: str = ""


class AnswerResponse(msgspec.Struct):
    """The answer to a message or row: its class, who gave it or does next, and why the model does not.

    `status` is `answered`, `held` (for people, or no stage), `apologised` (as `held`, with a `reply` for the caller) or
    `uncertified` (an answer of the model or the remote stage, which no certificate covers). `confidence` is the
    model's, in its own answer. `remote` says why the remote stage has no answer, if it was asked. `certified_for` is
    the digest of the release that forwards rows to this one, if the certificate is of both together.
    """

    answer: str
    confidence: float
    answered_by: str
    reason: str = ""
    status: str = "answered"
    model_name: str = ""
    model_version: str = ""
    key: str = ""
    reply: str | msgspec.UnsetType = msgspec.UNSET
    remote: str | msgspec.UnsetType = msgspec.UNSET
    certified_for: str | msgspec.UnsetType = msgspec.UNSET
    id: str | msgspec.UnsetType = msgspec.UNSET


class LaterAnswer(msgspec.Struct):
    """The answer to a message that was asked before, by its key.

    `status` is `answered`, `uncertified` (by the remote stage), or `held` while it waits for people. `answered_by` is
    `model`, `remote` or `people`, and `at` the time at which the answer of the last two was stored. `answer` is empty
    if another release gave it.
    """

    key: str
    answer: str = ""
    answered_by: str = ""
    status: str = "answered"
    at: str = ""
    model_name: str = ""


class RowsStored(msgspec.Struct):
    """Number of rows of a device's log that were stored; 0 if the segment was stored before."""

    stored: int


class LabelsStored(msgspec.Struct):
    """Number of labels stored."""

    kept: int


class LabelsRequest(msgspec.Struct):
    """Body of a request with labels."""

    labels: list[Label]


class RefusedRow(msgspec.Struct):
    """A row that was not stored: its number in the request, from 1, and what is wrong."""

    number: int
    reason: str


class FeaturesPushed(msgspec.Struct):
    """Rows that were read of a view; those that were neither stored nor refused were older than the stored ones."""

    view: str
    rows: int
    stored: int
    refused: tuple[RefusedRow, ...]


class IndexRequest(msgspec.Struct):
    """Body of a request for the model index; `ready` leaves out models that are not loaded."""

    ready: bool = False


class LoadRequest(msgspec.Struct):
    """Body of a load or unload request; parameters are ignored, because a release is loaded as it was signed."""

    parameters: dict[str, Any] = {}


ModelIndex = list[ModelIndexEntry]
JsonObject = dict[str, Any]
FeatureRow = dict[str, Scalar | None]
