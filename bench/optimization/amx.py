"""The families of bench/optimize.py whose targets need a CPU with AMX: `minilm`, of two lengths, and `ocr`.

On other CPUs their figures are shown without a target. The bounds on changed predictions hold on every CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness import Row
from optimization.families import FAMILIES
from optimization.family_rows import Found, raced, rows_of, unlike

CPU = Path("/proc/cpuinfo")
RATIOS = ("one_row", "batch256", "peer_one_row", "peer_batch256")
JUDGED = ("ocr",)


def rows(name: str) -> tuple[list[Row], list[str]]:
    """Return the rows of the part, of the slowest length if there are several, and sentences on what is absent."""
    made: list[list[Row]] = []
    sentences = []
    for family in FAMILIES.values():
        if family.name.partition(".")[0] == name:
            found, why = raced(family)
            made += [rows_of(found)] if found else []
            sentences += [*why, *(unlike(found) if found else [])]
            made[-1:] = [[*made[-1], *_refused(found)]] if found and name in JUDGED else made[-1:]
    both = [row for some in made for row in some]
    worst_rows = _worst_rows(name, made) if len(made) > 1 else []
    if has_amx():
        return [*both, *worst_rows], sentences
    sentences.append(f"{name}: shown without targets of speed: those are for CPUs that have AMX, and this one has none")
    return [_shown(row) for row in (*both, *worst_rows)], sentences


def _refused(found: Found) -> list[Row]:
    """Count the int8 variants that headway evaluated and rejected; it may pass none."""
    int8: dict[str, str] = found.search.get("int8", {})
    why = [f"{name}: {reason or 'passed'}" for name, reason in int8.items()]
    refused = sum(bool(reason) for reason in int8.values())
    ok = 0 < refused == len(int8)
    target = f">= 1, none passed; {len(int8)} judged"
    name = f"{found.family.name}.int8_refused"
    return [Row(name=name, measured=refused, unit="", target=target, ok=ok, against="; ".join(why))]


def has_amx() -> bool:
    """Return whether this CPU has AMX tiles."""
    return CPU.exists() and "amx_tile" in CPU.read_text("utf-8")


def _worst_rows(name: str, made: Sequence[Sequence[Row]]) -> list[Row]:
    """Return the smallest of each figure over all lengths, under the name of the part."""
    ends = [row.name.rpartition(".")[2] for row in made[0]]
    found = []
    for end in ends:
        same_kind = [row for some in made for row in some if row.name.endswith(f".{end}")]
        worst = min(same_kind, key=lambda row: row.measured)
        found.append(replace(worst, name=f"{name}.{end}", against=f"{worst.name}: {worst.against}"))
    return found


def _shown(row: Row) -> Row:
    is_ratio = row.name.rpartition(".")[2] in RATIOS
    return replace(row, target="shown", ok=True) if is_ratio else row
