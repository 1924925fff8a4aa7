"""The row `avx2.lightgbm.batch256` of bench/optimize.py: the tree engine held to the form that AVX2 alone allows."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from harness import Row
from optimize_cache import Absent
from optimize_families import FAMILIES
from optimize_family import OURS, Found, ratio
from optimize_race import race
from optimize_trained import compiled

TARGET = 10
NAME = "avx2.lightgbm.batch256"


def rows(_: str) -> tuple[list[Row], list[str]]:
    """The row, or the sentence that says why there is none."""
    family = FAMILIES["lightgbm"]
    with tempfile.TemporaryDirectory() as kept:
        try:
            place = compiled(family.name, family.transforms, Path(kept))
        except Absent as reason:
            return [], [f"avx2: {reason}"]
        forced = replace(family.ours.of(OURS, place, family.rows), options={"level": "avx2"})
        timed, absent = race([family.one_thread.of("one thread", family.model, family.rows), forced])
    if OURS not in timed:
        return [], [f"avx2: {absent[OURS]}"]
    found = Found(family=family, timed=timed, absent=absent)
    row = ratio(found, "batch256", "batch256", target=TARGET, against=("one thread", f"{family.message} on one thread"))
    right = found.harm(OURS) <= family.bound
    return [replace(row, name=NAME, ok=row.ok and right)], [] if right else [f"{NAME}: answers move"]
