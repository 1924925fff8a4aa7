"""Whether data are looked at soundly and soon: checks, contract, fingerprint, labels; each part is a file beside this.

usage: python bench/data.py [--json] [PART ...]
"""

from __future__ import annotations

from collections.abc import Callable

from threadpoolctl import threadpool_limits

import data_check
import data_contract
import data_fingerprint
import data_imbalance
import data_labels
import data_leakage
import data_moved
import data_personal
import data_poison
from harness import Found, measure

PARTS: dict[str, Callable[[], Found]] = {
    "check": data_check.rows,
    "contract": data_contract.rows,
    "labels": data_labels.rows,
    "imbalance": data_imbalance.rows,
    "poison": data_poison.rows,
    "moved": data_moved.rows,
    "leakage": data_leakage.rows,
    "personal": data_personal.rows,
    "fingerprint": data_fingerprint.rows,
}


def ask(name: str) -> Found:
    """A part, on one thread."""
    with threadpool_limits(1):
        return PARTS[name]()


if __name__ == "__main__":
    measure(PARTS, ask)
