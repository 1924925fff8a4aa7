"""Data checks as text, Markdown, JSON and test report, with the changes since the last assessment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from headway.core.assessment import Assessment, CheckRun
from headway.core.config import FILE
from headway.core.evidence import Finding
from headway.core.verdict import Answer as VerdictAnswer
from headway.data.check import DECLARED
from headway.data.leakage.taxonomy import summarize_leakage
from headway.monitoring.assessment.assess import AssessmentResult
from headway.monitoring.assessment.history import new_findings, resolved_findings, unverified_findings
from headway.reporting.gates.gate import plain_text
from headway.reporting.gates.test_report import Answer, TestCase, TestReport
from headway.reporting.text import formatting, tables
from headway.reporting.text.formatting import one_line
from headway.reporting.text.markdown import escape_markdown, markdown_table
from headway.reporting.text.tables import Cell, Line, Table, make_table, text_cell
from headway.reporting.text.terminal import TerminalTable, render_check

ANSWERS: dict[str, Answer] = {"stop": "fail", "undecided": "undecided", "warn": "warn", "note": "note"}
NOTHING = "no assessment is stored yet\n  try: headway check"
MAX_NAMED = 3


def render_assessment(found: AssessmentResult) -> RenderableType:
    """Render the findings, sentences on the assessment and its changes, and the answer in one sentence."""
    now = found.now
    lines = (*describe_stored_changes(found), conclude_check(now))
    return Group(render_check(now.findings, n_checks=len(now.check_runs)), *(Text(one_line(line)) for line in lines))


def conclude_check(now: Assessment) -> str:
    """Return the answer of a check as one sentence.

    Such as `nothing stops training; 3 things to look at; 2 checks did not run`.
    """
    stops, undecided, warns = (now.count(name) for name in ("stop", "undecided", "warn"))
    parts = [f"training is stopped by {_count(stops, 'finding')}" if stops else "nothing stops training"]
    if undecided:
        parts.append(f"{_count(undecided, 'question')} for you to decide")
    parts.append(f"{_count(warns, 'thing')} to look at" if warns else "nothing else to look at" if stops else "")
    if not (stops or undecided or warns):
        parts[-1] = "nothing to look at"
    if now.unjudged:
        parts.append(f"{_count(len(now.unjudged), 'check')} did not run")
    return "; ".join(part for part in parts if part)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def describe_stored_changes(found: AssessmentResult) -> list[str]:
    """Describe the changes as of when the assessment was stored, so that files made from it again are identical."""
    return describe_changes(replace(found, same=False))


def describe_changes(found: AssessmentResult) -> list[str]:
    """Describe which assessment this is, why it was opened, and which findings appeared and disappeared."""
    now, before = found.now, found.before
    if found.same:
        return [
            f"no change since {now.at}: the data, the settings and all findings are those of assessment {now.number}"
        ]
    head = f"assessment {now.number} of {now.name}, {now.n_rows:,} rows, by {now.by}"
    looked_at = [str(now.sampled)] if now.sampled else []
    if before is None:
        return [f"{head}: the first", *looked_at]
    if now.why:
        return [
            f"{head}, opened because:",
            *(f"  {finding.code} {finding.message}" for finding in now.why),
            *_finding_changes(before, now),
            *looked_at,
        ]
    grown = now.n_rows - before.n_rows
    rows = f", {abs(grown):,} rows {'more' if grown > 0 else 'fewer'}" if grown else ""
    tested = [f"distributions: {now.tested.message}"] if now.tested.message else []
    return [f"{head}: again, after {before.at}{rows}", *tested, *_finding_changes(before, now), *looked_at]


def render_assessments(stored: Sequence[Assessment]) -> RenderableType:
    """Render the stored assessments with their findings by severity and what changed."""
    return TerminalTable(tabulate_assessments(stored)) if stored else Text(NOTHING)


def tabulate_assessments(stored: Sequence[Assessment]) -> Table:
    """Tabulate the stored assessments, one per row, oldest first."""
    rows = (
        (
            (Line(text=assessment.at[:16].replace("T", " ")), Line(text=f"by {assessment.by}", style="quiet")),
            text_cell(str(assessment.number), "strong" if assessment.why or before is None else "plain"),
            text_cell(f"{assessment.n_rows:,}"),
            *(text_cell(str(assessment.count(severity))) for severity in ANSWERS),
            (*(Line(text=one_line(line)) for line in _changes(before, assessment)), *_not_run(assessment)),
        )
        for before, assessment in zip([None, *stored], stored, strict=False)
    )
    titles = ("When (UTC)", "No.", "Rows", *map(str.capitalize, ANSWERS), "Changes")
    return make_table(titles, rows, folds=("Changes",))


def _not_run(now: Assessment) -> Cell:
    """Return how many checks did not run, so that few findings are not mistaken for few problems."""
    return (
        text_cell(f"{len(now.unjudged)} of {len(now.check_runs)} checks did not run", "quiet") if now.unjudged else ()
    )


def _changes(before: Assessment | None, now: Assessment) -> list[str]:
    if before is None:
        return ["the first"]
    return [*(f"{finding.code} {finding.message}" for finding in now.why), *_finding_changes(before, now)] or [
        "no change"
    ]


def _finding_changes(before: Assessment, now: Assessment) -> list[str]:
    """Return the findings that are new, resolved or no longer checked, one line each."""
    changes = (
        ("new", new_findings(before, now)),
        ("resolved", resolved_findings(before, now)),
        ("no longer checked", unverified_findings(before, now)),
    )
    return [f"{word}: {_named(found)}" for word, found in changes if found]


def _named(found: Sequence[Finding]) -> str:
    some = ", ".join(f"{finding.code} {finding.severity} {finding.where}" for finding in found[:MAX_NAMED])
    return some + (f" and {formatting.format_number(len(found) - MAX_NAMED)} more" if len(found) > MAX_NAMED else "")


def check_test_report(found: AssessmentResult, where: str = FILE) -> TestReport:
    """Return the test report of a check: each finding, each check without one, and each that did not run."""
    now = found.now
    titles = {
        run.code: title
        for run in now.check_runs
        if (title := tables.describe_check(run.name).removeprefix(f"{run.code}: "))
    }
    reported = {judged.code for judged in now.judged}
    data = _file(now.source)
    findings = [_of_finding(judged, titles.get(judged.code, judged.code), data) for judged in now.judged]
    others = [
        _without_finding(run, titles.get(run.code, run.code))
        for run in now.check_runs
        if run.unjudged or run.code not in reported
    ]
    return TestReport(
        of="check",
        project=now.name,
        answer=check_answer(found),
        entries=(*findings, *others),
        properties={
            "dataset": now.dataset,
            "source": now.source,
            "rows": str(now.n_rows),
            "assessment": str(now.number),
        },
        facts={"answer": check_answer(found), "assessment": now.number},
        summary="; ".join(line.strip() for line in describe_stored_changes(found)),
        where=where,
    )


def check_answer(found: AssessmentResult) -> VerdictAnswer:
    """Return `fail` if a finding says stop, `undecided` if one is undecided, else `pass`."""
    now = found.now
    return "fail" if now.count("stop") else "undecided" if now.count("undecided") else "pass"


def check_markdown(found: AssessmentResult) -> str:
    """Return the check as Markdown: the answer, what changed, and the findings, most severe first."""
    now = found.now
    not_run = ", ".join(run.name for run in now.unjudged)
    shown = [judged for judged in now.judged if judged.code not in DECLARED]
    parts = (
        f"## headway check on {escape_markdown(now.name)}: {tables.VERDICT_MARKS[check_answer(found)]}",
        "\n".join(f"{escape_markdown(line.strip())}." for line in describe_stored_changes(found)),
        markdown_table(tables.tabulate_findings(shown)).rstrip("\n") if shown else "No check found a problem.",
        f"Did not run: {escape_markdown(not_run)}. These checks do not count as passed." if not_run else "",
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def check_text(found: AssessmentResult) -> str:
    """Return the findings as text without colours."""
    return plain_text(render_assessment(found))


def check_json(found: AssessmentResult) -> str:
    """Return findings, leakage by kind and the assessment's number as JSON, as `--json` prints them."""
    now = found.now
    result = {
        "findings": now.findings,
        "leakage": summarize_leakage(now.findings),
        "assessment": now.number,
        "at": now.at,
        "sampled": now.sampled,
    }
    return f"{msgspec.json.encode(result).decode()}\n"


