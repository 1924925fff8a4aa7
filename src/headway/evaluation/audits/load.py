"""Load test of a server of the variant: one caller, steady, bursts, ramp; start-up, batches and memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Floats
from headway.core.contracts import Trial
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.core.threads import cores
from headway.evaluation.context import AuditContext, Comparison
from headway.evaluation.load_generator import LOAD_SHAPES, LoadCall, LoadGenerator, LoadRun, arrival_times
from headway.evaluation.statistics.intervals import UNBOUNDED, Sample, exact_measurement, ratio_of_sums, t_interval
from headway.evaluation.statistics.percentiles import median_interval, min_sample_size, percentile_interval

STARTS = min_sample_size(0.5)
TEXTS, LINES, BATCH_ROWS = 64, 64, 256
PART, CLOSED_PART = 0.15, 0.05
"""The share of the budget that each open and each closed loop has; the starts have what is left of it.

A closed loop sends as fast as it is answered, so it has many more requests in the same time.
"""
BUCKETS, BUSY, OWN = 40, 0.9, 0.5
TOLERANCE = 1e-6
Found = list[Measurement | NotApplicable]


def plugin(subject: Comparison, context: AuditContext) -> Found:
    """Load a server of the variant, and measure latency, throughput, start-up time and memory.

    Measures:

    - `load.p50_ms` and `load.p99_ms` at `[evaluate] rate_per_s`; the same as `load.bursts.*`, `load.ramp.*` and, for
      one caller in a closed loop, `load.alone.*`.
    - `load.rows_per_s`: rows per second in batches, closed loop.
    - `load.start_s`: time from starting the process to its first right answer.
    - `load.memory_mb`: memory of all processes (PSS); `load.memory_without_model_mb` without the model file.
    - `load.failed`: requests without a right answer.

    A figure that the load generator itself distorted is not reported.

    Raises
    ------
    NotApplicable
        If no server can be started, or the data has no rows.
    """
    if context.serve is None:
        raise NotApplicable("no server is known for the variant", hint="headway evaluate")
    if not len(subject.rows):
        raise NotApplicable("the data has no rows")
    until = monotonic() + context.budget_s
    with context.serve(subject.variant) as trial:
        starts = [_first_answer(subject, trial)]
        found = _Runs(subject, trial, context).all()
    while len(starts) < STARTS and monotonic() < until:
        with context.serve(subject.variant) as trial:
            starts.append(_first_answer(subject, trial))
    return [*_or_reason(partial(_start, starts)), *found]


class _Runs:
    """The load runs against one server, and the failures in them."""

    def __init__(self, subject: Comparison, trial: Trial, context: AuditContext) -> None:
        self._subject, self._trial = subject, trial
        self._seconds, self._rate = context.budget_s * PART, context.rate_per_s
        self._requests, self._failed = 0, 0

    def all(self) -> Found:
        """Run every shape of load, then measure memory and failures."""
        shapes = [measurement for shape in LOAD_SHAPES for measurement in self.shape(shape)]
        return [*shapes, *self.alone(), *self.batches(), *self.memory(), self.failures()]

    def alone(self) -> Found:
        """Measure one caller in a closed loop, one row per request."""
        run = self._closed(1, connections=1)
        return [
            measurement
            for share in (0.5, 0.99)
            for measurement in _or_reason(partial(_latency, "load.alone", run, share))
        ]

    def batches(self) -> Found:
        """Measure the throughput in batches with two callers per core."""
        run = self._closed(BATCH_ROWS, connections=2 * cores())
        return _or_reason(partial(_rows_per_s, run))

    def shape(self, shape: str) -> Found:
        """Measure an open loop: requests do not wait for the answers of others."""
        requests, answers = _requests_for(self._subject, self._trial, 1)
        times = arrival_times(shape, rate_per_s=self._rate, seconds=self._seconds)
        with closing(LoadGenerator(self._trial, requests, connections=LINES)) as caller:
            run = caller.open_loop(times.tolist())
        self._count(run, answers)
        name = "load" if shape == "steady" else f"load.{shape}"
        return [measurement for share in (0.5, 0.99) for measurement in _or_reason(partial(_latency, name, run, share))]

    def memory(self) -> Found:
        """Measure the memory of all processes, shared pages counted once."""
        return _or_reason(partial(_memory, self._trial, self._subject.variant.artifact.size_bytes, self._requests))

    def failures(self) -> Measurement:
        """Count the requests of all runs without a right answer."""
        how = "requests of all runs rejected, answered wrong or not at all"
        return exact_measurement("load.failed", float(self._failed), n_rows=self._requests, method=how)

    def _closed(self, rows: int, *, connections: int) -> LoadRun:
        requests, answers = _requests_for(self._subject, self._trial, rows)
        with closing(LoadGenerator(self._trial, requests, connections=connections)) as caller:
            run = caller.closed_loop(self._seconds * CLOSED_PART / PART)
        self._count(run, answers)
        return run

    def _count(self, run: LoadRun, answers: Sequence[Floats]) -> None:
        """Count failures; a call without a right answer gets an infinite latency."""
        is_right: dict[tuple[int, bytes], bool] = {}
        for call in run.calls:
            known = (call.request, call.body)
            if known not in is_right:
                is_right[known] = _is_right(call, answers[call.request], self._trial)
            call.done_s = call.done_s if is_right[known] else math.inf
        self._requests += len(run.calls)
        self._failed += sum(math.isinf(call.done_s) for call in run.calls)


def _requests_for(subject: Comparison, trial: Trial, rows: int) -> tuple[list[bytes], list[Floats]]:
    """Return encoded requests for rows spread over the table, and the variant's own answers to them."""
    count = TEXTS if rows == 1 else 4
    parts = np.array_split(np.linspace(0, len(subject.rows) - 1, count * rows).astype(np.int64), count)
    return [trial.request(subject.select(subject.rows[part])) for part in parts], [
        subject.model.predict(subject.rows[p]) for p in parts
    ]


