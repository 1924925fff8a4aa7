"""D051: Some values of a column contain personal data, and `[personal]` does not mention it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.personal.detection import PersonalData, find_personal_data

CODES = ("D051",)


def plugin(survey: CheckContext) -> list[Finding]:
    """Return one undecided finding per column with the counts by kind."""
    section = survey.config.personal
    found = find_personal_data(survey.dataset.table, but={*section.keep, *section.hash})
    some = [each for each in found if not each.is_the_column and each.kind not in section.keep]
    return [_finding(column, list(each)) for column, each in groupby(some, key=lambda each: each.column)]


def _finding(column: str, found: Iterable[PersonalData]) -> Finding:
    kinds = sorted(found, key=lambda each: -each.values)
    told = ", ".join(f"{each.kind} in {each.values:,} (such as {each.like})" for each in kinds)
    return Finding(
        code="D051",
        severity="undecided",
        message=f"'{column}' holds personal data in some of its {kinds[0].looked_at:,} values: {told}",
        where=f"column {column}",
        measured=kinds[0].values / kinds[0].looked_at,
        limit=0.0,
        hint=f'[personal] drop = ["{kinds[0].kind}"] takes it out of texts; or [personal.keep] {column} = "WHY"',
    )
