"""D020: No rows are held out, or too few to evaluate a model."""

from __future__ import annotations

from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.context import CheckContext

CODES = ("D020",)
FEWEST = 100
SEARCHED = ("validation", "test")


def plugin(survey: CheckContext) -> list[Finding]:
    """Return a warning for `validation` and for `test` if it is missing or has fewer than 100 rows with an outcome.

    Without `validation` the search would use the test for selection.
    """
    if not survey.periods:
        raise NotApplicable("the rows are not cut: nothing is held out", hint="[split] train, validation and test")
    target = survey.dataset.roles.target
    tables = {name: survey.periods[name].table if name in survey.periods else None for name in SEARCHED}
    counts = {name: 0 if table is None else len(table) - table[target].null_count() for name, table in tables.items()}
    return [
        Finding(
            code="D020",
            severity="warn",
            message=f"period '{name}' has {count} rows with an outcome: no model can be judged on it",
            where=f"[split] {name}",
            measured=float(count),
            limit=float(FEWEST),
            hint="a longer period, or [split] shares with more of the rows",
        )
        for name, count in counts.items()
        if count < FEWEST
    ]
