"""How a model stands wrong inputs and attacks, in tables of few lines: of each kind, and by column, what is worst."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from headway.core.evidence import Measurement
from headway.reporting.text import words
from headway.reporting.text.sheets import Cell, Column, Line, Table, measurement_cell

MOST = 5
"""Columns of an attack that are shown."""


def corruption_measurements(found: Sequence[Measurement], kind: str, name: str) -> list[Measurement]:
    """What was measured under `robustness.KIND.NAME`, the most harmful first."""
    return sorted(
        (measurement for measurement in found if measurement.name == f"robustness.{kind}.{name}"),
        key=lambda measurement: -measurement.value,
    )


def tabulate_corruptions(found: Sequence[Measurement]) -> Table:
    """A line for each kind of fault that was measured: the alteration that costs most, and the one that is stood worst
    beside the model as it came."""
    told = [kind for kind in words.CORRUPTIONS if corruption_measurements(found, kind, "excess")]
    rows = tuple(_line(found, kind) for kind in told)
    titles = ("What goes wrong", "Error added, at most", "Decisions it changes", "Error beside the model as it came")
    return Table(columns=tuple(Column(title=title) for title in titles), rows=rows)


def tabulate_attack(found: Sequence[Measurement]) -> Table:
    """The columns through which decisions are turned most easily, a line each, the easiest first."""
    alone = [measurement for measurement in found if measurement.name == "attack.column.success"]
    easiest = sorted(alone, key=lambda measurement: -measurement.value)[:MOST]
    beside = {
        measurement.slice: measurement for measurement in found if measurement.name == "attack.column.success.drop"
    }
    rows = tuple(
        (
            (Line(text=measurement.slice), Line(text="changed alone", mood="quiet")),
            measurement_cell(replace(measurement, slice="")),
            measurement_cell(replace(beside[measurement.slice], slice="")) if measurement.slice in beside else (),
        )
        for measurement in easiest
    )
    titles = ("Who changes", "Decisions that it turns", "Beside the model as it came")
    return Table(columns=tuple(Column(title=title) for title in titles), rows=rows)


def _line(found: Sequence[Measurement], kind: str) -> tuple[Cell, ...]:
    added = corruption_measurements(found, kind, "excess")
    kinds = (Line(text=words.CORRUPTIONS[kind]), Line(text=f"worst of {len(added)}", mood="quiet"))
    others = (corruption_measurements(found, kind, name) for name in ("changed_decisions", "drop"))
    return (kinds, measurement_cell(added[0]), *(measurement_cell(other[0]) if other else () for other in others))
