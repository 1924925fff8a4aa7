"""Benchmark the work on data: checks, contract, labels, leakage, personal data and fingerprints.

Each part is a module of bench/data_checks/.
"""

from __future__ import annotations

from collections.abc import Callable

from threadpoolctl import threadpool_limits

from data_checks import check, contract, fingerprint, foreign, imbalance, labels, leakage, moved, personal, poison
from harness import Result, run_parts

PARTS: dict[str, Callable[[], Result]] = {
    "check": check.rows,
    "contract": contract.rows,
    "labels": labels.rows,
    "imbalance": imbalance.rows,
    "poison": poison.rows,
    "moved": moved.rows,
    "leakage": leakage.rows,
    "personal": personal.rows,
    "fingerprint": fingerprint.rows,
    "foreign": foreign.rows,
}

if __name__ == "__main__":
    with threadpool_limits(1):
        run_parts(__doc__, PARTS)
