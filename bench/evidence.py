"""Benchmark the evaluation: coverage of intervals, the gate, slices, repairs, ablation and attacks.

Each part is a module of bench/evaluation/.
"""

from __future__ import annotations

from collections.abc import Callable

from threadpoolctl import threadpool_limits

from evaluation import ablation, attack, cost, coverage, coverage_edge, evaluate, gate, repairs, slices
from harness import Result, run_parts

PARTS: dict[str, Callable[[], Result]] = {
    "coverage": coverage.rows,
    "coverage_edge": coverage_edge.rows,
    "cost": cost.rows,
    "gate": gate.rows,
    "repairs": repairs.rows,
    "slices": slices.rows,
    "ablation": ablation.rows,
    "attack": attack.rows,
    "evaluate": evaluate.rows,
}

if __name__ == "__main__":
    with threadpool_limits(1):
        run_parts(__doc__, PARTS)
