"""Output formats of gate, check and scan; the same input gives the same bytes everywhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
from rich.console import RenderableType

from headway.core.errors import ConfigError
from headway.monitoring.assessment.assess import AssessmentResult
from headway.reporting.console import make_console, print_text, write_atomically
from headway.reporting.gates import check, gate, scan, test_report
from headway.reporting.gates.gate import GateResult
from headway.security.scan import ScanResult

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFormats(Generic[ResultT]):
    """The formats of a command by name, its terminal rendering, and its outputs for GitHub Actions."""

    formats: Mapping[str, Callable[[ResultT], str]]
    terminal: Callable[[ResultT], RenderableType]
    outputs: Callable[[ResultT], Mapping[str, str]]


def gate_json(case: GateResult) -> str:
    """Return the verdict as one JSON object on one line, as `--json` prints it."""
    return f"{msgspec.json.encode(case.verdict).decode()}\n"


GATE_FORMATS: dict[str, Callable[[GateResult], str]] = {
    "text": gate.gate_text,
    "json": gate_json,
    "junit": test_report.gate_junit,
    "sarif": test_report.gate_sarif,
    "markdown": gate.gate_markdown,
    "github": gate.gate_markdown,
}
CHECK_FORMATS: dict[str, Callable[[AssessmentResult], str]] = {
    "text": check.check_text,
    "json": check.check_json,
    "junit": lambda found: test_report.to_junit(check.check_test_report(found)),
    "sarif": lambda found: test_report.to_sarif(check.check_test_report(found)),
    "markdown": check.check_markdown,
    "github": check.check_markdown,
}
GATE = ReportFormats(formats=GATE_FORMATS, terminal=gate.render_gate, outputs=gate.gate_outputs)
CHECK = ReportFormats(formats=CHECK_FORMATS, terminal=check.render_assessment, outputs=check.check_outputs)
SCAN_FORMATS: dict[str, Callable[[ScanResult], str]] = {
    "text": scan.scan_text,
    "json": scan.scan_json,
    "junit": lambda found: test_report.to_junit(scan.scan_test_report(found)),
    "sarif": lambda found: test_report.to_sarif(scan.scan_test_report(found)),
    "markdown": scan.scan_markdown,
    "github": scan.scan_markdown,
}
SCAN = ReportFormats(formats=SCAN_FORMATS, terminal=scan.render_scan, outputs=scan.scan_outputs)


def write_reports(
    case: ResultT, wanted: Sequence[str], environment: Mapping[str, str], command: ReportFormats[ResultT]
) -> None:
    """Write a result in each requested format: `NAME` prints it, `NAME=FILE` writes it.

    `github` goes to the files that the environment names, and is printed where it names none. Raise ConfigError for an
    unknown format before anything is written.
    """
    formats = command.formats
    outputs = [(_known(name, formats), file) for name, _, file in (name.partition("=") for name in wanted)]
    for name, file in outputs:
        if file:
            write_atomically(formats[name](case), Path(file))
        elif name == "text" and sys.stdout.isatty():
            make_console().print(command.terminal(case))
        elif not (name == "github" and gate.publish_to_github(formats[name](case), command.outputs(case), environment)):
            print_text(formats[name](case))


def _known(name: str, formats: Mapping[str, object]) -> str:
    if name not in formats:
        known = ", ".join(formats)
        raise ConfigError(f"unknown format {name!r}; known: {known}", where="--format", hint="--format junit=gate.xml")
    return name
