"""Use of the data: columns, personal data in them, retention, and erasures."""

from __future__ import annotations

from headway.reporting.report_data import ColumnUse, DataUse, ReportData
from headway.reporting.section import Section
from headway.reporting.text.tables import Cell, Column, Line, Table

NOT_FOUND = "Names and addresses of people have no form by which all are found: what is not declared may not be told."
TITLES = {"Column": False, "Used for": True, "Of people": True}


def plugin(report: ReportData) -> Section | None:
    """Return the section on data use; None where the use of the data was not read."""
    use = report.data_use
    if use is None:
        return None
    return Section(
        title="What data is used for",
        place=50,
        prefixes=(),
        lead=f"Each column of {use.source or 'the data'} with its use, as declared in headway.toml and as the model "
        "reads it, and what the checks found of people in it, by form and check digit.",
        conclusions=(_read(use), *_personal(use), _kept(use), *_forgotten(use)),
        table=Table(
            columns=tuple(Column(title=title, folds=folds) for title, folds in TITLES.items()),
            rows=tuple(map(_row, use.columns)),
        ),
    )


def _row(column: ColumnUse) -> tuple[Cell, ...]:
    people = Line(text=column.personal) if column.personal else Line(text="nothing found", style="quiet")
    return (Line(text=column.name, style="strong"),), (Line(text=column.purpose),), (people,)


def _read(use: DataUse) -> str:
    return f"The model reads {use.n_read:,} of {len(use.columns):,} columns."


def _personal(use: DataUse) -> tuple[str, ...]:
    if not use.looked_at:
        return ("Nobody has looked for personal data in it yet: headway check.",)
    found, day = [column.name for column in use.columns if column.personal], use.looked_at[:10]
    if not found:
        return (f"When it was looked at on {day}, no personal data was found by form.", NOT_FOUND)
    return (f"On {day} personal data was found or declared in {len(found):,} columns: {', '.join(found)}.", NOT_FOUND)


def _kept(use: DataUse) -> str:
    if use.retention:
        return f"What is served, and its labels, are kept for {use.retention}; headway erase ends it."
    return "Nobody has set an end to how long what is served, and its labels, are kept."


def _forgotten(use: DataUse) -> tuple[str, ...]:
    """Return how often rows were erased; each proof was verified."""
    keys = [erasure for erasure in use.erasures if erasure.subject]
    aged = [erasure for erasure in use.erasures if erasure.older_than]
    lines = []
    if keys:
        people, rows = len({erasure.subject for erasure in keys}), sum(erasure.rows for erasure in keys)
        still = sum(not erasure.is_complete for erasure in keys)
        stays = f"; of {still:,} erasures something stays, which their proofs name" if still else ""
        last = keys[-1].done_at[:10]
        lines.append(f"On request {people:,} keys were forgotten, {rows:,} rows in all, the last on {last}{stays}.")
    if aged:
        rows, last = sum(erasure.rows for erasure in aged), aged[-1].done_at[:10]
        lines.append(f"For their age {rows:,} rows were erased, the last time on {last}.")
    return tuple(lines) or ("Nobody was forgotten yet.",)
