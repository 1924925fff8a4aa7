"""A check of the data as the gate's formats tell it: a test for each finding, and for each check that found nothing."""

from __future__ import annotations

import io
from pathlib import PurePosixPath

import msgspec
from rich.console import Console

from headway.core import plugins
from headway.core.assessment import CheckRun
from headway.core.config import FILE
from headway.core.evidence import Finding
from headway.data.leakage.eight_kinds import summarize_leakage
from headway.monitoring.assessment.assess import AssessmentResult
from headway.reporting.gates import assessments
from headway.reporting.gates.bulletin import Answer, TestCase, TestReport
from headway.reporting.gates.text import WIDTH
from headway.reporting.text import numbers, sheets
from headway.reporting.text.markdown import escape_markdown, markdown_table

_COLUMN = "column "
ANSWERS: dict[str, Answer] = {"stop": "fail", "undecided": "undecided", "warn": "warn", "note": "note"}


def check_test_report(found: AssessmentResult, where: str = FILE) -> TestReport:
    """The bulletin of a check: each finding, each check without one, and each that could not judge."""
    now = found.now
    titles = {looked.code: plugins.describe("check", looked.name)[6:] for looked in now.looked}
    told = {judged.code for judged in now.judged}
    data = _file(now.source)
    findings = [_of_finding(judged, titles.get(judged.code, judged.code), data) for judged in now.judged]
    others = [
        _without_finding(looked, titles[looked.code])
        for looked in now.looked
        if looked.unjudged or looked.code not in told
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
        summary="; ".join(line.strip() for line in assessments.describe_stored_changes(found)),
        where=where,
    )


def check_answer(found: AssessmentResult) -> str:
    """`fail` where a finding says stop, `undecided` where one is, else `pass`."""
    now = found.now
    return "fail" if now.count("stop") else "undecided" if now.count("undecided") else "pass"


def check_markdown(found: AssessmentResult) -> str:
    """The Markdown of a check: the answer, what changed, and the findings, the gravest first."""
    now = found.now
    marked = {
        "pass": sheets.VERDICT_MARKS["pass"],
        "fail": sheets.VERDICT_MARKS["fail"],
        "undecided": sheets.VERDICT_MARKS["undecided"],
    }
    silent = [each.name for each in now.unjudged]
    parts = (
        f"## headway check on {escape_markdown(now.name)}: {marked[check_answer(found)]}",
        "\n".join(f"{escape_markdown(line.strip())}." for line in assessments.describe_stored_changes(found)),
        markdown_table(sheets.tabulate_findings(now.judged)).rstrip("\n")
        if now.judged
        else "No check that could judge found anything.",
        f"Could not judge: {escape_markdown(', '.join(silent))}. None of these reads as passed." if silent else "",
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def check_text(found: AssessmentResult) -> str:
    """The findings as text, without colours."""
    file = io.StringIO()
    console = Console(file=file, width=WIDTH, height=25, color_system=None, highlight=False, legacy_windows=False)
    console.print(assessments.render_assessment(found))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def check_json(found: AssessmentResult) -> str:
    """Findings, what they come to for each kind of leakage, and which assessment this is, as `--json` prints them."""
    now = found.now
    told = {
        "findings": now.findings,
        "leakage": summarize_leakage(now.findings),
        "assessment": now.number,
        "at": now.at,
    }
    return f"{msgspec.json.encode(told).decode()}\n"


def check_outputs(found: AssessmentResult) -> dict[str, str]:
    """What later steps of GitHub Actions can ask for."""
    now = found.now
    return {
        "answer": check_answer(found),
        "assessment": str(now.number),
        **{name: str(now.count(name)) for name in ANSWERS},
        "unjudged": str(len(now.unjudged)),
    }


def _without_finding(looked: CheckRun, title: str) -> TestCase:
    """A check that found nothing, or could not judge."""
    name = f"{looked.code} {looked.name}"
    answer: Answer = "unjudged" if looked.unjudged else "pass"
    message = looked.unjudged or "nothing was found"
    return TestCase(rule=looked.code, title=title, name=name, answer=answer, message=message, key=name)


def _file(source: str) -> str:
    """The file of the data where it lies in the project, else none: a list of alerts knows no other."""
    path = PurePosixPath(source)
    inside = not path.is_absolute() and ".." not in path.parts and ":" not in source
    return source if inside and path.suffix in (".parquet", ".csv", ".arrow", ".feather") else ""


def _of_finding(found: Finding, title: str, data: str) -> TestCase:
    limit = f", limit {found.limit:g}" if found.limit is not None else ""
    measured = f"measured {numbers.format_number(found.measured)}{limit}; " if found.measured is not None else ""
    hint = f"; try: {found.hint}" if found.hint else ""
    return TestCase(
        rule=found.code,
        title=title,
        name=f"{found.code} {found.where}".strip(),
        answer=ANSWERS[found.severity],
        message=f"{found.message}{hint}",
        detail=f"{measured}{found.where}",
        key=f"{found.code} {found.where}",
        column=(column := found.where.removeprefix(_COLUMN) if found.where.startswith(_COLUMN) else ""),
        file=data if column else "",
    )
