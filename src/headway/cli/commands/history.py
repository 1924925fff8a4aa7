"""What was live when: every move of the pointers with who, when, why and the verdict."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from rich.console import Group

from headway.cli.actions.origins import data_lines
from headway.cli.output import show
from headway.registry.project import open_project
from headway.reporting.text import curves
from headway.reporting.text.tables import history_table


def plugin(*, project: Path = Path("."), at: datetime | None = None, json: bool = False) -> None:
    """Show every move of the project's pointers, or what was live at a time; the chain is verified first.

    Under the moves stands which data each release was trained and judged on, by digest, and what the last training
    showed as it went on, if it drew a learning curve.

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
    opened = open_project(project)
    register = opened.register
    found = (register.live_at(f"{opened.name}@live", at),) if at else register.history(opened.name)
    moves, curve = [move for move in found if move], None if at else curves.last(opened)
    learned = [f"The last training: {curves.message(curve)}"] if curve else []
    show(moves, Group(history_table(moves), *data_lines(register, moves), *learned), json=json)
