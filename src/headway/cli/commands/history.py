"""Show which release was live when: every pointer update with who, when, why and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Group

from headway.cli.main import AsJson, ProjectFolder
from headway.core.release import PointerUpdate
from headway.registry.model_registry import ModelRegistry
from headway.registry.project import open_project
from headway.registry.withdrawals import withdrawals
from headway.reporting.console import print_result
from headway.reporting.text import curves, formatting
from headway.reporting.text.terminal import render_history

SHOWN = 100


def plugin(
    *,
    project: ProjectFolder = Path("."),
    at: datetime | None = None,
    last: int | None = None,
    json: AsJson = False,
) -> None:
    """Show the updates of the project's pointers, or the one that was live at a time.

    The hash chain is verified first, all of it.

    Below the table: the data digests that each release was trained and judged on, the withdrawals of its certificate,
    and the learning curve of the last training.

    Example: headway history --project headway-demo

    Parameters
    ----------
    at
        A time, such as 2026-11-24T12:00: show only the release that was live then.
    last
        Number of updates to show, the latest ones; 0 shows all. By default 100, and all with --json.
    """
    opened = open_project(project)
    registry = opened.registry
    found = (registry.live_at(f"{opened.name}@live", at),) if at else registry.history(opened.name)
    count = (0 if json else SHOWN) if last is None else max(last, 0)
    recorded = [update for update in found if update]
    updates, curve = recorded[-count:], None if at else curves.last_curve(opened)
    earlier = len(recorded) - len(updates)
    hidden = [f"{earlier:,} earlier updates are not shown: headway history --last 0"] if earlier else []
    learned = [f"Last training: {curves.describe_curve(curve)}"] if curve else []
    text = Group(*hidden, render_history(updates), *_data_lines(registry, updates), *learned)
    print_result(updates, text, json=json)


def _data_lines(registry: ModelRegistry, updates: Sequence[PointerUpdate]) -> list[str]:
    """Return lines on each release: the digests of its data, and the withdrawals of its certificate."""
    lines = []
    for name, digest in dict.fromkeys((update.name, update.release) for update in updates if update.release):
        data = registry.resolve(f"{name}@{digest}").release.data
        if data:
            digests = ", ".join(f"{period} {formatting.short_digest(of)}" for period, of in data.items())
            lines.append(f"{formatting.short_digest(digest)} was trained and judged on {digests}")
        lines += [
            f"{formatting.short_digest(digest)}: {one.by} withdrew its certificate on {one.at[:10]}: {one.why}"
            for one in withdrawals(registry.state, name, digest)
        ]
    return lines
