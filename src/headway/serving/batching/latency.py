"""How long a model takes for so many rows, by what was measured."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headway.core.contracts import Engine, Floats

_TRIES = 3
_FEW_ROWS = 8
_STEP = 1.05


class LatencyEstimator:
    """The time of a small batch, and of a row of a large one, in nanoseconds; a batch takes the larger of both.

    Both follow the median of what is met, a step at a time: a batch that waited for its core moves them no further.
    """

    def __init__(self, few_ns: float, row_ns: float) -> None:
        self._few_ns = few_ns
        self._row_ns = row_ns

    @classmethod
    def of(cls, engine: Engine, rows: Floats) -> LatencyEstimator:
        """As an engine answers these rows alone and together, each at the best of a few tries."""
        return cls(_best_ns(engine, rows[:1]), _best_ns(engine, rows) / len(rows))

    def add(self, rows: int, took_ns: int) -> None:
        """Learn from a batch."""
        if rows < _FEW_ROWS:
            self._few_ns *= _STEP if took_ns > self._few_ns else 1 / _STEP
        else:
            self._row_ns *= _STEP if took_ns > rows * self._row_ns else 1 / _STEP

    def expected_ns(self, rows: int) -> float:
        """What a batch of so many rows will take."""
        return max(self._few_ns, rows * self._row_ns)


def _best_ns(engine: Engine, rows: Floats) -> int:
    times = []
    for _ in range(_TRIES):
        began = time.perf_counter_ns()
        engine.predict(rows)
        times.append(time.perf_counter_ns() - began)
    return min(times)
