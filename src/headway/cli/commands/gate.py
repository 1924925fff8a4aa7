"""Judge the winner of the last search by the policy as it now stands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway import pipeline
from headway.cli.exit_codes import OF_ANSWER
from headway.core.config import FILE
from headway.registry.judge import judge
from headway.registry.project import open_project
from headway.reporting.gates.formats import GATE, write_reports
from headway.reporting.gates.gate import gate_result


def plugin(
    *,
    project: Path = Path("."),
    format: Annotated[tuple[str, ...], Parameter(negative=())] = ("text",),
    json: bool = False,
) -> int:
    """Judge the evidence on the last winner; nothing is run. Exit 0 pass, 1 fail, 3 undecided.

    Example: headway gate --project headway-demo
    Example: headway gate --project headway-demo --format text --format junit=gate.xml --format sarif=gate.sarif

    Parameters
    ----------
    project
        Folder with headway.toml.
    format
        `text`, `json`, `junit`, `sarif`, `markdown` (the body of a comment on a pull request) or `github` (summary and
        outputs of the step): printed, or written with `=FILE`. May be given many times.
    json
        Print one JSON object.
    """
    opened = open_project(project)
    frontier = pipeline.last_search(opened)
    looks = opened.state.test_evaluations(opened.name, frontier.winner.evidence.dataset)
    verdict = judge(frontier.winner.evidence, opened.config.policy, test_evaluations=looks)
    inside = not project.is_absolute() and ".." not in project.parts
    case = gate_result(frontier, verdict, (project / FILE).as_posix() if inside else FILE)
    write_reports(case, ["json"] if json else format, os.environ, GATE)
    return OF_ANSWER[verdict.answer]
