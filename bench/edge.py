"""Benchmark devices and browsers: exported C next to other generators, a fleet, split deployments, WebAssembly.

Each part is a module of bench/edge_rows/.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_rows import export, fleet, split, wasm
from harness import Result, run_parts

PARTS: dict[str, Callable[[], Result]] = {
    "export": export.rows,
    "fleet": fleet.rows,
    "split": split.rows,
    "wasm": wasm.rows,
}

if __name__ == "__main__":
    run_parts(__doc__, PARTS)
