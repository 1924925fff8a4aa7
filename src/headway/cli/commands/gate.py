"""Judge the winner of a search by the current policy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway import pipeline
from headway.cli.exit_codes import OF_ANSWER
from headway.cli.main import AsJson, ProjectFolder, SearchDigest
from headway.core.config import FILE
from headway.registry.project import open_project
from headway.reporting.gates.formats import GATE, write_reports
from headway.reporting.gates.gate import gate_result


def plugin(
    *,
    project: ProjectFolder = Path("."),
    search: SearchDigest = "",
    format: Annotated[tuple[str, ...], Parameter(negative=())] = ("text",),
    json: AsJson = False,
) -> int:
    """Judge the stored evidence on the winner of a search; nothing is measured. Exit 0 pass, 1 fail, 3 undecided.

    Example: headway gate --project headway-demo
    Example: headway gate --project headway-demo --format text --format junit=gate.xml --format sarif=gate.sarif

    Parameters
    ----------
    format
        `text`, `json`, `junit`, `sarif`, `markdown` (the body of a comment on a pull request) or `github` (summary and
        outputs of the step): printed, or written with `=FILE`. May be repeated.
    """
    opened = open_project(project)
    search_result = pipeline.find_search(opened, search)
    verdict = pipeline.gate(opened, search_result)
    inside = not project.is_absolute() and ".." not in project.parts
    result = gate_result(search_result, verdict, (project / FILE).as_posix() if inside else FILE)
    write_reports(result, ["json"] if json else format, os.environ, GATE)
    return OF_ANSWER[verdict.answer]
