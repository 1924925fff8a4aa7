"""Benchmark the feature store on the flights of 2013: point-in-time joins, compared with Feast on DuckDB.

Each part is a function of bench/feature_rows/. Feast runs in an environment of its own, in the same run.
"""

from __future__ import annotations

from collections.abc import Callable

from feature_rows import joins
from harness import Result, run_parts

PARTS: dict[str, Callable[[], Result]] = {
    "join_seconds": joins.seconds,
    "join_three_views": joins.three_views,
    "join_rows_lost": joins.rows_lost,
}

if __name__ == "__main__":
    run_parts(__doc__, PARTS)
