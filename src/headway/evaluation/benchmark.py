"""Paired benchmarks: models are timed on the same rows in alternating rounds, and rounds are the groups of intervals.

A ratio is the median over rounds. Its interval is meant to hold the ratio of the next run: it resamples rounds in
blocks of time, and adds what differs between processes. A model that is slow for its budget has few rounds: from 4 to
19 the ratio is their geometric mean with Student's t, as resampling so few is too narrow. Times are wall-clock times,
which are left out if the machine was busy (`machine_load`); CPU times are those of all threads of this process.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from time import perf_counter_ns, process_time_ns
from typing import Any, Protocol, TypeVar

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Floats
from headway.core.evidence import AS_CALLED, CALLS, Measurement, TimedCall
from headway.core.student import student_quantile
from headway.evaluation.energy import EnergyMeter
from headway.evaluation.machine_load import LoadMeter, MachineBusy
from headway.evaluation.statistics.intervals import (
    LEVEL,
    MIN_GROUPS,
    UNBOUNDED,
    Estimate,
    Sample,
    jackknife_error,
    t_interval,
)

_Result = TypeVar("_Result")
BATCH_ROWS = 256
ROUND_NS = 3_000_000
PAIRS_NS = 6_000_000
ENERGY_ROUND_NS = 25_000_000
_LONGEST = 10
_POOL = 509
_WARM_UP = 3
_TRIALS, _TRIAL_NS, _TRIALS_NS, _SAME = 5, 1_000_000, 300_000_000, 1.05
_MAX_CALLS = 200
_BEHIND_P99 = 662
_OF_TAILS = "99th percentile of the calls of all rounds, leave-one-round-out jackknife, t"
_FEW_ROWS, _LONG_NS, _SHORT_NS = 16, 1_000_000_000, 250_000_000
MIN_ROUNDS = 4
"""Rounds that an interval needs, and that every measurement has however slow the model is."""
_CALLS_OF_LIMIT = 16
_SAMPLED = 100
BLOCKS = 5
"""Blocks of time in which rounds are resampled: what is measured takes turns, so that each is spread over all of them.
"""
RERUN = 0.04
"""Standard deviation of the log ratio between processes on a quiet machine, beyond that within one (page 0060)."""
BURST = 0.3
"""Standard deviation of the log of a time between bursts of milliseconds on a busy machine (page 0021)."""
_RESAMPLES = 499
_RERUN_METHOD = "median over rounds in turns; for a rerun: blocks of rounds resampled, variance between processes"
_FEW_ROUNDS_METHOD = "geometric mean over rounds in turns; for a rerun: t over rounds, variance between processes"


class Predictor(Protocol):
    """An engine, or anything with its `predict`, that can be timed."""

    def predict(self, rows: Floats) -> Floats:
        """Return answers of shape (n, k) for rows of shape (n, d), both float64."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedEngine:
    """An engine of the baseline, and its call with its settings, as the evidence names it."""

    engine: Predictor
    call: TimedCall


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedBaseline:
    """What a model is timed against, for one row and for batches.

    The first of each pair is the fastest by the clock. The second has one thread, which takes the least CPU time:
    several threads spin while they wait for one another, and a ratio to their CPU time would say nothing of the model.
    """

    one_row: tuple[TimedEngine, TimedEngine]
    batch: tuple[TimedEngine, TimedEngine]


