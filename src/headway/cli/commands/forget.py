"""Forget the rows of one key, or those older than 90d, in log, labels and features, with a signed proof."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway.cli.actions.forgetting import Given, carry_out
from headway.cli.output import show
from headway.registry.project import open_project

NOTHING = Given()


def plugin(
    key: str = "",
    *,
    project: Path = Path("."),
    json: bool = False,
    given: Annotated[Given, Parameter(name="*")] = NOTHING,
) -> int:
    """Erase rows and say what stays; servers may run. Exit 0 nothing is left, 3 something is that it cannot reach.

    Example: headway forget customer-17 --why "asked on 3 May" --project headway-demo
    Example: headway forget --older 90d --project headway-demo
    Example: headway forget --proofs --project headway-demo

    Parameters
    ----------
    key
        The key that callers gave with requests and labels. Without one, and without --older, rows older than
        [personal] retention go.
    project
        Folder with headway.toml.
    json
        Print one JSON object.
    """
    done = carry_out(open_project(project), key, given)
    show(done.value, done.message, json=json)
    return done.code
