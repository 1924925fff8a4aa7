"""HTML report of a data check: an assessment and the trend over earlier ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headway.core.assessment import Assessment
from headway.core.evidence import Finding
from headway.data.leakage.taxonomy import summarize_leakage
from headway.monitoring.assessment.assess import AssessmentResult
from headway.reporting import page
from headway.reporting.charts import data_check
from headway.reporting.charts.theme import RenderedChart
from headway.reporting.console import write_atomically
from headway.reporting.gates import check
from headway.reporting.summary import SummaryAnswer, SummaryStyle
from headway.reporting.text import tables

HEADS = {
    "stop": "Stop: no model is trained on such data",
    "undecided": "Undecided: a person has to say",
    "warn": "Warnings: read them before you rely on a figure",
    "note": "Notes",
}


def write_check_report(found: AssessmentResult, kept: Sequence[Assessment], path: Path) -> Path:
    """Write the report to `path` atomically, creating its folder, and return the path."""
    return write_atomically(render_check_report(found, kept), path)


def render_check_report(found: AssessmentResult, kept: Sequence[Assessment]) -> str:
    """Return the HTML of an assessment, with the trend over the stored ones."""
    now = found.now
    return page.render_page(
        "check.html",
        kind="check of data",
        title=f"Are the data of {now.name} fit to learn from?",
        lead=(f"Checked on {now.at[:16].replace('T', ' ')} UTC by {now.by}.",),
        footing=_footing(now),
        replies=check_answers(found),
        now=now,
        found={head: tables.tabulate_findings(each) for grave, head in HEADS.items() if (each := _of(now, grave))},
        kinds=tables.tabulate_leakage(summarize_leakage(now.findings)),
        unjudged=tables.tabulate_checks_not_run(now.findings),
        sentences=check.describe_changes(found),
        pictures=check_charts(found, kept),
        numbers=data_check.tabulate_charts(now),
        history=check.tabulate_assessments(kept),
    )


def check_charts(found: AssessmentResult, kept: Sequence[Assessment]) -> dict[str, RenderedChart]:
    """Return the charts of an assessment, by name."""
    now = found.now
    drawn = (
        data_check.draw_rows(now),
        data_check.draw_target(now),
        data_check.draw_missing(now),
        data_check.draw_shifts(now),
        data_check.draw_trend(kept),
    )
    return {each.name: each for each in drawn if each is not None}


def check_answers(found: AssessmentResult) -> tuple[SummaryAnswer, ...]:
    """Return the answers that a reader looks for first."""
    return (_fit(found.now), _changed(found), _seen(found.now), _blind(found.now))


def _of(now: Assessment, severity: str) -> list[Finding]:
    return [judged for judged in now.judged if judged.severity == severity]


def _first(now: Assessment, severity: str) -> str:
    """Return the first finding of a severity as a sentence."""
    message = _of(now, severity)[0].message
    return f"{message[:1].upper()}{message[1:]}."


def _footing(now: Assessment) -> str:
    if now.n_groups:
        return "They count whole groups, not single rows, for rows of one share their fate."
    return "Nobody declared groups, so each row counts as independent: if rows share fate, they are too narrow."


def _fit(now: Assessment) -> SummaryAnswer:
    stops, undecided, warns = (now.count(name) for name in ("stop", "undecided", "warn"))
    question = "Can a model learn from them?"
    warned = f" {warns} warning{'s' if warns != 1 else ''} to read." if warns else ""
    style: SummaryStyle = "fail" if stops else "undecided" if undecided else "pass"
    if stops:
        answer = f"No: {stops} finding{'s say' if stops > 1 else ' says'} stop"
        return SummaryAnswer(question=question, answer=answer, detail=f"{_first(now, 'stop')}{warned}", style=style)
    if undecided:
        answer = f"Not before somebody says {undecided} thing{'s' if undecided > 1 else ''}"
        return SummaryAnswer(
            question=question, answer=answer, detail=f"{_first(now, 'undecided')}{warned}", style=style
        )
    return SummaryAnswer(question=question, answer="Yes: nothing forbids it", detail=warned.strip(), style=style)


def _changed(found: AssessmentResult) -> SummaryAnswer:
    now, question = found.now, "What changed?"
    if found.same:
        return SummaryAnswer(
            question=question, answer="Nothing", detail=f"The same data and findings as of {now.at[:10]}.", style="pass"
        )
    if found.before is None:
        return SummaryAnswer(
            question=question, answer="This is the first check", detail="What is found later is held against it."
        )
    lines = check.describe_changes(found)[1:]
    detail = " ".join(f"{line.strip().rstrip('.')}." for line in lines[:3])
    if now.why:
        return SummaryAnswer(
            question=question, answer=f"Assessment {now.number} was opened", detail=detail, style="undecided"
        )
    return SummaryAnswer(
        question=question, answer="Checked again", detail=detail or f"All is as on {found.before.at[:10]}."
    )


def _seen(now: Assessment) -> SummaryAnswer:
    answer = f"{now.n_rows:,} rows, {len(now.columns)} columns"
    groups = f"{now.n_groups:,} groups. " if now.n_groups else "No groups: each row counts as independent. "
    ends = [stretch.since[:10] for stretch in now.time_buckets[:1]] + [now.until[:10]] if now.time_buckets else []
    times = f"From {' to '.join(ends)}. " if ends else ""
    return SummaryAnswer(question="What was looked at?", answer=answer, detail=f"{groups}{times}Source: {now.source}.")


def _blind(now: Assessment) -> SummaryAnswer:
    blind, count = len(now.unjudged), len(now.check_runs)
    question = "What could not be judged?"
    if not blind:
        return SummaryAnswer(question=question, answer=f"All {count} checks judged", style="pass")
    return SummaryAnswer(
        question=question,
        answer=f"{blind} of {count} checks",
        detail="They are listed below with what each lacks; none of them reads as passed.",
    )
