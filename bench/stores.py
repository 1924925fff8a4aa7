"""Benchmark the stores that machines share: one winner a round, nothing lost to kill -9, and reads of pointers.

The servers are real, started by the benchmark in a temporary folder. Each part is a function of bench/store_rows/.
"""

from __future__ import annotations

from collections.abc import Callable

from harness import Result, run_parts
from store_rows import blobs, pointers

PARTS: dict[str, Callable[[], Result]] = {
    "pointer_cas": pointers.winners,
    "pointer_kills": pointers.lost,
    "pointer_reads": pointers.reads,
    "blob_creates": blobs.winners,
    "blob_kills": blobs.lost,
}

if __name__ == "__main__":
    run_parts(__doc__, PARTS)
