"""How much faster headway answers than the model's own library and the best of its peers, family by family.

usage: python bench/optimize.py [--json] [PART ...]

Every caller is a process of its own on the same rows, timed in turns; a ratio is the median over the rounds. One row
is time of the clock, 256 rows are CPU time on one thread (of minilm and ocr 16 rows). The first run makes environments
for the peers and trains the models; both are kept outside the repository (optimize_cache.py).
"""

from __future__ import annotations

import sys

import optimize_amx
import optimize_avx2
import optimize_family
import optimize_pairs
import optimize_searched
from harness import Row, report
from optimize_families import FAMILIES

PARTS = {
    **dict.fromkeys((each.name for each in FAMILIES.values() if not each.needs_amx), optimize_family.rows),
    **dict.fromkeys(("minilm", "ocr"), optimize_amx.rows),
    "avx2": optimize_avx2.rows,
    "search": optimize_searched.rows,
    "never_worse": optimize_pairs.rows,
}


def main() -> None:
    """Measure what was named, or all, and report."""
    asked = [each for each in sys.argv[1:] if not each.startswith("-")]
    strange = sorted(set(asked) - set(PARTS))
    if strange:
        raise SystemExit(f"no part named {strange[0]!r}; there are: {', '.join(PARTS)}")
    rows: list[Row] = []
    short: list[str] = []
    for name in asked or PARTS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        found, fell = PARTS[name](name)
        rows, short = [*rows, *found], [*short, *fell]
    report(rows, short)


if __name__ == "__main__":
    main()
