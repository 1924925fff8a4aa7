"""The rows `profile.*` of bench/optimize.py: where the time of one row goes, for the LightGBM model.

The engine answers with the first trees of the model alone, in turns with all of them: a straight line through its times
by the number of trees has the time of a tree as its slope, and where it begins is what a row costs without trees: the
call from Python, the checks, and the search of its values among the thresholds.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from cache import Absent
from harness import Result, Row, shown
from headway.core.arrays import Floats
from optimization.families import FAMILIES, on_frames
from optimization.family_rows import DROP_IN, FRAME
from optimization.paired_timing import Timed, race
from optimization.preparation import compiled

COUNTS = (100, 200, 300, 400, 500)
LEVELS = ("avx2", "portable")
TINY = {"COUNTS": (1, 2, 3, 4, 5)}


def rows() -> Result:
    """Return the rows, or a sentence that explains why there are none."""
    family = FAMILIES["lightgbm"]
    with tempfile.TemporaryDirectory() as folder:
        try:
            paths = {n: compiled(family.name, ("trees",), Path(folder) / str(n), trees=n) for n in COUNTS}
        except Absent as reason:
            return [], [f"profile: {reason}"]
        callers = [family.ours.of(str(n), path, family.rows) for n, path in paths.items()]
        best = replace(callers[-1], judged=False)
        drop_in = replace(best, name=DROP_IN, call="of_headway:drop_in")
        others = [replace(best, name=level, options={"level": level}) for level in LEVELS]
        timed, absent = race([*callers, *others, drop_in, on_frames(drop_in)])
    short = [f"profile: {name}: {reason}" for name, reason in absent.items()]
    return (_rows(timed), short) if all(str(n) in timed for n in COUNTS) else ([], short)


def _rows(timed: dict[str, Timed]) -> list[Row]:
    times = np.array([timed[str(n)].one_row for n in COUNTS])
    starts, slopes = np.polynomial.polynomial.polyfit(COUNTS, times, 1)
    made = [
        _row("engine_us", "us", times[-1], f"{COUNTS[-1]} trees, the engine called from Python"),
        _row("without_trees_us", "us", starts, "call, checks, search of the values among the thresholds"),
        _row("tree_ns", "ns", 1e3 * slopes, "each tree"),
    ]
    for level in LEVELS:
        if level in timed:
            made.append(_row(level, "x", timed[level].one_row / times[-1], "the time of the best level"))
    for name, caller in (("drop_in_us", DROP_IN), ("frame_us", DROP_IN + FRAME)):
        if caller in timed:
            made.append(_row(name, "us", timed[caller].one_row - times[-1], f"more than the engine: {caller}"))
    return made


def _row(name: str, unit: str, values: Floats, message: str) -> Row:
    note = f"{message}; rounds {values.min():.3g} to {values.max():.3g}"
    return shown(f"profile.{name}", float(np.median(values)), unit, note)
