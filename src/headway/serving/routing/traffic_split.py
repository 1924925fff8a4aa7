"""Route the traffic of a name between its live model and the canary of a rollout: shadow or a share of the keys."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from headway.registry.key_assignment import assign_key
from headway.serving.batching.executor import LIVE, Arm, Batch, BatchExecutor, BatchResult
from headway.serving.loading import LoadedModel
from headway.storage import traffic

LIVE_PAIRED = Arm(role=traffic.LIVE, answered=1, paired=1)
LIVE_SHADOW = Arm(role=traffic.LIVE, answered=0, paired=1)
CANARY = Arm(role=traffic.CANARY, answered=1, paired=1)
CANARY_SHADOW = Arm(role=traffic.CANARY, answered=0, paired=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSplit:
    """Models that answer to a name, replaced in one assignment.

    The canary answers for a `share` of the keys, drawn with `salt`. With a share of 0 it runs in shadow: on the same
    requests, but its answers only go to the log.
    """

    live: LoadedModel
    canary: LoadedModel | None = None
    share: float = 0.0
    salt: str = ""
    stage: int = traffic.ALONE

    @property
    def rereads(self) -> bool:
        """True if the canary reads other request columns than the live model."""
        return self.canary is not None and self.canary.features.request != self.live.features.request

    def at_stage(self, arm: Arm, *, other_ns: int = 0) -> Arm:
        """Return an arm with the stage of this rollout."""
        return replace(arm, stage=self.stage, other_ns=other_ns)


def route_batch(
    executor: BatchExecutor, model: LoadedModel, split: TrafficSplit | None, batch: Batch
) -> Iterator[BatchResult]:
    """Execute a batch that was decoded for a model; the split may have changed since then."""
    if split is None or split.canary is None or split.live is not model:
        return executor.run(model, batch)
    if split.share:
        return _split_by_key(executor, split, split.canary, batch)
    return _shadow(executor, split, split.canary, batch)


def _shadow(executor: BatchExecutor, split: TrafficSplit, canary: LoadedModel, batch: Batch) -> Iterator[BatchResult]:
    """Answer with the live model, then run the canary on the same calls for the log."""
    began = time.perf_counter_ns()
    yield from executor.run(split.live, batch, split.at_stage(LIVE_PAIRED))
    arm = split.at_stage(CANARY_SHADOW, other_ns=time.perf_counter_ns() - began)
    yield from executor.run(canary, batch, arm, reread=split.rereads)


def _split_by_key(
    executor: BatchExecutor, split: TrafficSplit, canary: LoadedModel, batch: Batch
) -> Iterator[BatchResult]:
    """Answer each call with the arm of its key; calls with a key of the canary run on both models."""
    to_canary = [bool(call.key) and assign_key(call.key, split.salt, split.share) for call in batch.calls]
    live_only = [index for index, chosen in enumerate(to_canary) if not chosen]
    paired = [index for index, chosen in enumerate(to_canary) if chosen]
    began = time.perf_counter_ns()
    if live_only:
        yield from executor.run(split.live, batch.select(live_only), split.at_stage(LIVE))
    if paired:
        yield from _run_both(executor, split, canary, batch.select(paired), began)


def _run_both(
    executor: BatchExecutor, split: TrafficSplit, canary: LoadedModel, batch: Batch, began: int
) -> Iterator[BatchResult]:
    """Answer with the canary, and with the live model where the canary fails; log the live model's other answers."""
    indices = {call: index for index, call in enumerate(batch.calls)}
    failed: list[int] = []
    before = time.perf_counter_ns() - began
    for result in executor.run(canary, batch, split.at_stage(CANARY, other_ns=before), reread=split.rereads):
        if result.error is not None:
            result.arm, result.canary_failed = split.at_stage(CANARY_SHADOW, other_ns=before), True
            failed += [indices[call] for call in result.batch.calls]
        yield result
    took = time.perf_counter_ns() - began
    if failed:
        yield from executor.run(split.live, batch.select(failed), split.at_stage(LIVE_PAIRED, other_ns=took))
    rest = sorted(set(indices.values()) - set(failed))
    if rest:
        yield from executor.run(split.live, batch.select(rest), split.at_stage(LIVE_SHADOW, other_ns=took))
