"""D001: a column that is declared to be known only after the outcome; it is kept out of training."""

from __future__ import annotations

from headway.core.contracts import CheckContext
from headway.core.dataset import OUTCOME
from headway.core.evidence import Finding
from headway.data.roles import known_line


def plugin(survey: CheckContext) -> list[Finding]:
    """A note for each such column, so that nobody wonders where it went."""
    dataset = survey.dataset
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
