"""Benchmark models on devices: size, equality and speed of an exported model as C, next to other generators of C.

Each part is a module of bench/edge_rows/.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_rows import export
from harness import Result, run_parts

PARTS: dict[str, Callable[[], Result]] = {"export": export.rows}

if __name__ == "__main__":
    run_parts(__doc__, PARTS)
