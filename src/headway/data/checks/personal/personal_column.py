"""D050: A column is personal data, and `[personal]` does not mention it."""

from __future__ import annotations

from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.personal.detection import HALF, PersonalData, find_personal_data
from headway.data.settings.personal import PersonalSection

CODES = ("D050",)
SURE = frozenset({"email", "card", "iban", "national_id"})


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding per column where most unique values are one kind of personal data and nothing else.

    E-mail addresses and numbers with a check digit are a `stop`. Phone numbers and IP addresses are undecided,
    since other numbers have the same format.
    """
    section = context.config[PersonalSection]
    found = find_personal_data(context.dataset.table, exclude={*section.keep, *section.hash})
    return [_finding(match) for match in found if match.is_the_column and match.kind not in section.keep]


def _finding(found: PersonalData) -> Finding:
    return Finding(
        code="D050",
        severity="stop" if found.kind in SURE else "undecided",
        message=f"'{found.column}' is {found.kind}: {found.whole_values:,} of {found.searched:,} values, such as "
        f"{found.example}",
        where=f"column {found.column}",
        measured=found.whole_values / found.searched,
        limit=HALF,
        hint=f'[personal] drop = ["{found.column}"], or hash, or [personal.keep] {found.column} = "WHY"',
    )
