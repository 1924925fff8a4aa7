"""How fast the variant answers one row and a batch, timed side by side with the model as it came."""

from __future__ import annotations

from headway.core.contracts import Comparison
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.benchmark import time_model

ROUNDS = 25


def plugin(subject: Comparison) -> list[Measurement]:
    """`latency.one_row` (us), `latency.speedup`, `throughput.batch` (rows/s at up to 256 rows), `throughput.speedup`.

    In 25 rounds (`race.timed`). Raises NotApplicable where there is no row to time.
    """
    if not len(subject.rows):
        raise NotApplicable("there are no rows to time")
    return time_model(subject.model, subject.rows, reference=subject.reference, rounds=ROUNDS)
