"""Latency of one row and throughput of batches, in alternating rounds with the baseline at its best thread count."""

from __future__ import annotations

from msgspec.structs import replace

from headway.core.contracts import Engine
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement, TimedCall
from headway.evaluation.benchmark import TimedBaseline, TimedEngine, time_model
from headway.evaluation.context import Comparison
from headway.evaluation.machine_load import MachineBusy

ROUNDS, ATTEMPTS = 25, 3


def plugin(subject: Comparison) -> list[Measurement | MachineBusy]:
    """Measure `latency.one_row` (us), `throughput.batch` (rows/s) and the `.speedup` of each, in 25 rounds.

    On a busy machine a MachineBusy takes their place; the ratios of CPU time, `cost.cpu_s.one_row.speedup` and
    `cost.cpu_s.batch.speedup`, are always there. See `benchmark.time_model`. Raises NotApplicable without rows.
    """
    if not len(subject.rows):
        raise NotApplicable("the data has no rows to time")
    baseline = subject.timed() if subject.timed else as_opened(subject.reference)
    return time_model(
        subject.model, subject.rows, baseline=baseline, rounds=ROUNDS, limit_s=subject.timing_s, attempts=ATTEMPTS
    )


def as_opened(reference: Engine) -> TimedBaseline:
    """Return the baseline of an opened engine, timed by its own `predict`."""
    call = TimedCall(engine=type(reference).__name__.lower(), call="predict", input="array_row", rows=1)
    one_row, batch = (TimedEngine(engine=reference, call=replace(call, input=kind)) for kind in ("array_row", "batch"))
    return TimedBaseline(one_row=(one_row, one_row), batch=(batch, batch))
