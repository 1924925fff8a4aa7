"""D001: A column is declared as known only after the outcome; it is excluded from training."""

from __future__ import annotations

from headway.core.dataset import OUTCOME
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.roles import known_line

CODES = ("D001",)


def plugin(context: CheckContext) -> list[Finding]:
    """Return a note per excluded column."""
    dataset = context.dataset
    after = [column for column, when in dataset.roles.known.items() if when == OUTCOME]
    return [
        Finding(
            code="D001",
            severity="note",
            message=f"'{column}' is declared to be known only after the outcome: no model here may read it",
            where=f"column {column}",
            hint=f"{known_line(column, 'request')}, if that is wrong",
        )
        for column in after
    ]
