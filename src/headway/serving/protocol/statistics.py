"""What Triton's configuration and statistics extensions say of a model."""

from __future__ import annotations

import time

from headway.serving.loading import LoadedModel
from headway.serving.protocol.schemas import (
    ConfigTensor,
    InferStatistics,
    ModelConfig,
    ModelStatistics,
    StatisticDuration,
)
from headway.serving.protocol.tensors import BYTES
from headway.serving.telemetry.metrics import ModelCounters


def model_config(release: LoadedModel, *, max_batch_rows: int) -> ModelConfig:
    """A model's configuration: a batch of rows, of which each input brings one value a row."""
    asked = release.views.asked
    return ModelConfig(
        name=release.name,
        platform="headway",
        backend="headway",
        max_batch_size=max_batch_rows,
        input=tuple(
            ConfigTensor(field.name, "TYPE_STRING" if field.datatype == BYTES else f"TYPE_{field.datatype}", (1,))
            for field in asked.inputs
        ),
        output=(ConfigTensor(asked.output, "TYPE_FP64", (-1,)),),
    )


def model_statistics(release: LoadedModel, counts: ModelCounters) -> ModelStatistics:
    """What a model answered, under whichever release, as of now.

    The queue takes what passes until the engine is called, the reading of the body with it. The version is the digits
    of the release's as a number: perf_analyzer ends at any other, and where the counts of the three parts differ.
    """
    n, none = counts.requests, StatisticDuration(0, 0)
    stats = InferStatistics(
        success=StatisticDuration(n, counts.latency_ns),
        fail=StatisticDuration(counts.failed, counts.failed_ns),
        queue=StatisticDuration(n, counts.queue_ns),
        compute_input=StatisticDuration(n, 0),
        compute_infer=StatisticDuration(n, counts.engine_ns),
        compute_output=StatisticDuration(n, counts.output_ns),
        cache_hit=none,
        cache_miss=none,
    )
    return ModelStatistics(
        name=release.name,
        version=str(int(release.version, 16)),
        last_inference=_at_ms(counts.last_ns) if n else 0,
        inference_count=counts.rows,
        execution_count=counts.calls,
        inference_stats=stats,
    )


def _at_ms(ended_ns: int) -> int:
    """A time of `time.perf_counter_ns` as milliseconds since 1970."""
    return (time.time_ns() - (time.perf_counter_ns() - ended_ns)) // 1_000_000
