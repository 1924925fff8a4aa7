"""The families of bench/optimize.py whose targets hold where the CPU has AMX: `minilm`, of two lengths, and `ocr`.

Elsewhere their figures are shown without a target. What they may not do to answers holds on every CPU.
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
    """The rows of the part, of the slowest length where there are several, and sentences on what is absent."""
    made: list[list[Row]] = []
    said = []
    for family in FAMILIES.values():
        if family.name.partition(".")[0] == name:
            found, why = raced(family)
            made += [rows_of(found)] if found else []
            said += [*why, *(unlike(found) if found else [])]
            made[-1:] = [[*made[-1], *_refused(found)]] if found and name in JUDGED else made[-1:]
    both = [row for some in made for row in some]
    least = _least(name, made) if len(made) > 1 else []
    if has_amx():
        return [*both, *least], said
    said.append(f"{name}: shown without targets of speed: those are for CPUs that have AMX, and this one has none")
    return [_shown(row) for row in (*both, *least)], said


def _refused(found: Found) -> list[Row]:
    """How many forms in int8 headway's judge was shown, and refused; it may pass none."""
    int8: dict[str, str] = found.said.get("int8", {})
    why = [f"{name}: {reason or 'passed'}" for name, reason in int8.items()]
    refused = sum(bool(reason) for reason in int8.values())
    ok = 0 < refused == len(int8)
    target = f">= 1, none passed; {len(int8)} judged"
    name = f"{found.family.name}.int8_refused"
    return [Row(name=name, measured=refused, unit="", target=target, ok=ok, against="; ".join(why))]


def has_amx() -> bool:
    """Whether this CPU multiplies tiles."""
    return CPU.exists() and "amx_tile" in CPU.read_text("utf-8")


def _least(name: str, made: Sequence[Sequence[Row]]) -> list[Row]:
    """Of each figure that all lengths have, the least one, under the name of the part."""
    ends = [each.name.rpartition(".")[2] for each in made[0]]
    found = []
    for end in ends:
        alike = [row for some in made for row in some if row.name.endswith(f".{end}")]
        worst = min(alike, key=lambda row: row.measured)
        found.append(replace(worst, name=f"{name}.{end}", against=f"{worst.name}: {worst.against}"))
    return found


def _shown(row: Row) -> Row:
    is_ratio = row.name.rpartition(".")[2] in RATIOS
    return replace(row, target="shown", ok=True) if is_ratio else row
