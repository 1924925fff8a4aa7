"""A drill as a table: what was broken, what the policy said of it, by which rule, and whether that held."""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.drill import Drill
from headway.reporting.text.sheets import MARKS, Cell, Column, Line, Sheet, number_cell
from headway.reporting.text.tables import Laid
from headway.reporting.text.words import limit


def drill_table(found: Sequence[Drill]) -> Laid:
    """A line for each model that was broken on purpose, and one for the copy that was not."""
    titles = ("What was done", "Answer", "By the rule", "Measured", "The gate")
    columns = (*(Column(title=title, folds=title == "What was done") for title in titles), _words())
    return Laid(Sheet(columns=columns, rows=tuple(_row(each) for each in found)))


def _words() -> Column:
    return Column(title="In the judge's words", folds=True)


def _row(drill: Drill) -> tuple[Cell, ...]:
    said = (Line(text=drill.message, mood="quiet"), *((Line(text=drill.hint),) if drill.hint else ()))
    if drill.verdict is None:
        return ((Line(text=drill.what),), (Line(text="not tried", mood="quiet"),), (), (), (), said)
    answer = drill.verdict.answer
    rule = drill.ruling.rule if drill.ruling else None
    by = (Line(text=rule.measure), Line(text=limit(rule), mood="quiet")) if rule else ()
    measured = number_cell(drill.ruling.measurement) if drill.ruling and drill.ruling.measurement else ()
    held = Line(text="held" if drill.held else "did not hold", mood="pass" if drill.held else "fail")
    return ((Line(text=drill.what),), (Line(text=MARKS[answer], mood=answer),), by, measured, (held,), said)
