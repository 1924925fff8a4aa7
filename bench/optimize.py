"""Benchmark optimized models against their own library and the newest peers, one family per part.

Every caller is a process of its own on the same rows, and callers are timed in turns; a ratio is the median over the
rounds. One row is wall-clock time, 256 rows are CPU time on one thread (16 rows for minilm and ocr). `peer_*` rows are
against the fastest peer whose predictions are right; the others, and what a peer cannot read, are named there.
`drop_in_*` rows compare the model that `headway.optimize` returns with the library for an array row and a DataFrame
row. The first run creates an environment for each peer and trains the models; both are stored outside the repository
(bench/cache.py).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from harness import Result, run_parts
from optimization import amx, avx2, family_rows, never_worse_rows, profile_rows, pruning_rows, search_rows, student_rows
from optimization.families import FAMILIES

PARTS: dict[str, Callable[[], Result]] = {
    **{name: partial(family_rows.rows, name) for name, family in FAMILIES.items() if not family.needs_amx},
    **{name: partial(amx.rows, name) for name in ("minilm", "ocr")},
    "avx2": avx2.rows,
    "profile": profile_rows.rows,
    "search": search_rows.rows,
    "pruning": pruning_rows.rows,
    "students": student_rows.rows,
    "never_worse": never_worse_rows.rows,
}

if __name__ == "__main__":
    run_parts(__doc__, PARTS)
