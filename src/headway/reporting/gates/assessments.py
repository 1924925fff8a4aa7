"""What `headway check` says of an assessment beside its findings, and the trend over all that were kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Group, RenderableType
from rich.text import Text

from headway.core.assessment import Assessment
from headway.core.evidence import Finding
from headway.monitoring.assessment.assess import AssessmentResult
from headway.monitoring.assessment.history import new_findings, resolved_findings, unverified_findings
from headway.reporting.text import numbers
from headway.reporting.text.one_line import one_line
from headway.reporting.text.sheets import Column, Line, Table
from headway.reporting.text.tables import TerminalTable, render_check

GRAVE = ("stop", "undecided", "warn", "note")
NOTHING = "no assessment was kept yet\n  try: headway check"
NAMED = 3


def render_assessment(found: AssessmentResult) -> RenderableType:
    """The findings, then in sentences which assessment this is and what changed when it was kept."""
    return Group(render_check(found.now.findings), *(Text(one_line(line)) for line in describe_stored_changes(found)))


def describe_stored_changes(found: AssessmentResult) -> list[str]:
    """What the sentences were when the assessment was kept: files made of it again are the same, byte by byte."""
    return describe_changes(replace(found, same=False))


def describe_changes(found: AssessmentResult) -> list[str]:
    """Which assessment this is, why it was opened, and what came and went since the one before."""
    now, before = found.now, found.before
    if found.same:
        return [
            f"the same as of {now.at}: the data, the settings and all findings are those of assessment {now.number}"
        ]
    head = f"assessment {now.number} of {now.name}, {now.n_rows:,} rows, by {now.by}"
    if before is None:
        return [f"{head}: the first"]
    if now.why:
        return [
            f"{head}, opened because:",
            *(f"  {finding.code} {finding.message}" for finding in now.why),
            *_turns(before, now),
        ]
    grown = now.n_rows - before.n_rows
    rows = f", {abs(grown):,} rows {'more' if grown > 0 else 'fewer'}" if grown else ""
    tested = [f"distributions: {now.tested.message}"] if now.tested.message else []
    return [f"{head}: again, after {before.at}{rows}", *tested, *_turns(before, now)]


def render_assessments(kept: Sequence[Assessment]) -> RenderableType:
    """Each assessment with its findings by severity, and what was opened and closed."""
    return TerminalTable(tabulate_assessments(kept)) if kept else Text(NOTHING)


def tabulate_assessments(kept: Sequence[Assessment]) -> Table:
    """The trend: an assessment a row, oldest first."""
    rows = tuple(
        (
            (Line(text=assessment.at[:16].replace("T", " ")), Line(text=f"by {assessment.by}", mood="quiet")),
            (Line(text=str(assessment.number), mood="strong" if assessment.why or before is None else "plain"),),
            (Line(text=f"{assessment.n_rows:,}"),),
            *((Line(text=str(assessment.count(grave))),) for grave in GRAVE),
            (*(Line(text=one_line(line)) for line in _changes(before, assessment)), *_blind(assessment)),
        )
        for before, assessment in zip([None, *kept], kept, strict=False)
    )
    titles = ("When (UTC)", "No.", "Rows", *(each.capitalize() for each in GRAVE), "What changed")
    return Table(columns=tuple(Column(title=title, folds=title == "What changed") for title in titles), rows=rows)


def _blind(now: Assessment) -> list[Line]:
    """How many checks could not judge, so that nobody takes few findings for few faults."""
    return [Line(text=f"{len(now.unjudged)} of {len(now.looked)} checks could not judge", mood="quiet")] * bool(
        now.unjudged
    )


def _changes(before: Assessment | None, now: Assessment) -> list[str]:
    if before is None:
        return ["the first"]
    return [*(f"{finding.code} {finding.message}" for finding in now.why), *_turns(before, now)] or ["as before"]


def _turns(before: Assessment, now: Assessment) -> list[str]:
    """What was opened, closed and lost from sight, a line each."""
    told = (
        ("opened", new_findings(before, now)),
        ("closed", resolved_findings(before, now)),
        ("no longer judged", unverified_findings(before, now)),
    )
    return [f"{word}: {_named(found)}" for word, found in told if found]


def _named(found: Sequence[Finding]) -> str:
    some = ", ".join(f"{finding.code} {finding.severity} {finding.where}" for finding in found[:NAMED])
    return some + (f" and {numbers.format_number(len(found) - NAMED)} more" if len(found) > NAMED else "")
