"""Benchmark monitoring: drift detection, years of watching, retraining, the canary, rollback, a long history.

Each part is a module of bench/monitoring/.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from harness import Result, Row, run_parts
from monitoring import canary, drift, long_history, retraining, rollback, watch_year
from monitoring.flight_year import Year, load_year

year = cache(load_year)


def on_flights(rows: Callable[[Year], list[Row]]) -> Callable[[], Result]:
    """Wrap a part that reads the flights of a year, which all parts share."""
    return lambda: (rows(year()), [])


PARTS: dict[str, Callable[[], Result]] = {
    "drift": on_flights(drift.rows),
    "retraining": on_flights(retraining.rows),
    "canary": lambda: (canary.rows(), []),
    "canary_passes": lambda: (canary.passing_rows(), []),
    "rollback": rollback.rows,
    "history": long_history.rows,
    "watch": lambda: (watch_year.watch_rows(), []),
    "no_labels": lambda: (watch_year.no_label_rows(), []),
}

if __name__ == "__main__":
    run_parts(__doc__, PARTS)
