"""Benchmark the stores that machines share: one winner a round, nothing lost to kill -9, moves, reads and outages.

The servers are real, started by the benchmark in a temporary folder. Each part is a function of bench/store_rows/.
"""

from __future__ import annotations

from collections.abc import Callable

from harness import Result, run_parts
from store_rows import blobs, embedded, pointers, shared_servers

PARTS: dict[str, Callable[[], Result]] = {
    "pointer_cas": pointers.winners,
    "pointer_kills": pointers.lost,
    "pointer_reads": pointers.reads,
    "blob_creates": blobs.winners,
    "blob_kills": blobs.lost,
    "pointer_seconds": shared_servers.pointer_seconds,
    "outage": shared_servers.outage,
    "embedded": embedded.over_before,
}

if __name__ == "__main__":
    run_parts(__doc__, PARTS)
