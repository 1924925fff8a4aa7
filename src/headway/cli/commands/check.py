"""Check the data of a project: leakage of eight kinds, label and drift problems, and changes since the last check."""

from __future__ import annotations

import os
from getpass import getuser
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway import pipeline
from headway.cli.exit_codes import PASS, of_findings
from headway.cli.main import ProjectFolder
from headway.data.sampled import open_for_checks
from headway.monitoring.assessment.history import assessment_history
from headway.registry.project import open_project
from headway.reporting.check_page import write_check_report
from headway.reporting.console import print_result, print_status
from headway.reporting.gates.check import describe_changes, render_assessments
from headway.reporting.gates.formats import CHECK, write_reports


def plugin(
    *,
    history: bool = False,
    report: Path | None = None,
    format: Annotated[tuple[str, ...], Parameter(negative=())] = ("text",),
    who: str = "",
    project: ProjectFolder = Path("."),
    json: bool = False,
) -> int:
    """Check the data of a project and store the result. Exit 1 if a finding has severity stop, 3 undecided, else 0.

    Below the findings, each of the eight kinds of leakage is reported as found, undecided, clear or not applicable,
    with the reason. The result is stored as an assessment. Unchanged data belong to the last assessment; another
    source, columns, distributions or settings start a new one. Of a table with more than [data] max_rows rows, all are
    counted and some sampled; the result states which.

    Example: headway check --project headway-demo --report check.html
    Example: headway check --project headway-demo --history

    Parameters
    ----------
    history
        Run no check: list the stored assessments, with the findings that appeared and disappeared.
    report
        Write a report with charts to this file: one HTML file without dependencies.
    format
        `text`, `json`, `junit`, `sarif`, `markdown` or `github` (step summary and outputs): printed, or written to a
        file with `=FILE`. May be repeated.
    who
        Who checks; default: the name of the user.
    json
        Print one JSON object: `findings`, `leakage` by kind, and the number of the `assessment`.
    """
    opened = open_project(project)
    if history:
        stored = assessment_history(opened)
        print_result(stored, render_assessments(stored), json=json)
        return PASS
    with open_for_checks(opened.config) as dataset:
        found = pipeline.assess(opened, dataset, who=who or getuser())
    write_reports(found, ["json"] if json else format, os.environ, CHECK)
    if found.same:
        print_status(describe_changes(found)[0])
    if report:
        print_status(str(write_check_report(found, assessment_history(opened), report).resolve()))
    return of_findings(found.now.findings)
