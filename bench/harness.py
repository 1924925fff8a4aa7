"""What every benchmark prints: a readable table, or with --json one object of machine, rows and what fell short."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass

import msgspec

from headway.evaluation.measure import this_machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure: `measured` is a number (a count as it is, yes and no as 1 and 0); `against` says what it beats."""

    name: str
    measured: float
    unit: str
    target: str
    ok: bool
    against: str = ""


def shown(name: str, measured: float, unit: str, against: str = "") -> Row:
    """A figure that has no target: it is shown beside one that has."""
    return Row(name=name, measured=measured, unit=unit, target="shown", ok=True, against=against)


Found = tuple[list[Row], list[str]]
"""The rows of a part of a benchmark, and sentences on what of it fell short."""


def measure(parts: Collection[str], ask: Callable[[str], Found]) -> None:
    """Ask the parts that the command line names, or all, one after the other, and report."""
    asked = [each for each in sys.argv[1:] if not each.startswith("-")]
    strange = sorted(set(asked) - set(parts))
    if strange:
        raise SystemExit(f"no part named {strange[0]!r}; there are: {', '.join(parts)}")
    rows: list[Row] = []
    short: list[str] = []
    for name in asked or parts:
        print(f"{name} ...", file=sys.stderr, flush=True)
        found, fell = ask(name)
        rows, short = [*rows, *found], [*short, *fell]
    report(rows, short)


def report(rows: Sequence[Row], fell_short: Sequence[str] = ()) -> None:
    """Print the rows; a row that is not ok has fallen short, and `fell_short` adds sentences of the benchmark's own."""
    short = [*(f"{row.name} is {row.measured:.4g} {row.unit}".strip() for row in rows if not row.ok), *fell_short]
    machine = msgspec.to_builtins(this_machine())
    if "--json" in sys.argv[1:]:
        print(json.dumps({"machine": machine, "rows": [asdict(row) for row in rows], "fell_short": short}))
        return
    for sentence in fell_short:
        print("short", sentence)
    for row in rows:
        mark, against = "ok   " if row.ok else "short", f"  (against {row.against})" if row.against else ""
        print(f"{mark} {row.name:<40} {row.measured:>12,.4g} {row.unit:<8} target {row.target}{against}")
    print("machine:", ", ".join(f"{key} {value}" for key, value in machine.items()))
