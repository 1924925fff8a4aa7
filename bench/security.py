"""Benchmark security: attacks that are measured, scanned files, threats whose coverage is computed, compliance records.

Each part is a module of bench/security_rows/. `--data` names a folder with checkouts of picklescan, fickling and
modelscan.
"""

from __future__ import annotations

from collections.abc import Callable

from harness import Result, run_parts
from security_rows import admission, corpora, differential, evasion, extraction, record, scan, threats

PARTS: dict[str, Callable[[], Result]] = {
    "admission": admission.rows,
    "differential": differential.rows,
    "evasion": evasion.distances,
    "extraction": extraction.detector,
    "queries": extraction.queries,
    "record": record.rows,
    "scan": scan.rows,
    "threats": threats.rows,
}

if __name__ == "__main__":
    run_parts(__doc__, PARTS, read_data=corpora.read)
