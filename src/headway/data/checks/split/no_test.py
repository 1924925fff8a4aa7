"""D020: No rows are held out, or too few to evaluate a model."""

from __future__ import annotations

from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.context import CheckContext

CODES = ("D020",)
MIN_ROWS = 100
SEARCHED = ("validation", "test")


def plugin(context: CheckContext) -> list[Finding]:
    """Return a warning for `validation` and for `test` if it is missing or has fewer than 100 rows with an outcome.

    Without `validation` the search would use the test for selection.
    """
    if not context.periods:
        raise NotApplicable("the rows are not split: none are held out", hint="[split] train, validation and test")
    target = context.dataset.roles.target
    tables = {name: context.periods[name].table if name in context.periods else None for name in SEARCHED}
    counts = {name: 0 if table is None else len(table) - table[target].null_count() for name, table in tables.items()}
    return [
        Finding(
            code="D020",
            severity="warn",
            message=f"period '{name}' has {count} rows with an outcome, too few to evaluate a model",
            where=f"[split] {name}",
            measured=float(count),
            limit=float(MIN_ROWS),
            hint="a longer period, or [split] shares with more of the rows",
        )
        for name, count in counts.items()
        if count < MIN_ROWS
    ]