def _is_right(call: LoadCall, expected: Floats, trial: Trial) -> bool:
    if call.status != 200:
        return False
    answers = trial.answers(call.body)
    return answers.size == expected.size and np.allclose(
        answers, expected.ravel(), rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True
    )


def _first_answer(subject: Comparison, trial: Trial) -> float:
    """Return the seconds from the start of the process to its first answer; infinite if that is wrong."""
    with closing(LoadGenerator(trial, [trial.request(subject.select(subject.rows[:1]))], connections=1)) as caller:
        (call,) = caller.open_loop([0.0]).calls
    seconds = perf_counter() - trial.began_s
    return seconds if _is_right(call, subject.model.predict(subject.rows[:1]), trial) else math.inf


def _or_reason(measure: Callable[[], Measurement | Found]) -> Found:
    """Return the measurements, or the reason why there are none."""
    try:
        found = measure()
    except NotApplicable as error:
        return [error]
    return found if isinstance(found, list) else [found]


def _start(starts: Sequence[float]) -> Measurement:
    return replace(median_interval("load.start_s", np.array(starts), of="starts"), unit="s")


def _latency(name: str, run: LoadRun, share: float) -> Measurement:
    """Return a percentile of the latency; raise NotApplicable if the load generator was too busy or too late."""
    what = f"{name}.p{share * 100:.0f}_ms"
    _expect_idle(what, run)
    times = np.array([(call.done_s - call.due_s) * 1e3 for call in run.calls])
    bucket_s = _bucket_s(run)
    buckets = np.array([int(call.due_s / bucket_s) for call in run.calls], dtype=np.int64)
    found = percentile_interval(what, times, buckets, share)
    own = float(np.quantile([call.late_s * 1e3 for call in run.calls], share))
    if own > OWN * found.value:
        raise NotApplicable(
            f"{what} is not reported: the load generator itself was {own:.2g} ms late, of {found.value:.2g} ms",
            hint="measure on a machine with free cores, or at a lower [evaluate] rate_per_s",
        )
    return replace(found, unit="ms", method=f"{found.method}; {own:.2g} ms of it by the load generator")


def _bucket_s(run: LoadRun) -> float:
    """Return the length of a time bucket, s: a fortieth of the run."""
    return max((call.due_s for call in run.calls), default=0.0) / BUCKETS or 1.0


def _rows_per_s(run: LoadRun) -> Measurement:
    """Return the throughput over completed time buckets."""
    _expect_idle("load.rows_per_s", run)
    done = np.array([call.done_s for call in run.calls if not math.isinf(call.done_s)])
    if not len(done):
        raise NotApplicable("load.rows_per_s is unknown: no batch had a right answer")
    bucket_s = _bucket_s(run)
    batches = np.bincount((done / bucket_s).astype(np.int64), minlength=BUCKETS)[:BUCKETS]
    rows = (batches * BATCH_ROWS).astype(np.float64)
    estimate = ratio_of_sums(rows[None], np.full((1, BUCKETS), bucket_s))[0]
    sample = Sample(n_rows=int(rows.sum()), n_groups=BUCKETS, bounds=(0.0, UNBOUNDED[1]))
    return replace(t_interval("load.rows_per_s", estimate, sample), unit="rows/s")


def _expect_idle(what: str, run: LoadRun) -> None:
    if run.busy > BUSY:
        raise NotApplicable(
            f"{what} is not reported: the load generator used {run.busy:.0%} of a core, so it is the bottleneck",
            hint="use a load generator in another language",
        )


def _memory(trial: Trial, model_bytes: int, requests: int) -> Found:
    """Sum the proportional set sizes of all processes; raise NotApplicable if the system does not report them."""
    held_kb = 0
    try:
        for process in _processes(trial.process):
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            held_kb += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except OSError as error:
        raise NotApplicable(f"load.memory_mb is unknown: {error.strerror}") from error
    held = held_kb / 1024
    total = exact_measurement("load.memory_mb", held, n_rows=requests, method="PSS of all processes after the load")
    without_model = max(held - model_bytes / 2**20, 0.0)
    how = "PSS of all processes after the load, less the file of the model"
    return [
        replace(total, unit="MB"),
        replace(
            exact_measurement("load.memory_without_model_mb", without_model, n_rows=requests, method=how), unit="MB"
        ),
    ]


def _processes(process: int) -> list[int]:
    """Return the ids of a process and its descendants."""
    found = [process]
    for pid in found:
        found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return found
