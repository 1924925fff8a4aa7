"""Train the live release anew where a ticket asks for it, and let it earn the place of live."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway.cli.actions.lineage import pass_on
from headway.cli.actions.retrainings import Asked, carry_out
from headway.cli.output import callback, show
from headway.registry.project import open_project

NOTHING = Asked()


def plugin(
    *, project: Path = Path("."), json: bool = False, asked: Annotated[Asked, Parameter(name="*")] = NOTHING
) -> int:
    """Act on the open ticket, or go on with the rollout of the last retraining: run it nightly.

    Exit 0 nothing to do or live now, 1 no better than live or taken back, 3 undecided, rolling out or only suggested.

    Example: headway retrain --project headway-demo --mode auto --follow

    Parameters
    ----------
    project
        Folder with headway.toml.
    json
        Print one JSON object.
    """
    opened = open_project(project, flags=asked.flags)
    done = carry_out(opened, asked, callback=callback)
    pass_on(opened)
    show(done.record, done.text, json=json)
    return done.code