def time_model(
    model: Predictor,
    rows: Floats,
    *,
    baseline: TimedBaseline | None = None,
    rounds: int,
    round_ns: int | None = None,
    limit_s: float = math.inf,
    attempts: int = 1,
    is_burst: bool = False,
    meter: Callable[[], LoadMeter] | None = None,
) -> list[Measurement | MachineBusy]:
    """Time a model on single rows and batches, in rounds that alternate with the baseline.

    Parameters
    ----------
    model : Predictor
        The model to time.
    rows : ndarray of shape (n, d)
        At least one row.
    baseline : TimedBaseline, optional
        The model to compare with.
    rounds : int
        Number of rounds; an interval needs 4.
    round_ns : int, optional
        Time to fill with calls in each round, ns; 3 ms by default. The figure of a round is the median of its calls.
    limit_s : float
        Longest time for all rounds, s. A slow model has fewer rounds, at least four, so its intervals are wider, and
        fewer rows in a batch whose call would take more than a sixteenth of that time.
    attempts : int
        How often to measure until the machine is not busy, unless that takes seconds.
    is_burst : bool
        Whether all rounds are one burst of milliseconds. Times then have wider intervals, as those of a machine that
        other processes share have; ratios do not, since both models were slowed alike.

    Returns
    -------
    list of Measurement or MachineBusy
        `latency.one_row` (us) and `throughput.batch` (rows/s), each followed by its `.speedup` over the baseline; a
        MachineBusy takes their place if other processes used the cores. A batch has 256 rows, or fewer for a model that
        takes more than a second for them. Then the CPU time: `cost.cpu_s.one_row.speedup` and
        `cost.cpu_s.batch.speedup` over the baseline, or without one `cost.cpu_s.one_row` and `cost.cpu_s.batch` (s per
        million rows).
    """
    limit_ns = limit_s * 1e9
    timed = {} if baseline is None else {"one_row": baseline.one_row, "batch": baseline.batch}
    count = _batch_rows(timed["batch"][0].engine if timed else model, rows, limit_ns / _CALLS_OF_LIMIT)
    inputs = {"one_row": _singles(rows), "batch": _batches(rows, count)}
    kinds = {name: ((model, *_distinct(timed.get(name, ()))), found) for name, found in inputs.items()}

    def run(watch: LoadMeter) -> tuple[dict[str, _Timings], list[float]]:
        found = _run_kinds(kinds, rounds, round_ns or ROUND_NS, limit_ns, watch)
        timings = found["one_row"]
        return found, _block_times(timings.reference_ns if timings.paired else timings.variant)

    found, busy, is_shared = _quietly(run, limit_ns, attempts, meter)
    wall = {
        "one_row": _one_row_measurements(found["one_row"]),
        "batch": _batch_measurements(found["batch"], count),
    }
    cpu = {name: _cpu_measurements(name, timings) for name, timings in found.items()}
    rows_of = {"one_row": 1, "batch": count}
    times, cpu_times = (
        [
            _against(seen, timed[name][index].call, rows=rows_of[name]) if timed else seen
            for name, measured in kind.items()
            for seen in measured
        ]
        for index, kind in enumerate((wall, cpu))
    )
    if is_burst or is_shared:
        times, cpu_times = [widen_for_bursts(seen) for seen in times], [widen_for_bursts(seen) for seen in cpu_times]
    return [*([busy] if busy else times), *cpu_times]


def _distinct(pair: Sequence[TimedEngine]) -> list[Predictor]:
    """Return the engines of a pair, once if both are the same."""
    return list({id(timed.engine): timed.engine for timed in pair}.values())


def _against(seen: Measurement, call: TimedCall, *, rows: int) -> Measurement:
    """Name the baseline's call in a ratio."""
    return replace(seen, baseline=replace(call, rows=rows)) if seen.name.endswith("speedup") else seen


def fastest_engine(engines: Mapping[int, Predictor], rows: Floats, *, batch: bool, limit_s: float = math.inf) -> int:
    """Return the number of threads that answers fastest by the clock.

    The engines, by number of threads (0: the library decides), answer in short rounds in turns. Of those within a
    twentieth of the best, the lowest number is taken.
    """
    keys = sorted(engines)
    count = _batch_rows(engines[keys[0]], rows, limit_s * 1e9 / _CALLS_OF_LIMIT) if batch else 1
    inputs = _batches(rows, count) if batch else _singles(rows)
    calls = [_calls_per_round(engines[key], inputs, _TRIAL_NS) for key in keys]
    opened = [engines[key] for key in keys]
    turns = _repeat(lambda turn: _run_round(opened, calls, inputs, turn), _TRIALS, _TRIALS_NS, min_rounds=1)
    times = dict(zip(keys, np.median(_timings(turns, len(inputs[0])).wall, axis=0), strict=True))
    return next(key for key in keys if times[key] <= _SAME * min(times.values()))


