"""Train the model if need be, search its variants, and judge the fastest that is still right."""

from __future__ import annotations

from pathlib import Path

from headway import flow
from headway.face.codes import OF_ANSWER
from headway.face.output import console, show
from headway.face.tables import frontier_table
from headway.release.project import open_project


def plugin(*, project: Path = Path("."), json: bool = False) -> int:
    """Search the variants of a project's model and judge the winner. Exit 0 pass, 1 fail, 3 undecided.

    Example: headway optimize --project headway-demo

    Parameters
    ----------
    project
        Folder with headway.toml.
    json
        Print one JSON object.
    """
    opened = open_project(project)
    data = flow.periods(opened)
    tell = (lambda _: None) if json else console().print
    frontier = flow.optimize(opened, flow.train(opened, data), data, tell=tell)
    show(frontier, frontier_table(frontier.judged, frontier.winner, frontier.reasons), json=json)
    return OF_ANSWER[frontier.winner.verdict.answer]
