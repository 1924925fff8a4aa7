"""Provenance: the data that the model was trained and judged on, by digests that are signed with a release."""

from __future__ import annotations

from headway.core.provenance import TrackedData
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section
from headway.reporting.text import formatting
from headway.reporting.text.formatting import one_line
from headway.reporting.text.tables import make_table, text_cell

MAX_FILES = 5


def plugin(report: ReportData) -> Section | None:
    """Return the section on the data; None where no period was stored."""
    if not report.data:
        return None
    spans = {span.name: f"{span.first} to {span.until}" for span in report.spans}
    rows = (
        (text_cell(name), text_cell(spans.get(name, "")), text_cell(formatting.short_digest(digest)))
        for name, digest in report.data.items()
    )
    return Section(
        title="Data provenance",
        order=90,
        prefixes=(),
        lead="A digest of its content identifies the rows of each period, whatever their order and file format. A "
        "release is signed with these digests; the command headway data shows what has changed since.",
        conclusions=(*_separation(report.data), *_by_dvc(report.tracked)),
        table=make_table(("Period", "From, to before", "Digest"), rows),
    )


def _by_dvc(found: tuple[TrackedData, ...]) -> list[str]:
    """Return what DVC recorded of the files at training time, the first ones by name."""
    lines = []
    for tracked in found[:MAX_FILES]:
        parts = ", ".join(part.name for part in tracked.inputs)
        made = (
            f" It was made by {one_line(tracked.command)}{f' from {parts}' if parts else ''}."
            if tracked.command
            else ""
        )
        lines.append(f"DVC: {one_line(str(tracked))}.{made}")
    more = len(found) - MAX_FILES
    return [*lines, f"DVC tracks {more:,} more files."] if more > 0 else lines


def _separation(data: dict[str, str]) -> list[str]:
    train, test = data.get("train"), data.get("test")
    if train is None or test is None:
        return []
    if train == test:
        return ["The test set is the training set: its figures are worthless."]
    return ["The test set differs from the training set; headway check finds rows that are in both."]
