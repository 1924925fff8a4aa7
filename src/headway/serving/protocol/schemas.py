"""What is answered beside rows, as records: they are encoded as they stand, and the OpenAPI document describes them."""

from __future__ import annotations

from typing import Any

import msgspec

from headway.core.record import Scalar


class ErrorResponse(msgspec.Struct):
    """Why there is no answer: what happened, where, and the mend."""

    error: str


class ServerMetadata(msgspec.Struct):
    """The server and the extensions of the protocol that it speaks."""

    name: str
    version: str
    extensions: tuple[str, ...]


class ServerLive(msgspec.Struct):
    """Whether the server runs."""

    live: bool


class ServerReady(msgspec.Struct):
    """Whether the server takes requests."""

    ready: bool


class ModelReady(msgspec.Struct):
    """Whether a model takes requests."""

    name: str
    ready: bool


class TensorMetadata(msgspec.Struct):
    """One input or output; -1 stands for any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class ModelMetadata(msgspec.Struct):
    """A model: its inputs in order, its output, and which release it is."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
    parameters: dict[str, Scalar]


class OutputTensor(msgspec.Struct):
    """Answers in row-major order; null where one is not finite. Raw bytes behind the JSON take the place of `data`."""

    name: str
    datatype: str
    shape: tuple[int, int]
    data: list[float | None]


class OutsideValue(msgspec.Struct):
    """A value outside the release's contract: its place, `low`, `high`, `missing` or `unseen`, and the range."""

    row: int
    column: str
    kind: str
    value: float | None
    lowest: float | None
    highest: float | None


class OutsideValues(msgspec.Struct):
    """What was outside the release's contract."""

    outside: tuple[OutsideValue, ...]


class InferResponse(msgspec.Struct):
    """The answers to the rows of a request, whose `id` is echoed; `parameters` where a value was outside."""

    model_name: str
    model_version: str
    outputs: tuple[OutputTensor, ...]
    id: str = ""
    parameters: OutsideValues | None = None


class ConfigTensor(msgspec.Struct):
    """One input or output of a configuration: its dims without those of the batch."""

    name: str
    data_type: str
    dims: tuple[int, ...]


class ModelConfig(msgspec.Struct):
    """A model's configuration as Triton writes it."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: tuple[ConfigTensor, ...]
    output: tuple[ConfigTensor, ...]


class StatisticDuration(msgspec.Struct):
    """How many requests, and how long they took together."""

    count: int
    ns: int


class InferStatistics(msgspec.Struct):
    """Where the time of requests went; what is not measured apart is counted with the queue."""

    success: StatisticDuration
    fail: StatisticDuration
    queue: StatisticDuration
    compute_input: StatisticDuration
    compute_infer: StatisticDuration
    compute_output: StatisticDuration
    cache_hit: StatisticDuration
    cache_miss: StatisticDuration


class ModelStatistics(msgspec.Struct):
    """What one model answered since the server started; `last_inference` in milliseconds since 1970, 0 for never."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: InferStatistics
    batch_stats: tuple[StatisticDuration, ...] = ()


class ModelStatisticsResponse(msgspec.Struct):
    """The statistics of one model or of all."""

    model_stats: tuple[ModelStatistics, ...]


class ModelIndexEntry(msgspec.Struct):
    """A model of the repository: READY or UNAVAILABLE, and why."""

    name: str
    version: str
    state: str
    reason: str = ""


class Predictions(msgspec.Struct):
    """MLflow's form of answers: one value a row, or a list a row where the model gives several."""

    predictions: list[float | list[float | None] | None]


class LabelsStored(msgspec.Struct):
    """How many labels are on disk now."""

    kept: int


ModelIndex = list[ModelIndexEntry]
JsonObject = dict[str, Any]
