"""Roll a release out beside the live one: start, status, watch, advance, rollback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway.cli.actions.lineage import pass_on
from headway.cli.actions.rollouts import Given, Word, carry_out
from headway.cli.output import callback, show
from headway.registry.project import open_project

NOTHING = Given()


def plugin(
    action: Word = "status",
    reference: str = "",
    *,
    project: Path = Path("."),
    json: bool = False,
    given: Annotated[Given, Parameter(name="*")] = NOTHING,
) -> int:
    """Move a rollout on or back. Exit 0 forward or done, 1 taken back by the judge, 3 undecided.

    Example: headway rollout rollback flight-delays --project headway-demo --why "callers complain"

    Parameters
    ----------
    action
        start, status, watch (look each second until it ends, a line a change), advance (over the judge), or rollback.
    reference
        The project's name; to start, NAME@DIGEST, or the name alone for the winner of the last search.
    project
        Folder with headway.toml.
    json
        Print one JSON object.
    """
    opened = open_project(project, flags=given.flags)
    done = carry_out(opened, action, reference=reference, given=given, callback=callback)
    pass_on(opened)
    show(done.record, done.message, json=json)
    return done.code