def time_calls(
    variant: Callable[[Any], object],
    baseline: Callable[[Any], object],
    inputs: Sequence[Any],
    *,
    call: TimedCall,
    rounds: int,
    limit_s: float = math.inf,
    attempts: int = 1,
    meter: Callable[[], LoadMeter] | None = None,
) -> list[Measurement | MachineBusy]:
    """Time two callables on the same inputs, of one row each, call by call in turns: A B, B A, A B.

    Neither is called twice in a row, so that both find the caches as the other left them.

    Returns
    -------
    list of Measurement or MachineBusy
        `latency.as_called` (us) of the variant and `latency.as_called.speedup`, for the slice `call.input`; a
        MachineBusy takes their place if other processes used the cores. Then `cost.cpu_s.as_called.speedup`, if the
        baseline is set to one thread: several spin while cores are busy, and their CPU time depends on that.
    """
    calls = (variant, baseline)

    def run(watch: LoadMeter) -> tuple[list[Floats], list[float]]:
        turns = _run_pairs(calls, inputs, rounds, limit_s * 1e9, watch)
        return turns, _block_times(np.array([np.median(pairs[:, 1]) for pairs in turns]))

    turns, busy, is_shared = _quietly(run, limit_s * 1e9, attempts, meter)
    n_rows = sum(map(len, turns))
    wall, cpu = ([np.log(pairs[:, of + 1] / pairs[:, of]) for pairs in turns] for of in (0, 2))
    ratios = [_rerun_interval("cost.cpu_s.as_called.speedup", cpu, n_rows)] if call.threads == 1 else []
    found: list[Measurement | MachineBusy] = []
    if busy is None:
        times = [np.log(pairs[:, 0] / 1e3) for pairs in turns]
        took = replace(_rerun_interval(CALLS, times, n_rows), unit="us", slice=call.input)
        found.append(widen_for_bursts(took) if is_shared else took)
        ratios.insert(0, _rerun_interval(AS_CALLED, wall, n_rows))
    else:
        found.append(busy)
    return [*found, *(replace(seen, unit="x", slice=call.input, baseline=call) for seen in ratios)]


@dataclass(frozen=True, slots=True)
class CallSample:
    """Times of single calls of two models in turns, float64 (calls, 2) in us, and what they show of the first."""

    times_us: Floats
    measurements: Sequence[Measurement]


def sample_calls(
    first: Predictor, second: Predictor, rows: Floats, *, limit_s: float, meter: Callable[[], LoadMeter] | None = None
) -> CallSample | MachineBusy:
    """Time calls of one row of two models in turns, for histograms of their times.

    Returns
    -------
    CallSample or MachineBusy
        Every time, with `latency.one_row` (us) of each model and the `latency.speedup` of the first over the second; a
        MachineBusy if other processes used the cores.
    """

    def run(watch: LoadMeter) -> tuple[list[Floats], list[float]]:
        turns = _run_pairs((first.predict, second.predict), _singles(rows), _SAMPLED, limit_s * 1e9, watch)
        return turns, _block_times(np.array([np.median(pairs[:, 1]) for pairs in turns]))

    turns, busy, is_shared = _quietly(run, limit_s * 1e9, 1, meter)
    if busy is not None:
        return busy
    n_calls = sum(map(len, turns))
    of_each = [
        replace(_rerun_interval("latency.one_row", [np.log(pairs[:, at] / 1e3) for pairs in turns], n_calls), unit="us")
        for at in (0, 1)
    ]
    of_each = [widen_for_bursts(seen) for seen in of_each] if is_shared else of_each
    ratio = _rerun_interval("latency.speedup", [np.log(pairs[:, 1] / pairs[:, 0]) for pairs in turns], n_calls)
    return CallSample(np.concatenate(turns)[:, :2] / 1e3, [*of_each, replace(ratio, unit="x")])


def widen_for_bursts(time: Measurement) -> Measurement:
    """Return a time that was measured in one burst of rounds with an interval that holds the time of another burst.

    A core may be slower in one burst, or share its caches: all rounds of that burst are, so they do not show it.
    Ratios stay as they are.
    """
    if time.se is None or time.dof is None or time.unit == "x":
        return time
    se = math.hypot(time.se / time.value, BURST)
    method = f"{time.method}; variance between bursts"
    log = Estimate(value=math.log(time.value), se=se, dof=time.dof, method=method)
    return replace(_from_log(time.name, log, time.n_rows), unit=time.unit, slice=time.slice)


