"""D051: Some values of a column contain personal data, and `[personal]` does not mention it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.personal.detection import PersonalData, find_personal_data
from headway.data.settings.personal import PersonalSection

CODES = ("D051",)


def plugin(context: CheckContext) -> list[Finding]:
    """Return one undecided finding per column with the counts by kind."""
    section = context.config[PersonalSection]
    found = find_personal_data(context.dataset.table, exclude={*section.keep, *section.hash})
    some = [match for match in found if not match.is_the_column and match.kind not in section.keep]
    return [_finding(column, list(match)) for column, match in groupby(some, key=lambda match: match.column)]


def _finding(column: str, found: Iterable[PersonalData]) -> Finding:
    kinds = sorted(found, key=lambda match: -match.values)
    listed = ", ".join(f"{match.kind} in {match.values:,} (such as {match.example})" for match in kinds)
    return Finding(
        code="D051",
        severity="undecided",
        message=f"'{column}' holds personal data in some of its {kinds[0].searched:,} values: {listed}",
        where=f"column {column}",
        measured=kinds[0].values / kinds[0].searched,
        limit=0.0,
        hint=f'[personal] drop = ["{kinds[0].kind}"] removes it from strings; or [personal.keep] {column} = "WHY"',
    )
