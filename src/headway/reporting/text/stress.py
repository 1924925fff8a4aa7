"""How a model stands wrong inputs and attacks, in tables of few lines: of each kind, and by column, what is worst."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from headway.core.evidence import Measurement
from headway.reporting.text import words
from headway.reporting.text.sheets import Cell, Column, Line, Sheet, number_cell

MOST = 5
"""Columns of an attack that are shown."""


def of_kind(found: Sequence[Measurement], kind: str, name: str) -> list[Measurement]:
    """What was measured under `robustness.KIND.NAME`, the most harmful first."""
    return sorted((each for each in found if each.name == f"robustness.{kind}.{name}"), key=lambda each: -each.value)


def faults(found: Sequence[Measurement]) -> Sheet:
    """A line for each kind of fault that was measured: the alteration that costs most, and the one that is stood worst
    beside the model as it came."""
    told = [kind for kind in words.FAULTS if of_kind(found, kind, "excess")]
    rows = tuple(_line(found, kind) for kind in told)
    titles = ("What goes wrong", "Error added, at most", "Decisions it changes", "Error beside the model as it came")
    return Sheet(columns=tuple(Column(title=title) for title in titles), rows=rows)


def attacked(found: Sequence[Measurement]) -> Sheet:
    """The columns through which decisions are turned most easily, a line each, the easiest first."""
    alone = [each for each in found if each.name == "attack.column.success"]
    easiest = sorted(alone, key=lambda each: -each.value)[:MOST]
    beside = {each.slice: each for each in found if each.name == "attack.column.success.drop"}
    rows = tuple(
        (
            (Line(text=each.slice), Line(text="changed alone", mood="quiet")),
            number_cell(replace(each, slice="")),
            number_cell(replace(beside[each.slice], slice="")) if each.slice in beside else (),
        )
        for each in easiest
    )
    titles = ("Who changes", "Decisions that it turns", "Beside the model as it came")
    return Sheet(columns=tuple(Column(title=title) for title in titles), rows=rows)


def _line(found: Sequence[Measurement], kind: str) -> tuple[Cell, ...]:
    added = of_kind(found, kind, "excess")
    kinds = (Line(text=words.FAULTS[kind]), Line(text=f"worst of {len(added)}", mood="quiet"))
    others = (of_kind(found, kind, name) for name in ("changed_decisions", "drop"))
    return (kinds, number_cell(added[0]), *(number_cell(each[0]) if each else () for each in others))
