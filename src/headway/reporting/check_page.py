"""HTML report of a data check: an assessment and the trend over earlier ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headway.core.assessment import Assessment
from headway.core.evidence import Finding
from headway.data.check import DECLARED
from headway.data.leakage.taxonomy import summarize_leakage
from headway.monitoring.assessment.assess import AssessmentResult
from headway.reporting.charts import data_check
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.console import write_atomically
from headway.reporting.gates import check
from headway.reporting.summary import SummaryAnswer, SummaryStyle
from headway.reporting.template import render_page
from headway.reporting.text import tables

HEADS = {
    "stop": "Stop: no model is trained on these data",
    "undecided": "Undecided: a person has to decide",
    "warn": "Warnings: read them before you rely on a metric",
    "note": "Notes",
}


def write_check_report(found: AssessmentResult, stored: Sequence[Assessment], path: Path) -> Path:
    """Write the report to `path` atomically, creating its folder, and return the path."""
    return write_atomically(render_check_report(found, stored), path)


def render_check_report(found: AssessmentResult, stored: Sequence[Assessment]) -> str:
    """Return the HTML of an assessment, with the trend over the stored ones."""
    now = found.now
    return render_page(
        "check.html",
        kind="data check",
        title=f"Data check of {now.name}",
        lead=(
            f"Checked on {now.at[:16].replace('T', ' ')} UTC by {now.by}.",
            *([f"{str(now.sampled).capitalize()}."] if now.sampled else []),
        ),
        footing=_footing(now),
        replies=check_answers(found),
        now=now,
        found={
            head: tables.tabulate_findings(findings)
            for severity, head in HEADS.items()
            if (findings := _of(now, severity))
        },
        kinds=tables.tabulate_leakage(summarize_leakage(now.findings)),
        unjudged=tables.tabulate_checks_not_run(now.findings),
        sentences=check.describe_changes(found),
        pictures=check_charts(found, stored),
        numbers=data_check.tabulate_charts(now),
        history=check.tabulate_assessments(stored),
    )


def check_charts(found: AssessmentResult, stored: Sequence[Assessment]) -> dict[str, RenderedChart]:
    """Return the charts of an assessment, by name."""
    now = found.now
    drawn = (
        data_check.draw_rows(now),
        data_check.draw_target(now),
        data_check.draw_missing(now),
        data_check.draw_shifts(now),
        data_check.draw_trend(stored),
    )
    return {chart.name: chart for chart in drawn if chart is not None}


def check_answers(found: AssessmentResult) -> tuple[SummaryAnswer, ...]:
    """Return the answers that a reader looks for first."""
    return (_fit(found.now), _changed(found), _checked(found.now), _not_run(found.now))


def _of(now: Assessment, severity: str) -> list[Finding]:
    return [judged for judged in now.judged if judged.severity == severity and judged.code not in DECLARED]


def _first(now: Assessment, severity: str) -> str:
    """Return the first finding of a severity as a sentence."""
    message = _of(now, severity)[0].message
    return f"{message[:1].upper()}{message[1:]}."


def _footing(now: Assessment) -> str:
    if now.n_groups:
        return "Intervals are based on groups, because rows of one group are dependent."
    return "No groups are declared, so rows count as independent: if they are dependent, the intervals are too narrow."


def _fit(now: Assessment) -> SummaryAnswer:
    stops, undecided, warns = (now.count(name) for name in ("stop", "undecided", "warn"))
    question = "Can a model be trained on them?"
    warned = f" {warns} warning{'s' if warns != 1 else ''} to read." if warns else ""
    style: SummaryStyle = "fail" if stops else "undecided" if undecided else "pass"
    if stops:
        answer = f"No: {stops} finding{'s' if stops > 1 else ''} of severity stop"
        return SummaryAnswer(question=question, answer=answer, detail=f"{_first(now, 'stop')}{warned}", style=style)
    if undecided:
        answer = f"Undecided: {undecided} finding{'s' if undecided > 1 else ''} for a person to decide"
        return SummaryAnswer(
            question=question, answer=answer, detail=f"{_first(now, 'undecided')}{warned}", style=style
        )
    return SummaryAnswer(question=question, answer="Yes: no finding forbids it", detail=warned.strip(), style=style)


def _changed(found: AssessmentResult) -> SummaryAnswer:
    now, question = found.now, "What changed?"
    if found.same:
        return SummaryAnswer(
            question=question, answer="Nothing", detail=f"The same data and findings as on {now.at[:10]}.", style="pass"
        )
    if found.before is None:
        return SummaryAnswer(
            question=question, answer="This is the first check", detail="Later checks are compared with it."
        )
    lines = check.describe_changes(found)[1:]
    detail = " ".join(f"{line.strip().rstrip('.')}." for line in lines[:3])
    if now.why:
        return SummaryAnswer(
            question=question, answer=f"Assessment {now.number} was opened", detail=detail, style="undecided"
        )
    return SummaryAnswer(
        question=question, answer="Checked again", detail=detail or f"No change since {found.before.at[:10]}."
    )


def _checked(now: Assessment) -> SummaryAnswer:
    answer = f"{now.n_rows:,} rows, {len(now.columns)} columns"
    groups = f"{now.n_groups:,} groups. " if now.n_groups else "No groups: each row counts as independent. "
    times = f"From {now.time_buckets[0].since[:10]} to {now.until[:10]}. " if now.time_buckets else ""
    return SummaryAnswer(question="What was checked?", answer=answer, detail=f"{groups}{times}Source: {now.source}.")


def _not_run(now: Assessment) -> SummaryAnswer:
    not_run, count = len(now.unjudged), len(now.check_runs)
    question = "Which checks did not run?"
    if not not_run:
        return SummaryAnswer(question=question, answer=f"All {count} checks ran", style="pass")
    return SummaryAnswer(
        question=question,
        answer=f"{not_run} of {count} checks",
        detail="They are listed below with the reason; none of them counts as passed.",
    )
