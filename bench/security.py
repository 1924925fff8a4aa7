"""Benchmark security: attacks that are measured, files that are scanned, and threats whose coverage is computed, and
the compliance record.

Each part is a module of bench/security_rows/.
"""

from __future__ import annotations

from collections.abc import Callable

from harness import Result, run_parts
from security_rows import evasion, extraction, record, threats

PARTS: dict[str, Callable[[], Result]] = {
    "evasion": evasion.distances,
    "extraction": extraction.detector,
    "queries": extraction.queries,
    "record": record.rows,
    "threats": threats.rows,
}

if __name__ == "__main__":
    run_parts(__doc__, PARTS)
