"""Provenance: the data that the model was trained and judged on, by digests that are signed with a release."""

from __future__ import annotations

from headway.core.provenance import Tracked
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section
from headway.reporting.text import formatting
from headway.reporting.text.formatting import one_line
from headway.reporting.text.tables import Column, Line, Table

NAMED = 5


def plugin(report: ReportData) -> Section | None:
    """Return the section on the data; None where no period was stored."""
    if not report.data:
        return None
    spans = {span.name: f"{span.first} to {span.until}" for span in report.spans}
    rows = tuple(
        ((Line(text=name),), (Line(text=spans.get(name, "")),), (Line(text=formatting.short_digest(digest)),))
        for name, digest in report.data.items()
    )
    titles = ("Period", "From, to before", "Digest")
    return Section(
        title="Which data",
        place=90,
        prefixes=(),
        lead="The rows of each period are known by a digest of their content, which no order and no file format moves. "
        "A release is signed with these digests; the command headway data tells what has changed since.",
        conclusions=(*_means(report.data), *_by_dvc(report.tracked)),
        table=Table(columns=tuple(Column(title=title) for title in titles), rows=rows),
    )


def _by_dvc(told: tuple[Tracked, ...]) -> list[str]:
    """Return what DVC recorded of the files at training time, the first ones by name."""
    lines = []
    for tracked in told[:NAMED]:
        parts = ", ".join(part.name for part in tracked.made_from)
        made = (
            f" It was made by {one_line(tracked.command)}" + (f" from {parts}." if parts else ".")
            if tracked.command
            else ""
        )
        lines.append(f"DVC: {one_line(str(tracked))}.{made}")
    more = len(told) - NAMED
    return [*lines, f"DVC tracks {more:,} more of its files."] if more > 0 else lines


def _means(data: dict[str, str]) -> list[str]:
    learned, judged = data.get("train"), data.get("test")
    if learned is None or judged is None:
        return []
    if learned == judged:
        return ["The test is the very rows that the model learned from: it judges nothing."]
    return ["The test as a whole is not what the model learned from; a check of the data finds rows of both."]
