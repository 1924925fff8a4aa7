"""Response times of a stream of requests at a number of workers, by simulation from measured service times.

A worker answers in order of arrival. Each request goes to one worker at random (connections that stay open are shared
out so). A server of headway answers all that wait at a worker as one
batch, which takes less time than its requests one by one. The formulas for M/M/c and M/G/1 are here to compare with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from headway.core.arrays import Floats, Ints
from headway.core.evidence import Measurement
from headway.core.plan import Demand

REPLICATES, REQUESTS = 48, 8_000
BLOCK = 16
"""Consecutive service times that are drawn together, so that slow requests that follow each other stay together."""
BATCH_REQUESTS = 1024
_WARM = 0.1  # the share of a run that fills the queue, and is not counted
_PAUSES = 2  # at most so many pauses for each request: with fewer requests, they come faster


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServiceModel:
    """Measured times of one location, s: of a worker per request, of pauses of the machine, and of the network.

    `batch_share` maps a number of requests to the time per request in a batch of so many, as a share of that alone.
    """

    times_s: Floats
    delay_s: float = 0.0
    batch_share: Mapping[int, float] = field(default_factory=dict)
    pauses_s: Floats = field(default_factory=lambda: np.empty(0))
    pauses_per_s: float = 0.0
    network_s: Floats = field(default_factory=lambda: np.zeros(1))

    def max_rate_per_s(self, workers: int) -> float:
        """Return the rate above which a queue grows without end."""
        busy = self.pauses_per_s * float(self.pauses_s.mean()) if self.pauses_s.size else 0.0
        mean_s = float(self.times_s.mean()) * min(self.batch_share.values(), default=1.0)
        return max(1 - busy, 0.0) * workers / mean_s


class ResponseTimes(NamedTuple):
    """Predicted response times, ms, the busy share of a worker, and the responses of all replicates, s (B, N)."""

    p50_ms: Measurement
    p99_ms: Measurement
    utilisation: Measurement
    responses_s: Floats


def predict_response(
    service: ServiceModel,
    demand: Demand,
    *,
    rate_per_s: float,
    workers: int,
    replicates: int = REPLICATES,
    requests: int = REQUESTS,
    seed: int = 0,
) -> ResponseTimes:
    """Simulate a stream of requests, and return percentiles of the time until a caller has the answer.

    Parameters
    ----------
    service : ServiceModel
        Measured times. Each replicate draws its own sample of them, in blocks.
    demand : Demand
        Gives the form of the stream: random arrivals, bursts, or gaps of a log. Its rate is not read.
    rate_per_s : float
        Mean rate, requests/s; lower than `service.max_rate_per_s(workers)`.

    Returns
    -------
    ResponseTimes
        A value is the median over the replicates, and its interval holds 95 % of them: it covers the sampling of the
        service times, the arrivals, and the end of a simulation after `requests`.
    """
    random = np.random.default_rng(seed)
    times = _resampled(service.times_s, (replicates, requests), random)
    simulated_per_s = max(rate_per_s, service.pauses_per_s * workers / _PAUSES)
    arrivals = draw_arrivals(demand, simulated_per_s, (replicates, requests), random)
    network = _resampled(service.network_s, (replicates, requests), random)
    queue, busy_s = wait_in_queues(arrivals, times, service, workers=workers, random=random)
    responses = (queue + service.delay_s + network)[:, int(_WARM * requests) :]
    p50, p99 = np.quantile(responses, [0.5, 0.99], axis=1) * 1e3
    busy_s *= rate_per_s / simulated_per_s
    busy = np.minimum(busy_s / (workers * np.maximum(arrivals[:, -1], 1e-12)), 1.0)
    return ResponseTimes(
        over_replicates("plan.p50_ms", p50, requests=requests, unit="ms"),
        over_replicates("plan.p99_ms", p99, requests=requests, unit="ms"),
        over_replicates("plan.utilisation", busy, requests=requests, unit=""),
        responses,
    )


def over_replicates(name: str, values: Floats, *, requests: int, unit: str) -> Measurement:
    """Return the median of simulated values (B,) with the interval that holds 95 % of them."""
    low, value, high = np.quantile(values, [0.025, 0.5, 0.975]).tolist()
    method = f"simulation: {len(values)} replicates of {requests:,} requests, service times resampled"
    return Measurement(name=name, value=value, low=low, high=high, method=method, n_rows=values.size, unit=unit)


def draw_arrivals(demand: Demand, rate_per_s: float, shape: tuple[int, int], random: np.random.Generator) -> Floats:
    """Draw times of arrivals, s, in order, of shape (B, N), for the form of a demand at a mean rate."""
    if demand.gaps_us:
        gaps = np.asarray(demand.gaps_us)
        drawn = _resampled(gaps, shape, random) / max(gaps.mean(), 1e-12)
    else:
        drawn = random.standard_exponential(shape)
    times = np.cumsum(drawn, axis=1) / rate_per_s
    if demand.burst_share < 1:
        seconds = np.floor(times)
        times = seconds + demand.burst_share * (times - seconds)
    return np.asarray(times)


def wait_in_queues(
    arrivals: Floats,
    times: Floats,
    service: ServiceModel,
    *,
    workers: int,
    random: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Return the time of each request in a queue and in service, s (B, N), and the busy time of all workers (B,)."""
    shape = arrivals.shape
    jobs = _with_pauses(arrivals, times, service, workers, random)
    worker = random.integers(workers, size=jobs.arrivals.shape) if workers > 1 else np.zeros_like(jobs.order)
    if service.batch_share:
        responses, busy = _batches(jobs, worker, workers, _share_of(service.batch_share))
    else:
        responses, busy = _without_batches(jobs, worker, workers), jobs.times.sum(axis=1)
    found = np.empty_like(responses)
    np.put_along_axis(found, jobs.order, responses, axis=1)
    return found[:, : shape[1]], busy


