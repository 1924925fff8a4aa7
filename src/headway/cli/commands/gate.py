"""Judge the winner of a search, or the candidate of a pull request, by the current policy and against live."""

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
from headway.reporting.gates.gate import describe_change, gate_result


def plugin(
    *,
    project: ProjectFolder = Path("."),
    search: SearchDigest = "",
    candidate: Path | None = None,
    first_model: bool = False,
    format: Annotated[tuple[str, ...], Parameter(negative=())] = ("text",),
    json: AsJson = False,
) -> int:
    """Judge a change against the live release. Exit 0 pass, 1 fail, 3 undecided, as without that release.

    It judges the stored evidence on the winner of a search, and measures nothing. With --candidate it measures the
    models of a pull request and the live release on the same rows, and runs no code of the pull request.

    Example: headway gate --project headway-demo
    Example: headway gate --project headway-demo --candidate candidate
    Example: headway gate --project headway-demo --first-model
    Example: headway gate --project headway-demo --format text --format junit=gate.xml --format sarif=gate.sarif

    Parameters
    ----------
    candidate
        Folder that `headway optimize --candidate` wrote in the job that ran the code of the pull request.
    first_model
        No release was ever live, so absolute rules decide. Without it, a store that holds no release is undecided. A
        release that is found is compared with in any case.
    format
        `text`, `json`, `junit`, `sarif`, `markdown` (the body of a comment on a pull request) or `github` (summary and
        outputs of the step): printed, or written with `=FILE`. May be repeated.
    """
    opened = open_project(project)
    if candidate is None:
        change = pipeline.gate(opened, pipeline.find_search(opened, search), first_model=first_model)
    else:
        change = pipeline.gate_candidate(opened, candidate, first_model=first_model)
    inside = not project.is_absolute() and ".." not in project.parts
    where = (project / FILE).as_posix() if inside else FILE
    result = gate_result(change.search, where, change=describe_change(change))
    write_reports(result, ["json"] if json else format, os.environ, GATE)
    return OF_ANSWER[result.verdict.answer]
