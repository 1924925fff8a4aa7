"""Who answers a batch at a seat, and what is said for the log alone: live, or live and a canary beside it."""

from __future__ import annotations

import time
from collections.abc import Iterator

from headway.registry.assign import assign
from headway.serving.batching.answering import Answerer, Batch, Said
from headway.serving.batching.seat import ALONE, AT_LIVE, BESIDE, BESIDE_LIVE, OF_CANARY, Seat, Side
from headway.serving.load import Loaded


def said_at(answerer: Answerer, release: Loaded, seat: Seat | None, batch: Batch) -> Iterator[Said]:
    """What is said to a batch that was decoded for a release, which may have lost its seat meanwhile."""
    if seat is None or seat.canary is None or seat.live is not release:
        return _heard(answerer, release, batch, ALONE)
    if seat.share:
        return _dealt(answerer, seat, seat.canary, batch)
    return _shadowed(answerer, seat, seat.canary, batch)


def _heard(answerer: Answerer, release: Loaded, batch: Batch, side: Side) -> Iterator[Said]:
    for outcome in answerer.outcomes(release, batch):
        yield Said(release=release, outcome=outcome, side=side, heard=True)


def _shadowed(answerer: Answerer, seat: Seat, canary: Loaded, batch: Batch) -> Iterator[Said]:
    """Live answers, and then the canary reads and answers the same for the log alone."""
    began = time.perf_counter_ns()
    yield from _heard(answerer, seat.live, batch, seat.side(AT_LIVE))
    side = seat.side(BESIDE, took_ns=time.perf_counter_ns() - began)
    for outcome in answerer.outcomes(canary, batch, anew=seat.reads_anew):
        yield Said(release=canary, outcome=outcome, side=side, heard=False)


def _dealt(answerer: Answerer, seat: Seat, canary: Loaded, batch: Batch) -> Iterator[Said]:
    """Each caller gets the answer of the side that its key is of; calls of the canary's keys go to both."""
    its_own = [bool(call.key) and assign(call.key, seat.salt, seat.share) for call in batch.calls]
    others = [place for place, its in enumerate(its_own) if not its]
    mine = [place for place, its in enumerate(its_own) if its]
    began = time.perf_counter_ns()
    if others:
        yield from _heard(answerer, seat.live, batch.part(others), seat.side(ALONE))
    if mine:
        yield from _both(answerer, seat, canary, batch.part(mine), began)


def _both(answerer: Answerer, seat: Seat, canary: Loaded, batch: Batch, began: int) -> Iterator[Said]:
    """The canary answers; where it fails live does, which answers the same calls for the log as well."""
    places = {call: place for place, call in enumerate(batch.calls)}
    held = []
    before = time.perf_counter_ns() - began
    for outcome in answerer.outcomes(canary, batch, anew=seat.reads_anew):
        failed = outcome.error is not None
        side = seat.side(BESIDE if failed else OF_CANARY, took_ns=before)
        yield Said(release=canary, outcome=outcome, side=side, heard=not failed, canary_failed=failed)
        held += [places[call] for call in outcome.batch.calls if failed]
    took = time.perf_counter_ns() - began
    if held:
        yield from _heard(answerer, seat.live, batch.part(held), seat.side(AT_LIVE, took_ns=took))
    rest = sorted(set(places.values()) - set(held))
    if rest:
        for outcome in answerer.outcomes(seat.live, batch.part(rest)):
            side = seat.side(BESIDE_LIVE, took_ns=took)
            yield Said(release=seat.live, outcome=outcome, side=side, heard=False)
