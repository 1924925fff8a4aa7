"""How a model stands wrong inputs, as a table of few lines: of each kind, what costs most."""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.evidence import Measurement
from headway.face import words
from headway.face.sheets import Cell, Column, Line, Sheet, number_cell


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


def _line(found: Sequence[Measurement], kind: str) -> tuple[Cell, ...]:
    added = of_kind(found, kind, "excess")
    kinds = (Line(text=words.FAULTS[kind]), Line(text=f"worst of {len(added)}", mood="quiet"))
    others = (of_kind(found, kind, name) for name in ("changed_decisions", "loss"))
    return (kinds, number_cell(added[0]), *(number_cell(each[0]) if each else () for each in others))
