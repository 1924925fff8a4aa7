"""Search the variants of a project's model, or of a model file, and judge the fastest that is still right."""

from __future__ import annotations

from pathlib import Path

from headway.cli.actions.searches import Rows, Ways, of_file, of_project
from headway.cli.exit_codes import OF_ANSWER
from headway.cli.output import console, show
from headway.registry.project import open_project

NO_ROWS, AS_SET = Rows(), Ways()


def plugin(
    model: Path | None = None,
    *,
    rows: Rows = NO_ROWS,
    ways: Ways = AS_SET,
    project: Path = Path("."),
    json: bool = False,
) -> int:
    """Search variants and judge the winner. Exit 0 pass, 1 fail, 3 undecided.

    Example: headway optimize --project headway-demo --budget 60s
    Example: headway optimize model.txt --data rows.parquet --target late --groups date

    Parameters
    ----------
    model
        A file with a fitted model, judged on --data; without it, the project's own.
    project
        Folder with headway.toml.
    json
        Print one JSON object.
    """
    callback = (lambda _: None) if json else console().print
    if model is None:
        found = of_project(open_project(project, flags=ways.flags), trust=rows.trust, callback=callback)
    else:
        found = of_file(model, rows, ways, callback=callback)
    show(found.frontier, found.text, json=json)
    return OF_ANSWER[found.frontier.winner.verdict.answer]
