"""Paired benchmarks: models are timed on the same rows in alternating rounds, and rounds are the groups of intervals.

Times are wall-clock times; `measure_cpu_time` counts the CPU time of all threads of this process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter_ns, process_time_ns
from typing import Protocol, TypeVar

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Floats
from headway.core.evidence import Measurement
from headway.evaluation.statistics.intervals import (
    LEVEL,
    UNBOUNDED,
    Estimate,
    Sample,
    jackknife_error,
    student_quantile,
    t_interval,
)

BATCH_ROWS = 256
ROUND_NS = 3_000_000
_LONGEST = 10
_POOL = 509
_WARM_UP = 3
_MOST_CALLS = 200
_BEHIND_P99 = 662
_OF_TAILS = "99th percentile of the calls of all rounds, leave-one-round-out jackknife, t"
_FEW_ROWS, _LONG_NS, _SHORT_NS = 16, 1_000_000_000, 250_000_000
_MIN_ROUNDS, _CALLS_OF_LIMIT = 4, 16
T = TypeVar("T")


class Predictor(Protocol):
    """An engine, or anything with its `predict`, that can be timed."""

    def predict(self, rows: Floats) -> Floats:
        """Return answers of shape (n, k) for rows of shape (n, d), both float64."""
        ...


def time_model(
    model: Predictor,
    rows: Floats,
    *,
    reference: Predictor | None = None,
    rounds: int,
    round_ns: int = ROUND_NS,
    limit_s: float = math.inf,
) -> list[Measurement]:
    """Time a model on single rows and batches, in rounds that alternate with a reference.

    Parameters
    ----------
    model : Predictor
        The model to time.
    rows : ndarray of shape (n, d)
        At least one row.
    reference : Predictor, optional
        The model to compare with.
    rounds : int
        Number of rounds; an interval needs 20.
    round_ns : int
        Time to fill with calls in each round, ns. The figure of a round is the median of its calls.
    limit_s : float
        Longest time for all rounds, s. A slow model has fewer rounds, at least four, so its intervals are wider, and
        fewer rows in a batch whose call would take more than a sixteenth of that time.

    Returns
    -------
    list of Measurement
        `latency.one_row` (us) and `throughput.batch` (rows/s), each followed by its `.speedup` over the reference. A
        batch has 256 rows, or fewer for a model that takes more than a second for them.
    """
    engines = (model,) if reference is None else (model, reference)
    limit_ns = limit_s * 1e9
    one = _run_rounds(engines, _singles(rows), rounds, round_ns, limit_ns=limit_ns / 2)
    count = _batch_rows(engines[-1], rows, limit_ns / _CALLS_OF_LIMIT)
    batch = _run_rounds(engines, _batches(rows, count), rounds, round_ns, limit_ns=limit_ns / 2)
    return [*_one_row_measurements(one), *_batch_measurements(batch, count)]


def measure_savings(model: Predictor, without: Predictor, rows: Floats, *, rounds: int) -> list[Measurement]:
    """Measure the time and CPU time of another model, `without`, as multiples of the model's.

    Returns
    -------
    list of Measurement
        `latency.speedup`, `latency.p99.speedup`, `throughput.speedup`, `cost.one_row.ratio` and `cost.batch.ratio`, all
        above 1 if the model is the better one. The 99th percentile pools the calls of all rounds; it is left out if
        either model had fewer than 662 calls, the number needed for a claim (MLPerf). CPU time is that of the whole
        process.
    """
    engines, singles, batches = (model, without), _singles(rows), _batches(rows, _batch_rows(without, rows))
    one = _run_rounds(engines, singles, rounds, ROUND_NS, min_calls=-(-_BEHIND_P99 // rounds))
    batch = _run_rounds(engines, batches, rounds, ROUND_NS)
    return [
        *_speedup("latency.speedup", one),
        *_tail_speedup("latency.p99.speedup", one),
        *_speedup("throughput.speedup", batch),
        _cost_ratio("cost.one_row.ratio", engines, singles, rounds),
        _cost_ratio("cost.batch.ratio", engines, batches, rounds),
    ]


@dataclass(frozen=True, slots=True)
class CpuTime:
    """CPU time per row in each round, ns, and the number of rows."""

    row_ns: Floats
    rows: int


def measure_cpu_time(model: Predictor, rows: Floats, *, rounds: int, limit_s: float = math.inf) -> dict[str, CpuTime]:
    """Measure the CPU time per row, asked alone (`one_row`) and in batches (`batch`).

    `rows` has shape (n, d), n >= 1. A slow model has fewer rounds, at least four, so that all take at most `limit_s`.
    """
    limit_ns = limit_s * 1e9
    batches = _batches(rows, _batch_rows(model, rows, limit_ns / _CALLS_OF_LIMIT))
    return {
        name: _cpu_time(model, inputs, rounds, limit_ns / 2)
        for name, inputs in (("one_row", _singles(rows)), ("batch", batches))
    }


def _cpu_time(engine: Predictor, inputs: Sequence[Floats], rounds: int, limit_ns: float) -> CpuTime:
    calls = _calls_per_round(engine, inputs, ROUND_NS)
    spent = _repeat(lambda turn: _round_cpu_ns(engine, inputs, calls, turn), rounds, limit_ns)
    rows = calls * len(inputs[0])
    return CpuTime(np.array(spent) / rows, rows * len(spent))


def _repeat(run: Callable[[int], T], rounds: int, limit_ns: float) -> list[T]:
    """Run rounds until they are done, or the next one would end after the limit; at least four."""
    began = perf_counter_ns()
    found: list[T] = []
    while len(found) < rounds:
        spent = perf_counter_ns() - began
        if len(found) >= _MIN_ROUNDS and spent * (1 + 1 / len(found)) > limit_ns:
            break
        found.append(run(len(found)))
    return found


def _round_cpu_ns(engine: Predictor, inputs: Sequence[Floats], calls: int, turn: int) -> int:
    """Measure the CPU time of a whole round, for reading the process clock costs as much as a small model."""
    round_inputs = [inputs[(turn * calls + call) % len(inputs)] for call in range(calls)]
    began = process_time_ns()
    for rows in round_inputs:
        engine.predict(rows)
    return process_time_ns() - began


@dataclass(frozen=True, slots=True)
class _Timings:
    """Median call time by round, ns, of the model and the reference; `calls` holds each call by round and engine."""

    variant: Floats
    reference: Floats | None
    rows: int
    calls: Sequence[Sequence[Sequence[int]]]


def _singles(rows: Floats) -> list[Floats]:
    """Pick up to 509 rows spread over the table, each (1, d): a branch predictor would learn a single row."""
    picked = np.unique(np.linspace(0, len(rows) - 1, _POOL).astype(np.int64))
    return [np.ascontiguousarray(rows[index : index + 1]) for index in picked]


def _batches(rows: Floats, count: int) -> list[Floats]:
    """Build four batches of `count` rows, repeating rows if the table is shorter."""
    wanted = np.arange(4 * count) % len(rows)
    return [np.ascontiguousarray(rows[part]) for part in np.split(wanted, 4)]


def _batch_rows(engine: Predictor, rows: Floats, limit_ns: float = math.inf) -> int:
    """Choose the rows per batch: 256, or fewer for a model that would take seconds per call, or more than the limit."""
    few = min(_times_ns(engine.predict, _batches(rows, _FEW_ROWS), 2))
    longest_ns, short_ns = min(_LONG_NS, limit_ns), min(_SHORT_NS, limit_ns)
    if few * BATCH_ROWS < longest_ns * _FEW_ROWS:
        return BATCH_ROWS
    one = min(_times_ns(engine.predict, _singles(rows), 2))
    row_ns = max(few - one, 1) / (_FEW_ROWS - 1)  # a call of many models costs much however few its rows are
    if one + row_ns * (BATCH_ROWS - 1) < longest_ns:
        return BATCH_ROWS
    return int(np.clip((short_ns - one) / row_ns, 1, BATCH_ROWS))


def _run_rounds(
    engines: Sequence[Predictor],
    inputs: Sequence[Floats],
    rounds: int,
    round_ns: int,
    *,
    min_calls: int = 1,
    limit_ns: float = math.inf,
) -> _Timings:
    calls = [max(_calls_per_round(engine, inputs, round_ns), min_calls) for engine in engines]
    turns = _repeat(lambda turn: _run_round(engines, calls, inputs, turn), rounds, limit_ns)
    medians = np.array([[max(float(np.median(times_ns)), 1.0) for times_ns in times] for times in turns])
    rows = sum(len(times[0]) for times in turns) * len(inputs[0])
    return _Timings(medians[:, 0], medians[:, 1] if len(engines) > 1 else None, rows, turns)


def _calls_per_round(engine: Predictor, inputs: Sequence[Floats], round_ns: int) -> int:
    """Warm up, and return how many calls fill a round."""
    _times_ns(engine.predict, inputs, _WARM_UP)
    one = np.median(_times_ns(engine.predict, inputs, _WARM_UP))
    return int(np.clip(round_ns / max(one, 1.0), 1, _MOST_CALLS))


def _run_round(
    engines: Sequence[Predictor], calls: Sequence[int], inputs: Sequence[Floats], turn: int
) -> list[list[int]]:
    """Run one round of each engine on the same rows; the order alternates."""
    start = turn * max(calls) % len(inputs)
    rows = [*inputs[start:], *inputs[:start]]
    times: list[list[int]] = [[] for _ in engines]
    for index in list(range(len(engines)))[:: 1 if turn % 2 else -1]:
        times[index] = _times_ns(engines[index].predict, rows, calls[index])
    return times


def _times_ns(predict: Callable[[Floats], Floats], inputs: Sequence[Floats], calls: int) -> list[int]:
    """Time each call, ns; stop early if the calls take ten times as long as planned.

    A model whose threads wait for busy cores then costs seconds and not minutes.
    """
    times: list[int] = []
    began = perf_counter_ns()
    while len(times) < calls and perf_counter_ns() - began < _LONGEST * ROUND_NS:
        rows = inputs[len(times) % len(inputs)]
        before = perf_counter_ns()
        predict(rows)
        times.append(perf_counter_ns() - before)
    return times


def _one_row_measurements(race: _Timings) -> list[Measurement]:
    return [
        replace(_over_rounds("latency.one_row", np.log(race.variant / 1e3), race), unit="us"),
        *_speedup("latency.speedup", race),
    ]


def _batch_measurements(race: _Timings, count: int) -> list[Measurement]:
    return [
        replace(_over_rounds("throughput.batch", np.log(count * 1e9 / race.variant), race), unit="rows/s"),
        *_speedup("throughput.speedup", race),
    ]


def _speedup(name: str, race: _Timings) -> list[Measurement]:
    if race.reference is None:
        return []
    return [replace(_over_rounds(name, np.log(race.reference / race.variant), race), unit="x")]


def _tail_speedup(name: str, race: _Timings) -> list[Measurement]:
    """Return the ratio of the 99th percentiles of all calls, with a jackknife over rounds."""
    first, second = ([np.array(turn[engine], np.float64) for turn in race.calls] for engine in (0, 1))
    if min(sum(map(len, first)), sum(map(len, second))) < _BEHIND_P99:
        return []
    value = _log_ratio(first, second)
    without = np.array([_log_ratio(_leave_out(first, at), _leave_out(second, at)) for at in range(len(first))])
    estimate = Estimate(value=value, se=float(jackknife_error(without)), dof=len(first) - 1, method=_OF_TAILS)
    return [replace(_from_log(name, estimate, race.rows), unit="x")]


def _log_ratio(first: Sequence[Floats], second: Sequence[Floats]) -> float:
    return float(np.log(np.quantile(np.concatenate(second), 0.99) / np.quantile(np.concatenate(first), 0.99)))


def _leave_out(rounds: Sequence[Floats], left_out: int) -> list[Floats]:
    return [*rounds[:left_out], *rounds[left_out + 1 :]]


def _cost_ratio(name: str, engines: tuple[Predictor, Predictor], inputs: Sequence[Floats], rounds: int) -> Measurement:
    """Return the ratio of CPU time per row, the second engine's to the first's; the order alternates."""
    calls = [_calls_per_round(engine, inputs, ROUND_NS) for engine in engines]
    spent = np.empty((rounds, 2))
    for turn in range(rounds):
        for at in (0, 1)[:: 1 if turn % 2 else -1]:
            engines[at].predict(inputs[0])  # lets threads of the other model stop spinning
            spent[turn, at] = max(_round_cpu_ns(engines[at], inputs, calls[at], turn), 1) / calls[at]
    logs = np.log(spent[:, 1] / spent[:, 0])
    return replace(_from_log(name, _mean_log(logs), sum(calls) * rounds * len(inputs[0])), unit="x")


def _over_rounds(name: str, logs: Floats, race: _Timings) -> Measurement:
    """Return the geometric mean over rounds: twice as fast and half as fast weigh the same."""
    return _from_log(name, _mean_log(logs), race.rows)


def _mean_log(logs: Floats) -> Estimate:
    se = float(logs.std(ddof=1)) / math.sqrt(len(logs))
    return Estimate(value=float(logs.mean()), se=se, dof=len(logs) - 1, method="geometric mean over rounds, t")


def _from_log(name: str, log: Estimate, rows: int) -> Measurement:
    """Return the measurement of exp(estimate), its standard error by the delta method; the interval stays above 0."""
    value = math.exp(log.value)
    estimate = Estimate(value=value, se=value * log.se, dof=log.dof, method=log.method)
    found = t_interval(name, estimate, Sample(n_rows=rows, n_groups=int(log.dof) + 1, bounds=(0.0, UNBOUNDED[1])))
    if found.se is None:
        return found
    half = student_quantile(0.5 + LEVEL / 2, log.dof) * log.se
    return replace(found, low=value * math.exp(-half), high=value * math.exp(half))
