"""Evaluate the winner of a search with every metric and audit, judged by the policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway import pipeline
from headway.cli.exit_codes import OF_ANSWER
from headway.cli.main import AsJson, ProjectFolder, SearchDigest
from headway.registry.project import open_project
from headway.reporting.console import make_console, print_result
from headway.reporting.text.formatting import parse_duration
from headway.reporting.text.terminal import render_evaluation


def plugin(
    *,
    project: ProjectFolder = Path("."),
    search: SearchDigest = "",
    audit: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    budget: str = "",
    json: AsJson = False,
) -> int:
    """Compute all metrics and audits of the winner of a search, by default the last. Exit 0 pass, 1 fail, 3 undecided.

    Example: headway evaluate --project headway-demo
    Example: headway evaluate --project headway-demo --audit start --budget 30s

    Parameters
    ----------
    audit
        An audit to run (`headway plugins` lists them); may be repeated; default: all audits.
    budget
        Longest time of one audit (30s, 5m), in place of [evaluate] budget_s.
    """
    opened = open_project(project, flags={"evaluate.budget_s": str(parse_duration(budget))} if budget else {})
    callback = (lambda _: None) if json else make_console().print
    found = pipeline.audit_winner(
        opened, pipeline.find_search(opened, search), pipeline.periods(opened), audits=audit, callback=callback
    )
    print_result(found.winner, render_evaluation(found.winner), json=json)
    return OF_ANSWER[found.winner.verdict.answer]
