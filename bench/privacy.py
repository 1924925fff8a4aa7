"""Benchmark privacy audits: planted leaks found, clean models not accused, coverage of intervals, and time.

sacroml's offline LiRA attacks the same model on the same rows, in an environment of its own (bench/cache.py).
"""

from __future__ import annotations

from collections.abc import Callable

from harness import Result, run_parts
from privacy_rows import clean, coverage, planted, seconds

PARTS: dict[str, Callable[[], Result]] = {
    "planted": planted.rows,
    "clean": clean.rows,
    "coverage": coverage.rows,
    "seconds": seconds.rows,
}

if __name__ == "__main__":
    run_parts(__doc__, PARTS)
