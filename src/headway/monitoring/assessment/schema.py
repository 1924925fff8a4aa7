"""D059: columns that came, went, or are of another type than when the data were assessed."""

from __future__ import annotations

from collections.abc import Mapping

from headway.core.assessment import Assessment
from headway.core.evidence import Finding

NAMED = 5


def finding(before: Assessment, now: Assessment) -> list[Finding]:
    """What to say where the columns are others; their order does not count."""
    changes = _changes(before.columns, now.columns)
    if not changes:
        return []
    more = f" and {len(changes) - NAMED} more" if len(changes) > NAMED else ""
    return [
        Finding(
            code="D059",
            severity="warn",
            message=f"columns changed since {before.at[:10]}: {', '.join(changes[:NAMED])}{more}",
            where="columns",
            measured=float(len(changes)),
            limit=0.0,
            hint="say of a new column when it is known: [data.known] COLUMN; train anew before the model is asked",
        )
    ]


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    came = [f"'{name}' is new" for name in now if name not in before]
    went = [f"'{name}' is gone" for name in before if name not in now]
    other = [
        f"'{name}' was {before[name]} and is {now[name]}"
        for name in now
        if name in before and before[name] != now[name]
    ]
    return [*went, *came, *other]
