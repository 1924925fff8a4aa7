"""What was live when: every move of the pointers with who, when, why and the verdict."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from headway.core import config
from headway.face.output import show
from headway.face.tables import history_table
from headway.release.register import Register


def plugin(*, project: Path = Path("."), at: datetime | None = None, json: bool = False) -> None:
    """Show every move of the project's pointers, or what was live at a time; the chain is verified first.

    Example: headway history --project headway-demo

    Parameters
    ----------
    project
        Folder with headway.toml.
    at
        A time, such as 2026-11-24T12:00: show only what was live then.
    json
        Print one JSON object.
    """
    settings = config.load(project)
    register = Register.from_config(settings)
    found = (register.live_at(f"{settings.project.name}@live", at),) if at else register.history(settings.project.name)
    moves = [move for move in found if move]
    show(moves, history_table(moves), json=json)
