"""Benchmark the feature store: joins on the flights next to Feast, windows over events next to DuckDB and polars.

Each part is a function of bench/feature_rows/. Feast runs in an environment of its own, in the same run.
"""

from __future__ import annotations

from collections.abc import Callable

from feature_rows import cascades, interop, joins, lookups, online, replay, tiles
from harness import Result, run_parts

PARTS: dict[str, Callable[[], Result]] = {
    "join_seconds": joins.seconds,
    "join_three_views": joins.three_views,
    "join_rows_lost": joins.rows_lost,
    "tiles_speed": tiles.speed,
    "tiles_exactness": tiles.exactness,
    "tiles_online": tiles.online,
    "online_sqlite": online.sqlite,
    "online_redis": online.redis,
    "online_feast": online.feast,
    "online_windows": online.windows,
    "push": online.push,
    "push_over_http": lookups.pushed,
    "materialise_killed": online.materialise_killed,
    "replay": replay.rows,
    "interop_same_values": interop.same_values,
    "serve_with_features": lookups.served,
    "serve_with_windows": lookups.windowed,
    "cascade_deferred": cascades.deferred,
}

if __name__ == "__main__":
    run_parts(__doc__, PARTS)