class _Jobs(NamedTuple):
    """Requests and pauses of the machine in order of arrival (B, N + pauses); `order` is their index before that."""

    arrivals: Floats
    times: Floats
    order: Ints
    is_pause: Floats


def _with_pauses(
    arrivals: Floats, times: Floats, service: ServiceModel, workers: int, random: np.random.Generator
) -> _Jobs:
    """Add the pauses of the machine: each occupies one worker, as a request would."""
    replicates, requests = arrivals.shape
    count = round(service.pauses_per_s * workers * float(arrivals[:, -1].mean())) if service.pauses_s.size else 0
    if not count:
        order = np.broadcast_to(np.arange(requests), arrivals.shape)
        return _Jobs(arrivals, times, order, np.zeros(arrivals.shape))
    at = random.random((replicates, count)) * arrivals[:, -1:]
    at_all = np.concatenate([arrivals, at], axis=1)
    order = np.argsort(at_all, axis=1, kind="stable")
    lasting = np.concatenate([times, random.choice(service.pauses_s, (replicates, count))], axis=1)
    pauses = np.broadcast_to(np.arange(requests + count) >= requests, at_all.shape).astype(float)
    at, lasting, pauses = (np.take_along_axis(part, order, axis=1) for part in (at_all, lasting, pauses))
    return _Jobs(at, lasting, order, pauses)


def _without_batches(jobs: _Jobs, worker: Ints, workers: int) -> Floats:
    """Return response times where each job waits for one worker."""
    if workers == 1:
        return _waits(jobs.arrivals, jobs.times) + jobs.times
    streams, waits = _streams(worker, workers), np.empty(jobs.times.size)
    waits[streams.order] = _own_queues(jobs, streams)
    return waits.reshape(jobs.times.shape) + jobs.times


def _own_queues(jobs: _Jobs, streams: _Streams) -> Floats:
    """Return waits of jobs that wait for one worker each, in the order of the streams."""
    shape = (len(streams.first), int(streams.position.max()) + 1)
    at = (streams.number, streams.position)
    arrivals, times = np.zeros(shape), np.zeros(shape)
    arrivals[at], times[at] = jobs.arrivals.ravel()[streams.order], jobs.times.ravel()[streams.order]
    return _waits(arrivals, times)[at]


def _waits(arrivals: Floats, times: Floats) -> Floats:
    """Return the waits of jobs (B, N) for one worker: the recursion of Lindley, for all at once.

    The work that waits at an arrival is the sum of all earlier work less the time that has passed, above the smallest
    value that this sum has had.
    """
    steps = np.zeros_like(times)
    np.cumsum(times[:, :-1] - np.diff(arrivals, axis=1), axis=1, out=steps[:, 1:])
    return np.asarray(steps - np.minimum.accumulate(steps, axis=1))


class _Streams(NamedTuple):
    """Jobs (B, N) in the order of the workers that they go to: `number` is a worker of a replicate.

    `order` is the index of a job among all, `position` that among the jobs of its worker, and `first` the index of the
    first job of each worker in this order.
    """

    order: Ints
    number: Ints
    position: Ints
    first: Ints


def _streams(worker: Ints, workers: int) -> _Streams:
    replicates = len(worker)
    number = (np.arange(replicates)[:, None] * workers + worker).ravel()
    if replicates * workers <= np.iinfo(np.uint16).max:
        number = number.astype(np.uint16)  # is sorted faster
    order = np.argsort(number, kind="stable")
    number = number[order].astype(np.int64)
    first = np.searchsorted(number, np.arange(replicates * workers))
    return _Streams(order, number, np.arange(number.size) - first[number], first)


def _share_of(batch_share: Mapping[int, float]) -> Callable[[Floats], Floats]:
    """Return the share of its own time that a request takes in a batch of a size, between the measured sizes."""
    known = sorted({1: 1.0} | dict(batch_share))
    logs = np.log(known)
    shares = np.array([batch_share.get(size, 1.0) for size in known])
    return lambda sizes: np.interp(np.log(np.maximum(sizes, 1.0)), logs, shares)


