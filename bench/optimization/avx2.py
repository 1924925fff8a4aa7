"""The row `avx2.lightgbm.batch256` of bench/optimize.py: the tree engine restricted to AVX2."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from cache import Absent
from harness import Row
from optimization.families import FAMILIES
from optimization.family_rows import OURS, Found, ratio
from optimization.paired_timing import race
from optimization.preparation import compiled

TARGET = 10
NAME = "avx2.lightgbm.batch256"


def rows() -> tuple[list[Row], list[str]]:
    """Return the row, or a sentence that explains why there is none."""
    family = FAMILIES["lightgbm"]
    with tempfile.TemporaryDirectory() as directory:
        try:
            variant_dir = compiled(family.name, family.transforms, Path(directory))
        except Absent as reason:
            return [], [f"avx2: {reason}"]
        forced = replace(family.ours.of(OURS, variant_dir, family.rows), options={"level": "avx2"})
        timed, absent = race([family.one_thread.of("one thread", family.model, family.rows), forced])
    if OURS not in timed:
        return [], [f"avx2: {absent[OURS]}"]
    found = Found(family=family, timed=timed, absent=absent)
    row = ratio(found, "batch256", "batch256", target=TARGET, against=("one thread", f"{family.message} on one thread"))
    right = found.harm(OURS) <= family.bound
    return [replace(row, name=NAME, ok=row.ok and right)], [] if right else [f"{NAME}: answers move"]