def check_outputs(found: AssessmentResult) -> dict[str, str]:
    """Return the outputs for later steps of GitHub Actions."""
    now = found.now
    return {
        "answer": check_answer(found),
        "assessment": str(now.number),
        **{name: str(now.count(name)) for name in ANSWERS},
        "unjudged": str(len(now.unjudged)),
    }


def _without_finding(run: CheckRun, title: str) -> TestCase:
    """Return the test case of a check that found nothing or did not run."""
    name = f"{run.code} {run.name}"
    answer: Answer = "unjudged" if run.unjudged else "pass"
    message = run.unjudged or "nothing was found"
    return TestCase(rule=run.code, title=title, name=name, answer=answer, message=message, key=name)


def _file(source: str) -> str:
    """Return the data file if it lies inside the project, else an empty string: code scanning knows no other files."""
    path = PurePosixPath(source)
    inside = not path.is_absolute() and ".." not in path.parts and ":" not in source
    return source if inside and path.suffix in (".parquet", ".csv", ".arrow", ".feather") else ""


def _of_finding(found: Finding, title: str, data: str) -> TestCase:
    limit = f", limit {found.limit:g}" if found.limit is not None else ""
    measured = f"measured {formatting.format_number(found.measured)}{limit}; " if found.measured is not None else ""
    hint = f"; try: {found.hint}" if found.hint else ""
    return TestCase(
        rule=found.code,
        title=title,
        name=f"{found.code} {found.where}".strip(),
        answer=ANSWERS[found.severity],
        message=f"{found.message}{hint}",
        detail=f"{measured}{found.where}",
        key=f"{found.code} {found.where}",
        column=found.column,
        file=data if found.column else "",
    )
