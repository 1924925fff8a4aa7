"""API keys of the server: list them, make one, revoke one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway.cli.actions.keys import Given, Word, carry_out
from headway.cli.output import show
from headway.core import config
from headway.serving.auth.keys import keys_file

NOTHING = Given()


def plugin(
    action: Word = "list",
    name: str = "",
    *,
    project: Path = Path("."),
    json: bool = False,
    given: Annotated[Given, Parameter(name="*")] = NOTHING,
) -> None:
    """List the API keys of a project's server, make one, or revoke one; servers that run see it within a second.

    Example: headway key new billing --scope predict --per-s 100 --project headway-demo
    Example: headway key list --project headway-demo

    Parameters
    ----------
    action
        list, new (the key is printed, once and never again), or revoke.
    name
        The name of the key to make or revoke; logs show it, and never the key.
    project
        Folder with headway.toml.
    json
        Print one JSON object.
    """
    done = carry_out(keys_file(config.load(project)), action, name=name, given=given)
    show(done.value, done.message, json=json)
