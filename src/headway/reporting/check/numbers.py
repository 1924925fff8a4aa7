"""The numbers behind the pictures of a check, as tables."""

from __future__ import annotations

from msgspec.structs import replace

from headway.core.assessment import Assessment, Stretch
from headway.reporting.check.axes import named, share, stretches_of
from headway.reporting.check.missing import columns_of
from headway.reporting.text.sheets import Column, Line, Sheet, number_cell

SHOWN = 8


def tables(now: Assessment) -> dict[str, Sheet]:
    """A table for each picture by its name."""
    return {
        "timeline": _timeline(now),
        "target": _target(now),
        "missing": _missing(now),
        "shifts": _shifts(now),
    }


def _timeline(now: Assessment) -> Sheet:
    rows = tuple(
        (*_head(each), (Line(text=each.since[:16].replace("T", " ")),), (Line(text=each.until[:16].replace("T", " ")),))
        for each in (*now.parts, *now.stretches)
    )
    return Sheet(columns=_columns("Rows of", "Rows", "Groups", "First", "Last"), rows=rows)


def _target(now: Assessment) -> Sheet:
    labels = list(dict.fromkeys(each.slice for stretch in stretches_of(now) for each in stretch.target))
    rows = tuple(
        (
            *_head(stretch),
            *(
                number_cell(next((replace(each, slice="") for each in stretch.target if each.slice == label), None))
                for label in labels
            ),
        )
        for stretch in stretches_of(now)
    )
    return Sheet(
        columns=_columns("Rows of", "Rows", "Groups", *(label or "Mean of the target" for label in labels)), rows=rows
    )


def _missing(now: Assessment) -> Sheet:
    columns = columns_of(now)[:SHOWN]
    rows = tuple(
        (*_head(stretch), *((Line(text=share(stretch.missing[name])),) for name in columns))
        for stretch in stretches_of(now)
    )
    return Sheet(columns=_columns("Rows of", "Rows", "Groups", *columns), rows=rows)


def _shifts(now: Assessment) -> Sheet:
    rows = tuple(
        (
            (Line(text=shift.column, mood="strong"), Line(text=f"p {shift.p:.2g}", mood="quiet")),
            (Line(text=bin),),
            (Line(text=share(before)),),
            (Line(text=share(after)),),
        )
        for shift in now.tested.shifts
        for bin, before, after in zip(shift.bins, shift.before, shift.now, strict=True)
    )
    return Sheet(columns=_columns("Column", "Values", "Before", "Now"), rows=rows)


def _head(stretch: Stretch) -> tuple[tuple[Line, ...], ...]:
    groups = f"{stretch.n_groups:,}" if stretch.n_groups else "none"
    return ((Line(text=named(stretch)),), (Line(text=f"{stretch.n_rows:,}"),), (Line(text=groups),))


def _columns(*titles: str) -> tuple[Column, ...]:
    return tuple(Column(title=title, folds=title == "Values") for title in titles)
