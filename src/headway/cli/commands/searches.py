"""List all searches of a project, or show one with every variant and why it lost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Group

from headway import pipeline
from headway.cli.main import AsJson, ProjectFolder
from headway.core.errors import ConfigError
from headway.core.verdict import Answer
from headway.optimization.settings.optimize import OptimizeSection
from headway.registry.project import open_project
from headway.registry.searches import PAGE, list_searches
from headway.reporting.console import print_result
from headway.reporting.text import tables
from headway.reporting.text.terminal import TerminalTable, render_search


def plugin(
    search: str = "",
    *,
    project: ProjectFolder = Path("."),
    last: int = PAGE,
    before: int = 0,
    verdict: Annotated[Answer | None, Parameter(show_choices=False)] = None,
    winner: str = "",
    json: AsJson = False,
) -> None:
    """List all searches, newest first, or show the one of a digest; evaluate, gate, release and report take one too.

    Example: headway searches --project headway-demo
    Example: headway searches --project headway-demo --verdict pass --last 10

    Parameters
    ----------
    search
        The digest of a search, or its first digits: show its variants, and why each lost.
    last
        Number of searches to list.
    before
        List only those before this number of the first column.
    verdict
        List only those whose winner has this verdict: pass, fail or undecided.
    winner
        List only those whose winner has this in its name.
    """
    opened = open_project(project)
    if search:
        found = pipeline.find_search(opened, search)
        variants = tables.tabulate_variants(found.evaluated, winner=found.winner, reasons=found.reasons)
        option = "" if project == Path(".") else f" --project {project}"
        shown = render_search(
            found,
            objective=opened.config[OptimizeSection].objective,
            next_command=f"headway release --search {search}{option}",
            command=f"headway optimize{option}",
        )
        print_result(found, Group(TerminalTable(variants), shown), json=json)
        return
    if last < 1 or before < 0:
        raise ConfigError("--last must be 1 or more, and --before 0 or more", hint="headway searches --last 50")
    listed = list_searches(opened, limit=last, before=before, answer=verdict, winner=winner)
    table = TerminalTable(tables.tabulate_searches(listed))
    more = f"earlier ones: headway searches --before {listed[-1].position}" if len(listed) == last else ""
    text = Group(table, *([more] if more else [])) if listed else "no search matches"
    print_result([{"position": one.position, "search": one.record} for one in listed], text, json=json)
