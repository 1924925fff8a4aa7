"""D006: There are too few groups for an interval, one holds most rows, or every row is its own group."""

from __future__ import annotations

from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.roles import effective_groups

CODES = ("D006",)
LIMIT = 20


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding if there are fewer than 20 groups, in number or in worth, or as many groups as rows."""
    dataset = context.dataset
    column = dataset.roles.groups
    if not column:
        raise NotApplicable("no groups are declared: every row counts as independent", hint='[data] groups = "COLUMN"')
    sizes, rows = dataset.table[column].value_counts(sort=True)["count"].to_numpy(), len(dataset.table)
    count = len(sizes)
    if count < LIMIT:
        message = f"{_groups(count)} in '{column}': no method gives a valid interval below {LIMIT}"
        return [_finding(column, count, message, "collect more groups, or choose a finer column under [data] groups")]
    if count == rows:
        message = f"each of {rows:,} rows is its own group in '{column}': groups make no difference"
        hint = "[data] groups = a column that dependent rows share, such as the day; or remove it"
        return [_finding(column, count, message, hint)]
    if rows and (n_seen := effective_groups(sizes)) < LIMIT:
        message = (
            f"the largest of {count:,} groups in '{column}' has {sizes[0] / rows:.1%} of the rows: they are worth "
            f"{n_seen:.1f} groups of equal size, and no method gives a valid interval below {LIMIT}"
        )
        return [_finding(column, n_seen, message, "a finer column under [data] groups, such as the day")]
    return []


def _groups(count: int) -> str:
    return "all rows are one group" if count == 1 else f"{count} groups"


def _finding(column: str, count: float, message: str, hint: str) -> Finding:
    return Finding(
        code="D006",
        severity="undecided",
        message=message,
        where=f"column {column}",
        measured=float(count),
        limit=float(LIMIT),
        hint=hint,
    )
