"""A check of the data as the gate's formats tell it: a test for each finding, and for each check that found nothing."""

from __future__ import annotations

import io
from pathlib import PurePosixPath

import msgspec
from rich.console import Console

from headway.core import plugins
from headway.core.assessment import Looked
from headway.core.config import FILE
from headway.core.evidence import Finding
from headway.data.leakage.eight_kinds import summarize_leakage
from headway.monitoring.assessment.assess import Assessed
from headway.reporting.gates import assessments
from headway.reporting.gates.bulletin import Answer, Bulletin, Entry
from headway.reporting.gates.text import WIDTH
from headway.reporting.text import numbers, sheets
from headway.reporting.text.markdown import escaped, table

_COLUMN = "column "
ANSWERS: dict[str, Answer] = {"stop": "fail", "undecided": "undecided", "warn": "warn", "note": "note"}


def of_check(found: Assessed, where: str = FILE) -> Bulletin:
    """The bulletin of a check: each finding, each check without one, and each that could not judge."""
    now = found.now
    titles = {each.code: plugins.describe("check", each.name)[6:] for each in now.looked}
    told = {each.code for each in now.judged}
    data = _file(now.source)
    findings = [_of_finding(each, titles.get(each.code, each.code), data) for each in now.judged]
    others = [
        _without_finding(each, titles[each.code]) for each in now.looked if each.unjudged or each.code not in told
    ]
    return Bulletin(
        of="check",
        project=now.name,
        answer=answer_of(found),
        entries=(*findings, *others),
        properties={
            "dataset": now.dataset,
            "source": now.source,
            "rows": str(now.n_rows),
            "assessment": str(now.number),
        },
        facts={"answer": answer_of(found), "assessment": now.number},
        summary="; ".join(line.strip() for line in assessments.on_record(found)),
        where=where,
    )


def answer_of(found: Assessed) -> str:
    """`fail` where a finding says stop, `undecided` where one is, else `pass`."""
    now = found.now
    return "fail" if now.count("stop") else "undecided" if now.count("undecided") else "pass"


def markdown(found: Assessed) -> str:
    """The Markdown of a check: the answer, what changed, and the findings, the gravest first."""
    now = found.now
    marked = {"pass": sheets.MARKS["pass"], "fail": sheets.MARKS["fail"], "undecided": sheets.MARKS["undecided"]}
    silent = [each.name for each in now.unjudged]
    parts = (
        f"## headway check on {escaped(now.name)}: {marked[answer_of(found)]}",
        "\n".join(f"{escaped(line.strip())}." for line in assessments.on_record(found)),
        table(sheets.findings(now.judged)).rstrip("\n") if now.judged else "No check that could judge found anything.",
        f"Could not judge: {escaped(', '.join(silent))}. None of these reads as passed." if silent else "",
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def text(found: Assessed) -> str:
    """The findings as text, without colours."""
    file = io.StringIO()
    console = Console(file=file, width=WIDTH, height=25, color_system=None, highlight=False, legacy_windows=False)
    console.print(assessments.assessed_text(found))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def as_json(found: Assessed) -> str:
    """Findings, what they come to for each kind of leakage, and which assessment this is, as `--json` prints them."""
    now = found.now
    told = {
        "findings": now.findings,
        "leakage": summarize_leakage(now.findings),
        "assessment": now.number,
        "at": now.at,
    }
    return f"{msgspec.json.encode(told).decode()}\n"


def outputs(found: Assessed) -> dict[str, str]:
    """What later steps of GitHub Actions can ask for."""
    now = found.now
    return {
        "answer": answer_of(found),
        "assessment": str(now.number),
        **{name: str(now.count(name)) for name in ANSWERS},
        "unjudged": str(len(now.unjudged)),
    }


def _without_finding(looked: Looked, title: str) -> Entry:
    """A check that found nothing, or could not judge."""
    name = f"{looked.code} {looked.name}"
    answer: Answer = "unjudged" if looked.unjudged else "pass"
    message = looked.unjudged or "nothing was found"
    return Entry(rule=looked.code, title=title, name=name, answer=answer, message=message, key=name)


def _file(source: str) -> str:
    """The file of the data where it lies in the project, else none: a list of alerts knows no other."""
    path = PurePosixPath(source)
    inside = not path.is_absolute() and ".." not in path.parts and ":" not in source
    return source if inside and path.suffix in (".parquet", ".csv", ".arrow", ".feather") else ""


def _of_finding(found: Finding, title: str, data: str) -> Entry:
    limit = f", limit {found.limit:g}" if found.limit is not None else ""
    measured = f"measured {numbers.number(found.measured)}{limit}; " if found.measured is not None else ""
    hint = f"; try: {found.hint}" if found.hint else ""
    return Entry(
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
