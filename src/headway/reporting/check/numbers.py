"""The numbers behind the pictures of a check, as tables."""

from __future__ import annotations

from msgspec.structs import replace

from headway.core.assessment import Assessment, TimeBucket
from headway.reporting.check.axes import bucket_name, buckets_of, format_share
from headway.reporting.check.missing import columns_with_missing
from headway.reporting.text.sheets import Column, Line, Table, measurement_cell

SHOWN = 8


def tabulate_charts(now: Assessment) -> dict[str, Table]:
    """A table for each picture by its name."""
    return {
        "timeline": _timeline(now),
        "target": _target(now),
        "missing": _missing(now),
        "shifts": _shifts(now),
    }


def _timeline(now: Assessment) -> Table:
    rows = tuple(
        (
            *_head(stretch),
            (Line(text=stretch.since[:16].replace("T", " ")),),
            (Line(text=stretch.until[:16].replace("T", " ")),),
        )
        for stretch in (*now.parts, *now.stretches)
    )
    return Table(columns=_columns("Rows of", "Rows", "Groups", "First", "Last"), rows=rows)


def _target(now: Assessment) -> Table:
    labels = list(dict.fromkeys(measurement.slice for stretch in buckets_of(now) for measurement in stretch.target))
    rows = tuple(
        (
            *_head(stretch),
            *(
                measurement_cell(
                    next(
                        (
                            replace(measurement, slice="")
                            for measurement in stretch.target
                            if measurement.slice == label
                        ),
                        None,
                    )
                )
                for label in labels
            ),
        )
        for stretch in buckets_of(now)
    )
    return Table(
        columns=_columns("Rows of", "Rows", "Groups", *(label or "Mean of the target" for label in labels)), rows=rows
    )


def _missing(now: Assessment) -> Table:
    columns = columns_with_missing(now)[:SHOWN]
    rows = tuple(
        (*_head(stretch), *((Line(text=format_share(stretch.missing[name])),) for name in columns))
        for stretch in buckets_of(now)
    )
    return Table(columns=_columns("Rows of", "Rows", "Groups", *columns), rows=rows)


def _shifts(now: Assessment) -> Table:
    rows = tuple(
        (
            (Line(text=shift.column, mood="strong"), Line(text=f"p {shift.p:.2g}", mood="quiet")),
            (Line(text=bin),),
            (Line(text=format_share(before)),),
            (Line(text=format_share(after)),),
        )
        for shift in now.tested.shifts
        for bin, before, after in zip(shift.bins, shift.before, shift.now, strict=True)
    )
    return Table(columns=_columns("Column", "Values", "Before", "Now"), rows=rows)


def _head(stretch: TimeBucket) -> tuple[tuple[Line, ...], ...]:
    groups = f"{stretch.n_groups:,}" if stretch.n_groups else "none"
    return ((Line(text=bucket_name(stretch)),), (Line(text=f"{stretch.n_rows:,}"),), (Line(text=groups),))


def _columns(*titles: str) -> tuple[Column, ...]:
    return tuple(Column(title=title, folds=title == "Values") for title in titles)
