"""Benchmark what a person reads first: speed headlines, decisions, floors, budgets and proposals must be true.

The models, tables and streams took no part in the development of headway. Each part is a module of bench/trust_rows/.
"""

from __future__ import annotations

from collections.abc import Callable

from harness import Result, run_parts
from trust_rows import decisions, floors, init, poison, search, speed

PARTS: dict[str, Callable[[], Result]] = {
    "decisions": decisions.rows,
    "floors": floors.floors,
    "init": init.rows,
    "poison": poison.rows,
    "search": search.budget,
    "small_tables": search.small,
    "speed": speed.rows,
}

if __name__ == "__main__":
    run_parts(__doc__, PARTS)
