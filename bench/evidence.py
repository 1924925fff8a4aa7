"""Whether evidence keeps its promises: intervals, the gate, the slices that are found; each part is a file beside this.

usage: python bench/evidence.py [--json] [PART ...]
"""

from __future__ import annotations

from collections.abc import Callable

from threadpoolctl import threadpool_limits

import evidence_ablation
import evidence_attack
import evidence_cost
import evidence_coverage
import evidence_evaluate
import evidence_gate
import evidence_repairs
import evidence_slices
from harness import Found, measure

PARTS: dict[str, Callable[[], Found]] = {
    "coverage": evidence_coverage.rows,
    "cost": evidence_cost.rows,
    "gate": evidence_gate.rows,
    "repairs": evidence_repairs.rows,
    "slices": evidence_slices.rows,
    "ablation": evidence_ablation.rows,
    "attack": evidence_attack.rows,
    "evaluate": evidence_evaluate.rows,
}


def ask(name: str) -> Found:
    """A part, on one thread."""
    with threadpool_limits(1):
        return PARTS[name]()


if __name__ == "__main__":
    measure(PARTS, ask)
