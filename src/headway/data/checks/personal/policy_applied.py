"""D052: `[personal]` changed a column, or keeps it for a stated reason."""

from __future__ import annotations

from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.personal.detection import find_personal_data

CODES = ("D052",)
_DONE = "personal."


def plugin(survey: CheckContext) -> list[Finding]:
    """Return a note per column, including kept columns in which nothing personal is found."""
    done = {name.removeprefix(_DONE): way for name, way in survey.dataset.provenance.items() if name.startswith(_DONE)}
    return [_finding(survey, column, way) for column, way in done.items()]


def _finding(survey: CheckContext, column: str, way: str) -> Finding:
    message = {"drop": "was dropped when it was opened", "hash": "is a keyed hash: it groups, and is no feature"}.get(
        way
    )
    if way == "keep":
        found = find_personal_data(survey.dataset.table.select(column))
        kinds = ", ".join(f"{match.kind} in {match.values:,} of {match.looked_at:,} values" for match in found)
        message = f"is kept ({kinds or 'nothing is found in it by pattern'}): {survey.config.personal.keep[column]}"
    return Finding(
        code="D052",
        severity="note",
        message=f"'{column}' {message or f'was changed: {way}'}",
        where=f"column {column}",
        hint="nothing, if that is what [personal] in headway.toml shall say",
    )
