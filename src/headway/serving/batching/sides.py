"""Who answers a batch at a seat, and what is said for the log alone: live, or live and a canary beside it."""

from __future__ import annotations

import time
from collections.abc import Iterator

from headway.registry.rollout import assign_key
from headway.serving.batching.executor import Batch, BatchExecutor, BatchResult
from headway.serving.loading import LoadedModel
from headway.serving.routing.traffic_split import (
    CANARY,
    CANARY_SHADOW,
    LIVE,
    LIVE_PAIRED,
    LIVE_SHADOW,
    Arm,
    TrafficSplit,
)


def route_batch(
    executor: BatchExecutor, release: LoadedModel, split: TrafficSplit | None, batch: Batch
) -> Iterator[BatchResult]:
    """What is said to a batch that was decoded for a release, which may have lost its seat meanwhile."""
    if split is None or split.canary is None or split.live is not release:
        return _heard(executor, release, batch, LIVE)
    if split.share:
        return _dealt(executor, split, split.canary, batch)
    return _shadowed(executor, split, split.canary, batch)


def _heard(executor: BatchExecutor, release: LoadedModel, batch: Batch, side: Arm) -> Iterator[BatchResult]:
    for outcome in executor.outcomes(release, batch):
        yield BatchResult(release=release, outcome=outcome, side=side, heard=True)


def _shadowed(executor: BatchExecutor, split: TrafficSplit, canary: LoadedModel, batch: Batch) -> Iterator[BatchResult]:
    """Live answers, and then the canary reads and answers the same for the log alone."""
    began = time.perf_counter_ns()
    yield from _heard(executor, split.live, batch, split.side(LIVE_PAIRED))
    side = split.side(CANARY_SHADOW, took_ns=time.perf_counter_ns() - began)
    for outcome in executor.outcomes(canary, batch, anew=split.reads_anew):
        yield BatchResult(release=canary, outcome=outcome, side=side, heard=False)


def _dealt(executor: BatchExecutor, split: TrafficSplit, canary: LoadedModel, batch: Batch) -> Iterator[BatchResult]:
    """Each caller gets the answer of the side that its key is of; calls of the canary's keys go to both."""
    its_own = [bool(call.key) and assign_key(call.key, split.salt, split.share) for call in batch.calls]
    others = [place for place, its in enumerate(its_own) if not its]
    mine = [place for place, its in enumerate(its_own) if its]
    began = time.perf_counter_ns()
    if others:
        yield from _heard(executor, split.live, batch.part(others), split.side(LIVE))
    if mine:
        yield from _both(executor, split, canary, batch.part(mine), began)


def _both(
    executor: BatchExecutor, split: TrafficSplit, canary: LoadedModel, batch: Batch, began: int
) -> Iterator[BatchResult]:
    """The canary answers; where it fails live does, which answers the same calls for the log as well."""
    places = {call: place for place, call in enumerate(batch.calls)}
    held = []
    before = time.perf_counter_ns() - began
    for outcome in executor.outcomes(canary, batch, anew=split.reads_anew):
        failed = outcome.error is not None
        side = split.side(CANARY_SHADOW if failed else CANARY, took_ns=before)
        yield BatchResult(release=canary, outcome=outcome, side=side, heard=not failed, canary_failed=failed)
        held += [places[call] for call in outcome.batch.calls if failed]
    took = time.perf_counter_ns() - began
    if held:
        yield from _heard(executor, split.live, batch.part(held), split.side(LIVE_PAIRED, took_ns=took))
    rest = sorted(set(places.values()) - set(held))
    if rest:
        for outcome in executor.outcomes(split.live, batch.part(rest)):
            side = split.side(LIVE_SHADOW, took_ns=took)
            yield BatchResult(release=split.live, outcome=outcome, side=side, heard=False)
