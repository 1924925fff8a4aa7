"""The rows `search.lightgbm.*` of bench/optimize.py: what `headway.optimize` finds in its 60 seconds."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from cache import Absent
from harness import Row, shown
from optimization.families import FAMILIES, KINDS, Family
from optimization.family_rows import BATCH, OURS, Found, ratio
from optimization.paired_timing import race
from optimization.preparation import searched

TARGETS = {"one_row": 100, "batch256": 60}
BUDGET_S, GRACE_S = 60, 6


def rows() -> tuple[list[Row], list[str]]:
    """Return the two rows and the time of the search, or a sentence that explains why there are none."""
    family = FAMILIES["lightgbm"]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        try:
            search = searched({**family.order, "data": [*family.order["data"], str(_dates(family))]}, directory)
            ours = [family.ours.of(OURS, directory / "one_row", family.rows)]
            ours.append(family.ours.of(BATCH, directory / "batch256", family.rows))
            library = [caller for caller in family.callers() if caller.name not in family.peers]
            timed, absent = race([*library, *ours])
        except Absent as reason:
            return [], [f"search: {reason}"]
    if OURS not in timed or BATCH not in timed:
        return [], [f"search: {absent}"]
    found = Found(family=family, timed=timed, absent=absent)
    against = {"one_row": found.called(), "batch256": ("one thread", f"{family.message} on one thread")}
    made = []
    for kind in KINDS:
        row = ratio(found, kind, kind, target=TARGETS[kind], against=against[kind])
        won = f"{row.against}; found: {search[kind]}"
        made.append(replace(row, name=f"search.lightgbm.{kind}", against=won))
    seconds = shown("search.lightgbm.seconds", search["seconds"], "s", "the budget")
    in_time = search["seconds"] <= BUDGET_S + GRACE_S
    return [*made, replace(seconds, target=f"<= {BUDGET_S + GRACE_S}", ok=in_time)], []


def _dates(family: Family) -> Path:
    return family.rows.with_name("test-date.npy")
