"""Models timed on the same rows, turn by turn where there are two: rounds are the groups of every interval.

Time is that of the clock; what `worked` counts is the time of all threads of this process on a core.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter_ns, process_time_ns

import numpy as np
from msgspec.structs import replace

from headway.core.contracts import Engine
from headway.core.evidence import Measurement
from headway.evidence.intervals import ANY, LEVEL, Estimate, Floats, Sample, interval, student_quantile

BATCH_ROWS = 256
ROUND_NS = 3_000_000
_LONGEST = 10
_POOL = 509
_WARM_UP = 3
_MOST_CALLS = 200
_FEW_ROWS, _LONG_NS, _SHORT_NS = 16, 1_000_000_000, 250_000_000


def timed(
    model: Engine, rows: Floats, *, reference: Engine | None = None, rounds: int, round_ns: int = ROUND_NS
) -> list[Measurement]:
    """`latency.one_row` (us) and `throughput.batch` (rows/s), each followed by `.speedup` of a reference.

    A batch is 256 rows; where 16 of them say that these take more than a second, as many as take a quarter of one.

    Both take turns on the same rows, float64 [n, d] with n >= 1; a round's figure is the median of its calls, which
    fill `round_ns` if one does not take longer. An interval wants 20 rounds.
    """
    engines = (model,) if reference is None else (model, reference)
    one = _race(engines, _singles(rows), rounds, round_ns)
    count = _at_once(engines[-1], rows)
    batch = _race(engines, _batches(rows, count), rounds, round_ns)
    return [*_one_row(one), *_batch(batch, count)]


@dataclass(frozen=True, slots=True)
class Work:
    """CPU time of a row in each round, ns, and how many rows were asked."""

    row_ns: Floats
    rows: int


def worked(model: Engine, rows: Floats, *, rounds: int) -> dict[str, Work]:
    """The work of a row, float64 [n, d] with n >= 1, asked alone (`one_row`) and with others (`batch`), as `timed`."""
    batches = _batches(rows, _at_once(model, rows))
    return {name: _work(model, each, rounds) for name, each in (("one_row", _singles(rows)), ("batch", batches))}


def _work(engine: Engine, inputs: Sequence[Floats], rounds: int) -> Work:
    """What is counted is whole rounds: to read the clock of a process takes as long as a small model does."""
    calls, spent = _calls(engine, inputs, ROUND_NS), []
    for turn in range(rounds):
        asked = [inputs[(turn * calls + call) % len(inputs)] for call in range(calls)]
        began = process_time_ns()
        for each in asked:
            engine.predict(each)
        spent.append(process_time_ns() - began)
    rows = calls * len(inputs[0])
    return Work(np.array(spent) / rows, rows * rounds)


@dataclass(frozen=True, slots=True)
class _Race:
    """Median time of a call by round, ns, of a model and of the reference, if any; `rows` timed of the model."""

    variant: Floats
    reference: Floats | None
    rows: int


def _singles(rows: Floats) -> list[Floats]:
    """Up to 509 rows from all over the table, each [1, d]: a branch predictor learns one row, not all of these."""
    picked = np.unique(np.linspace(0, len(rows) - 1, _POOL).astype(np.int64))
    return [np.ascontiguousarray(rows[index : index + 1]) for index in picked]


def _batches(rows: Floats, count: int) -> list[Floats]:
    """Four batches of so many rows, repeated where the table is shorter."""
    wanted = np.arange(4 * count) % len(rows)
    return [np.ascontiguousarray(rows[part]) for part in np.split(wanted, 4)]


def _at_once(engine: Engine, rows: Floats) -> int:
    """How many rows a batch has: of a large network 256 would take seconds a call, and a search minutes."""
    few = min(_times_ns(engine.predict, _batches(rows, _FEW_ROWS), 2))
    if few * BATCH_ROWS < _LONG_NS * _FEW_ROWS:
        return BATCH_ROWS
    return max(1, _SHORT_NS * _FEW_ROWS // few)


def _race(engines: Sequence[Engine], inputs: Sequence[Floats], rounds: int, round_ns: int) -> _Race:
    calls = [_calls(engine, inputs, round_ns) for engine in engines]
    turns = [_round(engines, calls, inputs, turn) for turn in range(rounds)]
    medians = np.array([[max(float(np.median(each)), 1.0) for each in times] for times in turns])
    rows = sum(len(times[0]) for times in turns) * len(inputs[0])
    return _Race(medians[:, 0], medians[:, 1] if len(engines) > 1 else None, rows)


def _calls(engine: Engine, inputs: Sequence[Floats], round_ns: int) -> int:
    """Warm up, and see how many calls fill a round's share of time."""
    _times_ns(engine.predict, inputs, _WARM_UP)
    one = np.median(_times_ns(engine.predict, inputs, _WARM_UP))
    return int(np.clip(round_ns / max(one, 1.0), 1, _MOST_CALLS))


def _round(engines: Sequence[Engine], calls: Sequence[int], inputs: Sequence[Floats], turn: int) -> list[list[int]]:
    """One turn each on the same rows; who begins changes from round to round."""
    start = turn * max(calls) % len(inputs)
    rows = [*inputs[start:], *inputs[:start]]
    times: list[list[int]] = [[] for _ in engines]
    for index in list(range(len(engines)))[:: 1 if turn % 2 else -1]:
        times[index] = _times_ns(engines[index].predict, rows, calls[index])
    return times


def _times_ns(predict: Callable[[Floats], Floats], inputs: Sequence[Floats], calls: int) -> list[int]:
    """The time of each call; of fewer calls where they take ten times the time that they were to fill.

    So a model whose threads wait for a core that others hold costs seconds, and not minutes.
    """
    times: list[int] = []
    began = perf_counter_ns()
    while len(times) < calls and perf_counter_ns() - began < _LONGEST * ROUND_NS:
        rows = inputs[len(times) % len(inputs)]
        before = perf_counter_ns()
        predict(rows)
        times.append(perf_counter_ns() - before)
    return times


def _one_row(race: _Race) -> list[Measurement]:
    return [
        replace(_over_rounds("latency.one_row", np.log(race.variant / 1e3), race), unit="us"),
        *_speedup("latency.speedup", race),
    ]


def _batch(race: _Race, count: int) -> list[Measurement]:
    return [
        replace(_over_rounds("throughput.batch", np.log(count * 1e9 / race.variant), race), unit="rows/s"),
        *_speedup("throughput.speedup", race),
    ]


def _speedup(name: str, race: _Race) -> list[Measurement]:
    if race.reference is None:
        return []
    return [replace(_over_rounds(name, np.log(race.reference / race.variant), race), unit="x")]


def _over_rounds(name: str, logs: Floats, race: _Race) -> Measurement:
    """The geometric mean over rounds, so that twice as fast and half as fast weigh the same.

    Its interval is that of the mean of the logarithms, so that it never reaches zero; se by the delta method.
    """
    value, se = math.exp(float(logs.mean())), float(logs.std(ddof=1)) / math.sqrt(len(logs))
    estimate = Estimate(value=value, se=value * se, dof=len(logs) - 1, method="geometric mean over rounds, t")
    found = interval(name, estimate, Sample(n_rows=race.rows, n_groups=len(logs), bounds=(0.0, ANY[1])))
    if found.se is None:
        return found
    half = student_quantile(0.5 + LEVEL / 2, estimate.dof) * se
    return replace(found, low=value * math.exp(-half), high=value * math.exp(half))