def _run_pairs(
    calls: tuple[Callable[[Any], object], Callable[[Any], object]],
    inputs: Sequence[Any],
    rounds: int,
    limit_ns: float,
    watch: LoadMeter,
) -> list[Floats]:
    """Time pairs of calls in rounds: of each pair both times, then both CPU times, in ns."""
    for row in inputs[:_WARM_UP]:
        for call in calls:
            call(row)
    found: list[Floats] = []
    began, number = perf_counter_ns(), 0
    for block in np.array_split(np.arange(rounds), BLOCKS):
        watch.spin()
        for _ in block:
            spent = perf_counter_ns() - began
            if len(found) >= MIN_ROUNDS and spent * (1 + 1 / len(found)) > limit_ns:
                return found
            pairs: list[tuple[int, int, int, int]] = []
            until = perf_counter_ns() + PAIRS_NS
            while not pairs or perf_counter_ns() < until:
                pairs.append(_time_pair(calls, inputs[number % len(inputs)], first=number % 2))
                number += 1
            found.append(np.maximum(np.array(pairs, dtype=np.float64), 1.0))
    return found


def _time_pair(
    calls: tuple[Callable[[Any], object], Callable[[Any], object]], row: Any, *, first: int
) -> tuple[int, int, int, int]:
    wall, cpu = [0, 0], [0, 0]
    for index in (first, 1 - first):
        began, worked = perf_counter_ns(), process_time_ns()
        calls[index](row)
        wall[index], cpu[index] = perf_counter_ns() - began, process_time_ns() - worked
    return wall[0], wall[1], cpu[0], cpu[1]


