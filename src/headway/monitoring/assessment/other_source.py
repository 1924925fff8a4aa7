"""D058: the data come from another source than when they were assessed."""

from __future__ import annotations

from headway.core.assessment import Assessment
from headway.core.evidence import Finding


def finding(before: Assessment, now: Assessment) -> list[Finding]:
    """What to say where the source is another."""
    if before.source == now.source:
        return []
    return [
        Finding(
            code="D058",
            severity="warn",
            message=f"the source is '{now.source}', and was '{before.source}' when assessed on {before.at[:10]}",
            where="[data] source",
            hint="read what this assessment finds; compare with headway check --history",
        )
    ]
