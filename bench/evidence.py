"""Whether evidence keeps its promises: intervals, the gate, the slices that are found; each part is a file beside this.

usage: python bench/evidence.py [--json] [PART ...]
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from threadpoolctl import threadpool_limits

import evidence_ablation
import evidence_cost
import evidence_coverage
import evidence_gate
import evidence_repairs
import evidence_slices
from harness import Row, report

PARTS: dict[str, Callable[[], tuple[list[Row], list[str]]]] = {
    "coverage": evidence_coverage.rows,
    "cost": evidence_cost.rows,
    "gate": evidence_gate.rows,
    "repairs": evidence_repairs.rows,
    "slices": evidence_slices.rows,
    "ablation": evidence_ablation.rows,
}


def main() -> None:
    """Measure what was named, or all, and report."""
    asked = [each for each in sys.argv[1:] if not each.startswith("-")]
    strange = sorted(set(asked) - set(PARTS))
    if strange:
        raise SystemExit(f"no part named {strange[0]!r}; there are: {', '.join(PARTS)}")
    rows: list[Row] = []
    short: list[str] = []
    for name in asked or PARTS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        with threadpool_limits(1):
            found, fell = PARTS[name]()
        rows, short = [*rows, *found], [*short, *fell]
    report(rows, short)


if __name__ == "__main__":
    main()
