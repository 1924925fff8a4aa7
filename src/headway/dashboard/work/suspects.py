"""Heavy work of suspected labels: find them, read their rows, and keep what a person answers."""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.config import Config
from headway.core.labeling import describe_review
from headway.dashboard.work.labels import opened
from headway.data.open import open_rows
from headway.data.read import read_table
from headway.data.settings.data import DataSection
from headway.monitoring.labeling import selection, suspects


def find_suspects(config: Config) -> None:
    """Find the labels that may be wrong, and save them."""
    with opened(config) as project:
        suspects.save_suspects(project)


def read_suspects(config: Config, rows: Sequence[int]) -> list[dict[str, str]]:
    """Return rows of a project as they are opened, without its target, by their numbers from 1."""
    with opened(config) as project:
        table = open_rows(config, read_table(config), state=project.state).table.drop(config[DataSection].target)
    found = table[[row - 1 for row in rows if row <= len(table)]]
    return [{name: selection.as_text(value) for name, value in row.items()} for row in found.iter_rows(named=True)]


def review_label(config: Config, *, row: int, to: str, who: str, why: str, digest: str) -> str:
    """Correct or confirm a label, and return what became of it."""
    with opened(config) as project:
        return describe_review(suspects.review_label(project, row=row, to=to, who=who, why=why, digest=digest))
