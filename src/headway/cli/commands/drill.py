"""Break the winner of the last search on purpose, and see whether the policy refuses it for what is wrong with it."""

from __future__ import annotations

from pathlib import Path

from headway import pipeline
from headway.cli.actions.drills import drill_table
from headway.cli.exit_codes import FAIL, PASS
from headway.cli.output import show
from headway.registry.project import open_project


def plugin(*, project: Path = Path("."), json: bool = False) -> int:
    """Judge three models that are wrong and one that is right to the bit, made of the winner. Exit 0 all held, 1 not.

    Probabilities are made twice as sure, the decisions of one slice are turned, and missing values are read as numbers:
    each is to fail by a rule on just that. A copy in single precision is to be answered as the winner is. It is done on
    `choose`, where looks are free, and nothing is kept. What cannot be tried is told so, and is no fault of a gate.

    Example: headway drill --project headway-demo

    Parameters
    ----------
    project
        Folder with headway.toml.
    json
        Print one JSON object.
    """
    opened = open_project(project)
    found = pipeline.drill(opened, pipeline.last_frontier(opened), pipeline.periods(opened))
    show(found, drill_table(found), json=json)
    return PASS if all(each.held for each in found) else FAIL
