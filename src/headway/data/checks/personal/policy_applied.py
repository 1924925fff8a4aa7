"""D052: `[personal]` changed a column, or keeps it for a stated reason."""

from __future__ import annotations

from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.personal.detection import find_personal_data
from headway.data.settings.personal import PersonalSection

CODES = ("D052",)
_DONE = "personal."


def plugin(context: CheckContext) -> list[Finding]:
    """Return a note per column, including kept columns in which nothing personal is found."""
    provenance = context.dataset.provenance
    actions = {name.removeprefix(_DONE): action for name, action in provenance.items() if name.startswith(_DONE)}
    return [_finding(context, column, action) for column, action in actions.items()]


def _finding(context: CheckContext, column: str, action: str) -> Finding:
    message = {
        "drop": "was dropped when the data was opened",
        "hash": "is a keyed hash, which can be grouped by but is not a feature",
    }.get(action)
    if action == "keep":
        found = find_personal_data(context.dataset.table.select(column))
        kinds = ", ".join(f"{match.kind} in {match.values:,} of {match.searched:,} values" for match in found)
        message = f"is kept ({kinds or 'no pattern matches'}): {context.config[PersonalSection].keep[column]}"
    return Finding(
        code="D052",
        severity="note",
        message=f"'{column}' {message or f'was changed: {action}'}",
        where=f"column {column}",
        hint="none, if [personal] in headway.toml is as intended",
    )
