"""Latency of one row and throughput of batches, in alternating rounds with the baseline."""

from __future__ import annotations

from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.benchmark import time_model
from headway.evaluation.context import Comparison

ROUNDS = 25


def plugin(subject: Comparison) -> list[Measurement]:
    """Measure `latency.one_row` (us), `throughput.batch` (rows/s) and the `.speedup` of each, in 25 rounds.

    A slow model has fewer rounds, so that each of the two takes at most half of `timing_s`: its intervals are wider.
    See `benchmark.time_model`. Raises NotApplicable without rows.
    """
    if not len(subject.rows):
        raise NotApplicable("the data has no rows to time")
    return time_model(subject.model, subject.rows, reference=subject.reference, rounds=ROUNDS, limit_s=subject.timing_s)
