"""The families of bench/optimize.py that are measured where the CPU has AMX alone: `minilm` and `ocr`."""

from __future__ import annotations

from pathlib import Path

from harness import Row

CPU = Path("/proc/cpuinfo")


def rows(name: str) -> tuple[list[Row], list[str]]:
    """No row, and the sentence that says why."""
    if CPU.exists() and "amx_tile" in CPU.read_text("utf-8"):
        return [], [f"{name}: this CPU has AMX, and bench/optimize.py does not measure {name} yet"]
    return [], [f"{name}: not measured, as this CPU has no AMX"]