def _batches(jobs: _Jobs, worker: Ints, workers: int, share: Callable[[Floats], Floats]) -> tuple[Floats, Floats]:
    """Return response times where a worker answers all that wait for it as one batch, and its busy time (B,).

    A worker that would be idle without batches is idle with them, because they take less time. So each busy period
    without batches is followed alone, all at once, one batch of each a step.
    """
    replicates, count = jobs.arrivals.shape
    streams = _streams(worker, workers)
    order = streams.order
    arrivals, pause, times = (part.ravel()[order] for part in (jobs.arrivals, jobs.is_pause, jobs.times))
    first = np.flatnonzero(_own_queues(jobs, streams) <= 0)
    last = np.append(first[1:], len(arrivals))
    sums = [np.concatenate([[0.0], np.cumsum(part)]) for part in (times * (1 - pause), times * pause, 1 - pause)]
    apart = float(jobs.arrivals.max()) + float(jobs.times.sum(axis=1).max()) + 1.0
    keys = arrivals + streams.number * apart
    done, busy = arrivals + times, times.copy()  # as if each were alone
    alive = np.flatnonzero(last - first > 1)
    at, free, of_stream = first[alive], np.zeros(len(alive)), streams.number[first[alive]] * apart
    until = last[alive]
    while at.size:
        start = np.maximum(free, arrivals[at])
        end = np.searchsorted(keys, start + of_stream, side="right")
        end = np.minimum(np.maximum(end, at + 1), np.minimum(until, at + BATCH_REQUESTS))
        own, paused, size = (part[end] - part[at] for part in sums)
        lasting = own * share(size) + paused
        free = start + lasting
        jobs_of = np.repeat(at - np.concatenate([[0], np.cumsum(end - at)[:-1]]), end - at) + np.arange(
            (end - at).sum()
        )
        done[jobs_of], busy[jobs_of] = np.repeat(free, end - at), 0.0
        busy[at] = lasting
        going = end < until
        at, free, of_stream, until = end[going], free[going], of_stream[going], until[going]
    responses = np.empty(len(arrivals))
    responses[order] = done - arrivals
    of_each = np.bincount(streams.number // workers, weights=busy, minlength=replicates)
    return responses.reshape(replicates, count), np.asarray(of_each, dtype=np.float64)


def _resampled(sample: Floats, shape: tuple[int, int], random: np.random.Generator) -> Floats:
    """Draw values of shape (B, N): for each replicate a sample of blocks of the sample, then blocks of that."""
    replicates, count = shape
    if len(sample) == 1:
        return np.broadcast_to(sample, shape)
    length = min(BLOCK, max(len(sample) // 8, 1))
    known = random.integers(len(sample), size=(replicates, -(-len(sample) // length)))
    chosen = random.integers(known.shape[1], size=(replicates, -(-count // length)))
    begins = np.take_along_axis(known, chosen, axis=1)
    index = (begins[:, :, None] + np.arange(length)) % len(sample)
    return np.asarray(sample[index.reshape(replicates, -1)[:, :count]])


def erlang_c(load: float, workers: int) -> float:
    """Return the probability that a request of an M/M/c queue waits, for `load` = rate times mean service time.

    >>> round(erlang_c(0.5, 1), 3), round(erlang_c(1.5, 2), 3)
    (0.5, 0.643)
    """
    blocked = 1.0
    for count in range(1, workers + 1):
        blocked = load * blocked / (count + load * blocked)
    return blocked / (1 - load / workers * (1 - blocked))


def mmc_percentile(share: float, *, rate_per_s: float, mean_s: float, workers: int) -> float:
    """Return a percentile of the response time, s, of an M/M/c queue with one queue for all workers."""
    served, waits = 1 / mean_s, erlang_c(rate_per_s * mean_s, workers)
    drained = workers * served - rate_per_s

    def longer(t: float) -> float:
        if math.isclose(served, drained):
            delayed = (1 + served * t) * math.exp(-served * t)
        else:
            delayed = (drained * math.exp(-served * t) - served * math.exp(-drained * t)) / (drained - served)
        return (1 - waits) * math.exp(-served * t) + waits * delayed

    return _percentile(longer, share)


def mg1_percentile(share: float, *, rate_per_s: float, times_s: Floats) -> float:
    """Return a percentile of the response time, s, of an M/G/1 queue.

    The mean of the wait is exact (Pollaczek and Khinchine); its distribution is taken as exponential.
    """
    load = rate_per_s * float(times_s.mean())
    mean_wait = rate_per_s * float((times_s**2).mean()) / (2 * (1 - load))
    fall = load / mean_wait

    def longer(t: float) -> float:
        rest = t - times_s
        return float(np.where(rest < 0, 1.0, load * np.exp(-fall * np.maximum(rest, 0.0))).mean())

    return _percentile(longer, share)


def _percentile(longer: Callable[[float], float], share: float) -> float:
    """Return the time that a share of responses does not exceed, from the probability of longer ones, by bisection."""
    high = 1e-9
    while longer(high) > 1 - share:
        high *= 2
    low = high / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if longer(middle) > 1 - share else (low, middle)
    return high
