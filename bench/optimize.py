"""How much faster headway answers than the model's own library and the best of its peers, family by family.

usage: python bench/optimize.py [--json] [PART ...]

Every caller is a process of its own on the same rows, timed in turns; a ratio is the median over the rounds. One row
is time of the clock, 256 rows are CPU time on one thread (of minilm and ocr 16 rows). The first run makes environments
for the peers and trains the models; both are kept outside the repository (optimize_cache.py).
"""

from __future__ import annotations

import optimize_amx
import optimize_avx2
import optimize_family
import optimize_pairs
import optimize_searched
from harness import measure
from optimize_families import FAMILIES

PARTS = {
    **dict.fromkeys((each.name for each in FAMILIES.values() if not each.needs_amx), optimize_family.rows),
    **dict.fromkeys(("minilm", "ocr"), optimize_amx.rows),
    "avx2": optimize_avx2.rows,
    "search": optimize_searched.rows,
    "never_worse": optimize_pairs.rows,
}


if __name__ == "__main__":
    measure(PARTS, lambda name: PARTS[name](name))
