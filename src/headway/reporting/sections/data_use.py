"""Use of the data: columns, personal data in them, retention, and erasures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headway.reporting.report_data import ColumnUse, DataUse, ReportData
from headway.reporting.section import Section, winner_measurements
from headway.reporting.sections.ablation import MASKED, RETRAINED
from headway.reporting.text import formatting
from headway.reporting.text.tables import Cell, make_table, text_cell

NOT_FOUND = "Names and addresses have no fixed format: undeclared ones may be missed."
TITLES = ("Column", "Used for", "Personal data")
DECLARED = {"Purpose": "declared_purpose", "Legal basis": "legal_basis"}
"""Titles of what is declared of columns; they are shown if any column has one."""


def plugin(report: ReportData) -> Section | None:
    """Return the section on data use; None where the use of the data was not read."""
    return describe_data_use(report.data_use, proposed=_removable(report)) if report.data_use else None


def describe_data_use(use: DataUse, *, proposed: tuple[str, ...] = ()) -> Section:
    """Describe how the data are used, the personal data in them, and what was erased.

    `proposed` are sentences on columns that can be removed.
    """
    declared = [(title, field) for title, field in DECLARED.items() if any(getattr(one, field) for one in use.columns)]
    titles = (*TITLES, *(title for title, _ in declared))
    return Section(
        title="Use of the data",
        order=50,
        prefixes=(),
        lead=f"Each column of {use.source or 'the data'}: its use, as declared in headway.toml and read by the model, "
        "and the personal data that checks found by format and check digit.",
        conclusions=(
            f"The model reads {use.n_read:,} of {len(use.columns):,} columns.",
            *_declarations(use),
            *proposed,
            *_personal(use),
            _retention(use),
            *_erasures(use),
        ),
        table=make_table(
            titles, (_row(one, [field for _, field in declared]) for one in use.columns), folds=titles[1:]
        ),
    )


def _row(column: ColumnUse, declared: Sequence[str]) -> tuple[Cell, ...]:
    personal = text_cell(column.personal) if column.personal else text_cell("none found", "quiet")
    more = (text_cell(getattr(column, field)) for field in declared)
    return text_cell(column.name, "strong"), text_cell(column.purpose), personal, *more


def _declarations(use: DataUse) -> Iterator[str]:
    """Yield what is declared of purpose and legal basis, and what lacks one; nothing if none is declared."""
    read, personal = ([one for one in use.columns if getattr(one, field)] for field in ("is_read", "is_personal"))
    parts = (
        ("declared_purpose", read, "A purpose", "that the model reads"),
        ("legal_basis", personal, "A legal basis", "with personal data"),
    )
    for field, columns, title, of in parts:
        without = [one.name for one in columns if not getattr(one, field)]
        if any(getattr(one, field) for one in use.columns) and columns:
            lacking = f"; it is missing for {formatting.join_names(without)}" if without else ""
            n = len(columns) - len(without)
            yield f"{title} is declared for {n:,} of {len(columns):,} columns {of}{lacking}."


def _removable(report: ReportData) -> tuple[str, ...]:
    """Return a sentence on the columns whose removal costs nothing, as measured on the winner; none without any."""
    costs = {found.slice: found for found in winner_measurements(report, *MASKED)}
    costs |= {found.slice: found for found in winner_measurements(report, *RETRAINED)}
    names = [found.slice for found in winner_measurements(report, "ablation.useless") if found.slice in costs]
    if not names:
        return ()
    listed = "; ".join(
        f"{name} (the error changes by {formatting.describe_interval(costs[name])} on {costs[name].n_rows:,} rows)"
        for name in names
    )
    return (
        f"The model predicts as well without these columns; remove them unless another purpose needs them: {listed}.",
    )


def _personal(use: DataUse) -> tuple[str, ...]:
    if not use.checked_at:
        return ("The data has not been checked for personal data yet; try: headway check.",)
    found, day = [column.name for column in use.columns if column.personal], use.checked_at[:10]
    if not found:
        return (f"The check on {day} found no personal data by format.", NOT_FOUND)
    return (
        f"The check on {day} found or knew personal data in {len(found):,} columns: {', '.join(found)}.",
        NOT_FOUND,
    )


def _retention(use: DataUse) -> str:
    if use.retention:
        return f"Prediction logs and labels are kept for {use.retention}; headway erase deletes older ones."
    return "No retention period is set for prediction logs and labels."


def _erasures(use: DataUse) -> tuple[str, ...]:
    """Return how often rows were erased; each proof was verified."""
    by_subject = [erasure for erasure in use.erasures if erasure.subject]
    by_age = [erasure for erasure in use.erasures if erasure.older_than]
    lines = []
    if by_subject:
        people, rows = len({erasure.subject for erasure in by_subject}), sum(erasure.rows for erasure in by_subject)
        partial = sum(not erasure.is_complete for erasure in by_subject)
        residual = f"; {partial:,} erasures left data that their proofs name" if partial else ""
        last = by_subject[-1].done_at[:10]
        lines.append(f"On request, {people:,} keys with {rows:,} rows were erased, the last on {last}{residual}.")
    if by_age:
        rows, last = sum(erasure.rows for erasure in by_age), by_age[-1].done_at[:10]
        lines.append(f"Because of their age, {rows:,} rows were erased, the last time on {last}.")
    return tuple(lines) or ("Nothing has been erased yet.",)
