"""The verdicts of a scan as text, JSON, Markdown, JUnit and SARIF."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from headway.core.verdict import Answer as VerdictAnswer
from headway.reporting.gates.gate import plain_text
from headway.reporting.gates.test_report import TestCase, TestReport
from headway.reporting.text.formatting import one_line
from headway.reporting.text.markdown import escape_markdown
from headway.reporting.text.tables import make_table, text_cell
from headway.reporting.text.terminal import TerminalTable
from headway.scanning.verdicts import FileVerdict, Problem, Verdict
from headway.security.scan import ScanResult

OF_VERDICT: dict[Verdict, VerdictAnswer] = {"unsafe": "fail", "not judged": "undecided", "safe": "pass"}
MAX_SHOWN = 200


def render_scan(found: ScanResult) -> RenderableType:
    """Render the files that are not safe, with the first reason of each, and the answer in one sentence."""
    listed = [file for file in found.files if file.problems]
    if not listed:
        return Text(conclude_scan(found))
    rows = [
        (text_cell(one_line(file.name)), text_cell(file.kind), text_cell(file.verdict), text_cell(_reason(file)))
        for file in listed[:MAX_SHOWN]
    ]
    table = TerminalTable(make_table(("File", "Format", "Verdict", "Reason"), rows, folds=("File", "Reason")))
    more = [Text(f"{len(listed) - MAX_SHOWN:,} more: --json lists all")] if len(listed) > MAX_SHOWN else []
    return Group(table, *more, Text(conclude_scan(found)))


def conclude_scan(found: ScanResult) -> str:
    """Return the answer of a scan as one sentence, such as `1 of 3 files is unsafe; 2 are safe`."""
    total = len(found.files)
    if not total:
        return "not judged: the folder is empty"
    counts = [(verdict, found.count(verdict)) for verdict in get_args(Verdict)]
    return f"{total:,} file{'s' * (total != 1)}: " + ", ".join(f"{count:,} {verdict}" for verdict, count in counts)


def _reason(file: FileVerdict) -> str:
    first, others = file.problems[0], len(file.problems) - 1
    where = f"{first.location}: " if first.location else ""
    return one_line(f"{where}{first.message}") + (f" (and {others:,} more)" if others else "")


def scan_text(found: ScanResult) -> str:
    """Return the table and the answer as plain text."""
    return plain_text(render_scan(found))


def scan_outputs(found: ScanResult) -> Mapping[str, str]:
    """Return the outputs for GitHub Actions."""
    return {
        "verdict": found.verdict,
        "unsafe": str(found.count("unsafe")),
        "not_judged": str(found.count("not judged")),
    }


def scan_json(found: ScanResult) -> str:
    """Return one JSON object: the verdict, and each file with its problems."""
    files = [
        {
            "name": file.name,
            "format": file.kind,
            "size_bytes": file.size_bytes,
            "verdict": file.verdict,
            "problems": [_problem(problem) for problem in file.problems],
        }
        for file in found.files
    ]
    value = {"path": found.path, "verdict": found.verdict, "files": files}
    return msgspec.json.encode(value).decode("utf-8", "replace") + "\n"


def _problem(problem: Problem) -> dict[str, str | bool]:
    return {
        "code": problem.code,
        "message": problem.message,
        "location": problem.location,
        "unsafe": problem.is_unsafe,
    }


def scan_markdown(found: ScanResult) -> str:
    """Return the answer and the files that are not safe as Markdown."""
    lines = [
        f"- {escape_markdown(one_line(file.name))}: {file.verdict}: {escape_markdown(_reason(file))}"
        for file in found.files
        if file.problems
    ]
    return "\n".join([f"**{conclude_scan(found)}**", "", *lines[:MAX_SHOWN]]).rstrip() + "\n"


def scan_test_report(found: ScanResult) -> TestReport:
    """Return the test report of a scan: one case a problem, and one for each safe file."""
    return TestReport(
        of="scan",
        project=found.path,
        answer=OF_VERDICT[found.verdict],
        entries=tuple(case for file in found.files for case in _cases(file)),
        properties={"files": str(len(found.files)), **scan_outputs(found)},
        facts={"verdict": found.verdict, "files": len(found.files)},
        summary=conclude_scan(found),
        where=found.path,
    )


def _cases(file: FileVerdict) -> list[TestCase]:
    if not file.problems:
        return [
            TestCase(
                rule="safe", title="safe", name=file.name, answer="pass", message="safe", key=file.name, file=file.name
            )
        ]
    return [
        TestCase(
            rule=problem.code,
            title=problem.code.replace("-", " "),
            name=f"{file.name}: {problem.code}",
            answer="fail" if problem.is_unsafe else "undecided",
            message=f"{problem.location}: {problem.message}" if problem.location else problem.message,
            key=f"{file.name} {problem.code} {problem.location}",
            file=file.name,
        )
        for problem in file.problems
    ]
