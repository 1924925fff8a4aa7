"""D050: a column that is personal data, and nobody said what becomes of it."""

from __future__ import annotations

from headway.core.contracts import CheckContext
from headway.core.evidence import Finding
from headway.data.personal.detection import HALF, PersonalData, find_personal_data

SURE = frozenset({"email", "card", "iban", "national_id"})


def plugin(survey: CheckContext) -> list[Finding]:
    """Columns most of whose unique values are one kind of personal data, and nothing else.

    An address or a number with a check digit is a `stop`; a phone number or the address of a machine is `undecided`,
    for other numbers are written like them.
    """
    section = survey.config.personal
    found = find_personal_data(survey.dataset.table, but={*section.keep, *section.hash})
    return [_finding(each) for each in found if each.is_the_column and each.kind not in section.keep]


def _finding(found: PersonalData) -> Finding:
    return Finding(
        code="D050",
        severity="stop" if found.kind in SURE else "undecided",
        message=f"'{found.column}' is {found.kind}: {found.wholes:,} of {found.looked_at:,} values, such as {found.like}",
        where=f"column {found.column}",
        measured=found.wholes / found.looked_at,
        limit=HALF,
        hint=f'[personal] drop = ["{found.column}"], or hash, or [personal.keep] {found.column} = "WHY"',
    )
