"""Roll a release out beside the live one: start, status, watch, advance, rollback."""

from __future__ import annotations

from getpass import getuser
from pathlib import Path

from headway.face.output import show
from headway.face.rollouts import Action, carry_out
from headway.release.project import open_project


def plugin(
    action: Action = "status", reference: str = "", *, project: Path = Path("."), why: str = "", json: bool = False
) -> int:
    """Move a rollout on or back. Exit 0 forward or done, 1 taken back by the judge, 3 undecided.

    Example: headway rollout rollback flight-delays --project headway-demo --why "callers complain"

    Parameters
    ----------
    action
        start, status, watch (look every second until it ends), advance (over the judge), or rollback.
    reference
        The project's name; to start, NAME@DIGEST, or the name alone for the winner of the last search.
    project
        Folder with headway.toml.
    why
        Why, for the history; to advance or roll back it must be said.
    json
        Print one JSON object.
    """
    opened = open_project(project)
    done = carry_out(opened, action, reference=reference, who=getuser(), why=why)
    show(done.record, done.says, json=json)
    return done.code