def measure_savings(
    model: Predictor,
    without: Predictor,
    rows: Floats,
    *,
    rounds: int,
    meter: Callable[[], LoadMeter] | None = None,
) -> list[Measurement | MachineBusy]:
    """Measure the time and CPU time of another model, `without`, as multiples of the model's.

    Returns
    -------
    list of Measurement
        `latency.speedup`, `latency.p99.speedup`, `throughput.speedup`, `cost.one_row.ratio` and `cost.batch.ratio`, all
        above 1 if the model is the better one. The 99th percentile pools the calls of all rounds; it is left out if
        either model had fewer than 662 calls, the number needed for a claim (MLPerf). CPU time is that of the whole
        process. If the machine was busy, a MachineBusy takes the place of the times.
    """
    engines, singles, batches = (model, without), _singles(rows), _batches(rows, _batch_rows(without, rows))
    watch = (meter or LoadMeter)()
    watch.spin()
    one = _run_rounds(engines, singles, rounds, ROUND_NS, min_calls=-(-_BEHIND_P99 // rounds))
    watch.spin()
    batch = _run_rounds(engines, batches, rounds, ROUND_NS)
    watch.spin()
    wall = [
        replace(_over_rounds("latency.speedup", np.log(one.reference_ns / one.variant), one), unit="x"),
        *_tail_speedup("latency.p99.speedup", one),
        replace(_over_rounds("throughput.speedup", np.log(batch.reference_ns / batch.variant), batch), unit="x"),
    ]
    busy = watch.busy(_block_times(one.wall[:, -1]))
    return [
        *([busy] if busy else wall),
        _cost_ratio("cost.one_row.ratio", engines, singles, rounds),
        _cost_ratio("cost.batch.ratio", engines, batches, rounds),
    ]


@dataclass(frozen=True, slots=True)
class CpuTime:
    """CPU time per row in each round, ns, the number of rows, and the energy per row in each round, uJ, if measured."""

    row_ns: Floats
    rows: int
    row_uj: Floats | None = None


def measure_cpu_time(
    model: Predictor, rows: Floats, *, rounds: int, limit_s: float = math.inf, energy: EnergyMeter | None = None
) -> dict[str, CpuTime]:
    """Measure the CPU time per row, in calls of one row (`one_row`) and in batches (`batch`), and the energy.

    `rows` has shape (n, d), n >= 1. A slow model has fewer rounds, at least four, so that all take at most `limit_s`.
    With `energy` a round lasts 25 ms, for the counters of a package change every millisecond, and the energy of a round
    is what all packages used in it, the power of an idle package included.
    """
    limit_ns = limit_s * 1e9
    batches = _batches(rows, _batch_rows(model, rows, limit_ns / _CALLS_OF_LIMIT))
    return {
        name: _cpu_time(model, inputs, rounds, limit_ns / 2, energy)
        for name, inputs in (("one_row", _singles(rows)), ("batch", batches))
    }


def _cpu_time(
    engine: Predictor, inputs: Sequence[Floats], rounds: int, limit_ns: float, energy: EnergyMeter | None
) -> CpuTime:
    calls = _calls_per_round(engine, inputs, ROUND_NS)
    per_turn = calls * len(inputs[0])
    if energy is None:
        spent = _repeat(lambda turn: _round_cpu_ns(engine, inputs, calls, turn), rounds, limit_ns)
        return CpuTime(np.array(spent) / per_turn, per_turn * len(spent))
    found = _repeat(lambda turn: _round_energy(engine, inputs, calls, turn, energy), rounds, limit_ns)
    cpu_ns, used_uj, turns = np.array(found, dtype=np.float64).T
    rows = turns * per_turn
    return CpuTime(cpu_ns / rows, int(rows.sum()), used_uj / rows)


def _round_energy(
    engine: Predictor, inputs: Sequence[Floats], calls: int, turn: int, energy: EnergyMeter
) -> tuple[int, int, int]:
    """Repeat a round of calls for 25 ms; return its CPU time in ns, its energy in uJ and the number of repetitions."""
    before, until = energy.read(), perf_counter_ns() + ENERGY_ROUND_NS
    cpu_ns: list[int] = []
    while not cpu_ns or perf_counter_ns() < until:
        cpu_ns.append(_round_cpu_ns(engine, inputs, calls, turn + len(cpu_ns)))
    return sum(cpu_ns), energy.since(before), len(cpu_ns)


def _repeat(
    run: Callable[[int], _Result], rounds: int, limit_ns: float, *, min_rounds: int = MIN_ROUNDS
) -> list[_Result]:
    """Run rounds until they are done, or the next one would end after the limit; at least four by default."""
    began, found = perf_counter_ns(), list[_Result]()
    while len(found) < rounds:
        spent = perf_counter_ns() - began
        if len(found) >= min_rounds and spent * (1 + 1 / len(found)) > limit_ns:
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
    """Time of one call by round and engine: the median by the clock, and CPU time, both in ns.

    The model is the first engine, the second its reference by the clock, and the last its reference by CPU time.

    `calls` holds each call by round and engine; `rows` counts the rows of all calls, `per_call` those of one.
    """

    wall: Floats
    cpu: Floats
    calls: Sequence[Sequence[Sequence[int]]]
    per_call: int

    @property
    def variant(self) -> Floats:
        return self.wall[:, 0]

    @property
    def reference_ns(self) -> Floats:
        return self.wall[:, 1]

    @property
    def paired(self) -> bool:
        return bool(self.wall.shape[1] > 1)

    @property
    def rows(self) -> int:
        return sum(len(times[0]) for times in self.calls) * self.per_call


def _block_times(times: Floats) -> list[float]:
    """Return the median time of the same call, by round, in each block of time."""
    return [float(np.median(block)) for block in np.array_split(times, min(BLOCKS, len(times)))]


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
    rows_of_call = max(short_ns - one, one) / row_ns  # fewer rows would hardly shorten a call that is long for one row
    return int(np.clip(rows_of_call, 1, BATCH_ROWS))


_Kinds = Mapping[str, tuple[Sequence[Predictor], Sequence[Any]]]
"""Kinds of calls by name: the engines, the model first, and their inputs."""


def _quietly(
    run: Callable[[LoadMeter], tuple[_Result, list[float]]],
    limit_ns: float,
    attempts: int,
    meter: Callable[[], LoadMeter] | None,
) -> tuple[_Result, MachineBusy | None, bool]:
    """Run all rounds, and again while the machine is busy: a burst passes. Slow models have one attempt.

    `run` returns what it measured, and the time of the baseline's call in each block of time. Returned are its result,
    what shows that the machine was busy, and whether others shared it.
    """
    for last in (*[False] * (attempts - 1), True):
        watch, began = (meter or LoadMeter)(), perf_counter_ns()
        found, block_times = run(watch)
        busy = watch.busy(block_times)
        if busy is None or last or perf_counter_ns() - began > min(_LONG_NS, limit_ns) / attempts:
            break
    return found, busy, busy is not None or watch.is_shared()


def _run_kinds(kinds: _Kinds, rounds: int, round_ns: int, limit_ns: float, watch: LoadMeter) -> dict[str, _Timings]:
    """Run the rounds of several kinds of calls block by block, so that each is spread over the whole time."""
    planned = {
        name: [_calls_per_round(engine, inputs, round_ns) for engine in engines]
        for name, (engines, inputs) in kinds.items()
    }
    turns: dict[str, list[_RoundTimes]] = {name: [] for name in kinds}
    spent = dict.fromkeys(kinds, 0)
    for block in np.array_split(np.arange(rounds), BLOCKS):
        watch.spin()
        for name, turn in ((name, turn) for name in kinds for turn in block.tolist()):
            if turn >= MIN_ROUNDS and spent[name] * (1 + 1 / len(turns[name])) > limit_ns / len(kinds):
                continue
            began = perf_counter_ns()
            turns[name].append(_run_round(kinds[name][0], planned[name], kinds[name][1], turn))
            spent[name] += perf_counter_ns() - began
    return {name: _timings(turns[name], inputs[0].shape[0]) for name, (_, inputs) in kinds.items()}


def _run_rounds(
    engines: Sequence[Predictor], inputs: Sequence[Floats], rounds: int, round_ns: int, *, min_calls: int = 1
) -> _Timings:
    calls = [max(_calls_per_round(engine, inputs, round_ns), min_calls) for engine in engines]
    return _timings([_run_round(engines, calls, inputs, turn) for turn in range(rounds)], len(inputs[0]))


_RoundTimes = tuple[list[list[int]], list[float]]
"""Times of the calls of a round by engine, and the CPU time of one call of each engine, ns."""


def _timings(turns: Sequence[_RoundTimes], per_call: int) -> _Timings:
    medians = np.array([[max(float(np.median(times_ns)), 1.0) for times_ns in times] for times, _ in turns])
    return _Timings(medians, np.array([cpu for _, cpu in turns]), [times for times, _ in turns], per_call)


def _calls_per_round(engine: Predictor, inputs: Sequence[Any], round_ns: int) -> int:
    """Warm up, and return how many calls fill a round; one if a call takes longer than ten rounds."""
    if len(_times_ns(engine.predict, inputs, _WARM_UP)) == 1:
        return 1
    one = np.median(_times_ns(engine.predict, inputs, _WARM_UP))
    return int(np.clip(round_ns / max(one, 1.0), 1, _MAX_CALLS))


def _run_round(engines: Sequence[Predictor], calls: Sequence[int], inputs: Sequence[Any], turn: int) -> _RoundTimes:
    """Run one round of each engine on the same rows; the order alternates."""
    start = turn * max(calls) % len(inputs)
    rows = [*inputs[start:], *inputs[:start]]
    times: list[list[int]] = [[] for _ in engines]
    cpu = [0.0 for _ in engines]
    for index in list(range(len(engines)))[:: 1 if turn % 2 else -1]:
        if calls[index] > _WARM_UP:
            engines[index].predict(rows[0])  # lets threads of the other model stop spinning
        began = process_time_ns()
        times[index] = _times_ns(engines[index].predict, rows, calls[index])
        cpu[index] = max((process_time_ns() - began) / len(times[index]) - _loop_ns(), 1.0)
    return times, cpu


@cache
def _loop_ns() -> float:
    """Return the CPU time that timing a call costs itself, ns."""
    calls, spent = 200, []
    for _ in range(_TRIALS):
        began = process_time_ns()
        _times_ns(lambda _: None, [None], calls)
        spent.append((process_time_ns() - began) / calls)
    return min(spent)


def _times_ns(predict: Callable[[Any], object], inputs: Sequence[Any], calls: int) -> list[int]:
    """Time each call, ns, and one at least; stop early if the calls take ten times as long as planned.

    A model whose threads wait for busy cores then costs seconds and not minutes.
    """
    times: list[int] = []
    began = perf_counter_ns()
    while not times or (len(times) < calls and perf_counter_ns() - began < _LONGEST * ROUND_NS):
        rows = inputs[len(times) % len(inputs)]
        before = perf_counter_ns()
        predict(rows)
        times.append(perf_counter_ns() - before)
    return times


def _one_row_measurements(timings: _Timings) -> list[Measurement]:
    return [
        replace(_over_rounds("latency.one_row", np.log(timings.variant / 1e3), timings), unit="us"),
        *_speedup("latency.speedup", timings),
    ]


def _batch_measurements(timings: _Timings, count: int) -> list[Measurement]:
    return [
        replace(_over_rounds("throughput.batch", np.log(count * 1e9 / timings.variant), timings), unit="rows/s"),
        *_speedup("throughput.speedup", timings),
    ]


def _speedup(name: str, timings: _Timings) -> list[Measurement]:
    if not timings.paired:
        return []
    return [
        replace(_rerun_interval(name, np.log(timings.reference_ns / timings.variant)[:, None], timings.rows), unit="x")
    ]


def _cpu_measurements(name: str, timings: _Timings) -> list[Measurement]:
    """Return the ratio of CPU times, or without a baseline the CPU seconds of a million rows."""
    if timings.paired:
        logs = np.log(timings.cpu[:, -1] / timings.cpu[:, 0])
        return [replace(_rerun_interval(f"cost.cpu_s.{name}.speedup", logs[:, None], timings.rows), unit="x")]
    logs = np.log(timings.cpu[:, 0] / timings.per_call / 1e3)  # us a row are seconds a million rows
    return [replace(_over_rounds(f"cost.cpu_s.{name}", logs, timings), unit="s")]


def _tail_speedup(name: str, timings: _Timings) -> list[Measurement]:
    """Return the ratio of the 99th percentiles of all calls, with a jackknife over rounds."""
    first, second = ([np.array(turn[engine], np.float64) for turn in timings.calls] for engine in (0, 1))
    if min(sum(map(len, first)), sum(map(len, second))) < _BEHIND_P99:
        return []
    value = _log_ratio(first, second)
    without = np.array([_log_ratio(_leave_out(first, at), _leave_out(second, at)) for at in range(len(first))])
    estimate = Estimate(value=value, se=float(jackknife_error(without)), dof=len(first) - 1, method=_OF_TAILS)
    return [replace(_from_log(name, estimate, timings.rows), unit="x")]


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


def _over_rounds(name: str, logs: Floats, timings: _Timings) -> Measurement:
    """Return the geometric mean over rounds: twice as fast and half as fast weigh the same."""
    return _from_log(name, _mean_log(logs), timings.rows)


def _rerun_interval(name: str, rounds: Sequence[Floats] | Floats, n_rows: int) -> Measurement:
    """Return the median of log ratios as a ratio, with an interval for that of the next run.

    The next run errs as much as this one, so the variance of the median, by a circular bootstrap of blocks of rounds,
    counts twice. Below 20 rounds it is the mean of the rounds, and its variance.

    Parameters
    ----------
    rounds : sequence of ndarray of shape (pairs,)
        Log ratio of each pair, by round.
    """
    count = len(rounds)
    if count < MIN_GROUPS:
        log = _mean_log(np.array([np.median(pairs) for pairs in rounds]))
        log = dataclasses.replace(log, se=math.hypot(math.sqrt(2) * log.se, RERUN), method=_FEW_ROUNDS_METHOD)
        return _from_log(name, log, n_rows)
    length = max(count // BLOCKS, 1)
    starts = np.random.default_rng(0).integers(0, count, (_RESAMPLES, -(-count // length)))
    picked = ((starts[:, :, None] + np.arange(length)) % count).reshape(_RESAMPLES, -1)[:, :count]
    if isinstance(rounds, np.ndarray):
        medians = np.median(rounds[picked].reshape(_RESAMPLES, -1), axis=1)
    else:
        medians = np.array([np.median(np.concatenate([rounds[one] for one in chosen])) for chosen in picked.tolist()])
    se = math.sqrt(2 * float(medians.var()) + RERUN**2)
    value = float(np.median(np.concatenate(rounds)))
    return _from_log(name, Estimate(value=value, se=se, dof=count - 1, method=_RERUN_METHOD), n_rows)


def _mean_log(logs: Floats) -> Estimate:
    se = float(logs.std(ddof=1)) / math.sqrt(len(logs)) if len(logs) > 1 else math.inf
    return Estimate(value=float(logs.mean()), se=se, dof=len(logs) - 1, method="geometric mean over rounds, t")


def _from_log(name: str, log: Estimate, rows: int) -> Measurement:
    """Return the measurement of exp(estimate), its standard error by the delta method; the interval stays above 0."""
    value = math.exp(log.value)
    estimate = Estimate(value=value, se=value * log.se, dof=log.dof, method=log.method)
    sample = Sample(n_rows=rows, n_groups=int(log.dof) + 1, bounds=(0.0, UNBOUNDED[1]))
    found = t_interval(name, estimate, sample, min_groups=MIN_ROUNDS)
    if found.se is None:
        return found
    half = student_quantile(0.5 + LEVEL / 2, log.dof) * log.se
    return replace(found, low=value * math.exp(-half), high=value * math.exp(half))
