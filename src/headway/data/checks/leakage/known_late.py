"""D025: The values of a column became known after the decision, according to its declared time column."""

from __future__ import annotations

import polars as pl

from headway.core.dataset import OUTCOME, REQUEST
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.roles import as_datetimes, decision_times, known_line

CODES = ("D025",)
LIMIT = 0.01


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding per `[data.known] COLUMN = "TIME"` with the share of rows whose value came after the decision.

    The decision is `[data] decision` if it reads `2h before COLUMN` (m, h, d), else the column `time`. Above 1 %
    it is a `stop`; it is undecided if the two times cannot be compared. This finds joins that look into the
    future.
    """
    dataset = context.dataset
    timed = {name: when for name, when in dataset.roles.known.items() if when not in (REQUEST, OUTCOME)}
    timed = {name: when for name, when in timed.items() if name in dataset.features}
    if not timed:
        raise NotApplicable("no feature has a time at which it was known", hint='[data.known] COLUMN = "TIME"')
    if not dataset.roles.time:
        raise NotApplicable("no column has the time of the decision", hint='[data] time = "COLUMN"')
    decision = decision_times(dataset.table, dataset.roles)
    found = [_finding(name, as_datetimes(dataset.table[when]), decision) for name, when in timed.items()]
    return [finding for finding in found if finding.measured or finding.severity == "undecided"]


def _finding(name: str, known: pl.Series, decision: pl.Series) -> Finding:
    comparable = known.dtype == pl.Datetime and _zoned(known) == _zoned(decision)
    late = int((known > decision).sum()) if comparable else 0
    share = late / max(1, len(known) - known.null_count())
    message = (
        f"'{name}' came later than the decision in {late:,} of {len(known):,} rows ({share:.1%}), by '{known.name}'"
    )
    reason = f"'{known.name}' is {known.dtype}, and the decision {decision.dtype}: the two cannot be compared"
    return Finding(
        code="D025",
        severity="undecided" if not comparable else "stop" if share > LIMIT else "warn",
        message=message if comparable else f"'{name}': {reason}",
        where=f"column {name}",
        measured=share if comparable else None,
        limit=LIMIT,
        hint=f"take its value as of the decision, or {known_line(name, 'outcome')}",
    )


def _zoned(times: pl.Series) -> bool:
    return getattr(times.dtype, "time_zone", None) is not None
