"""What is answered beside rows, as records: they are encoded as they stand, and the OpenAPI document describes them."""

from __future__ import annotations

from typing import Any

import msgspec

from headway.core.record import Scalar


class Failure(msgspec.Struct):
    """Why there is no answer: what happened, where, and the mend."""

    error: str


class Server(msgspec.Struct):
    """The server and the extensions of the protocol that it speaks."""

    name: str
    version: str
    extensions: tuple[str, ...]


class Live(msgspec.Struct):
    """Whether the server runs."""

    live: bool


class Ready(msgspec.Struct):
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


class Model(msgspec.Struct):
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


class Mark(msgspec.Struct):
    """A value outside the release's contract: its place, `low`, `high`, `missing` or `unseen`, and the range."""

    row: int
    column: str
    kind: str
    value: float | None
    lowest: float | None
    highest: float | None


class Marks(msgspec.Struct):
    """What was outside the release's contract."""

    outside: tuple[Mark, ...]


class InferResponse(msgspec.Struct):
    """The answers to the rows of a request, whose `id` is echoed; `parameters` where a value was outside."""

    model_name: str
    model_version: str
    outputs: tuple[OutputTensor, ...]
    id: str = ""
    parameters: Marks | None = None


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


class Duration(msgspec.Struct):
    """How many requests, and how long they took together."""

    count: int
    ns: int


class InferenceStats(msgspec.Struct):
    """Where the time of requests went; what is not measured apart is counted with the queue."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration
    cache_miss: Duration


class ModelStats(msgspec.Struct):
    """What one model answered since the server started; `last_inference` in milliseconds since 1970, 0 for never."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: InferenceStats
    batch_stats: tuple[Duration, ...] = ()


class Statistics(msgspec.Struct):
    """The statistics of one model or of all."""

    model_stats: tuple[ModelStats, ...]


class Indexed(msgspec.Struct):
    """A model of the repository: READY or UNAVAILABLE, and why."""

    name: str
    version: str
    state: str
    reason: str = ""


class Predictions(msgspec.Struct):
    """MLflow's form of answers: one value a row, or a list a row where the model gives several."""

    predictions: list[float | list[float | None] | None]


class Kept(msgspec.Struct):
    """How many labels are on disk now."""

    kept: int


Index = list[Indexed]
Document = dict[str, Any]
