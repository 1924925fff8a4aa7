"""Benchmark devices: what they load from a fleet, what they refuse, and how soon a rollback reaches them.

Each part is a module of bench/edge_rows/.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_rows import fleet
from harness import Result, run_parts

PARTS: dict[str, Callable[[], Result]] = {"fleet": fleet.rows}

if __name__ == "__main__":
    run_parts(__doc__, PARTS)
