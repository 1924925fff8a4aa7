"""Show which release was live when: every pointer update with who, when, why and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Group

from headway.core.release import PointerUpdate
from headway.registry.model_registry import ModelRegistry
from headway.registry.project import open_project
from headway.reporting.console import print_result
from headway.reporting.text import curves, formatting
from headway.reporting.text.terminal import render_history


def plugin(*, project: Path = Path("."), at: datetime | None = None, json: bool = False) -> None:
    """Show every update of the project's pointers, or the one that was live at a time; the hash chain is verified first.

    Below the table: the data digests that each release was trained and judged on, and the learning curve of the last
    training.

    Example: headway history --project headway-demo

    Parameters
    ----------
    project
        Folder with headway.toml.
    at
        A time, such as 2026-11-24T12:00: show only the release that was live then.
    json
        Print one JSON object.
    """
    opened = open_project(project)
    register = opened.registry
    found = (register.live_at(f"{opened.name}@live", at),) if at else register.history(opened.name)
    moves, curve = [move for move in found if move], None if at else curves.last_curve(opened)
    learned = [f"Last training: {curves.describe_curve(curve)}"] if curve else []
    print_result(moves, Group(render_history(moves), *_data_lines(register, moves), *learned), json=json)


def _data_lines(register: ModelRegistry, moves: Sequence[PointerUpdate]) -> list[str]:
    """Return a line per release with the digests of the data that it was trained and judged on."""
    lines = []
    for name, digest in dict.fromkeys((move.name, move.release) for move in moves if move.release):
        data = register.resolve(f"{name}@{digest}").release.data
        if data:
            digests = ", ".join(f"{period} {formatting.short_digest(of)}" for period, of in data.items())
            lines.append(f"{formatting.short_digest(digest)} was trained and judged on {digests}")
    return lines
