"""D053: a log or labels that are kept longer than `[personal] retention` says."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from headway.core.contracts import Survey
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.personal.retention import length_of
from headway.store import segments, traffic

DAY_S = 86_400


def plugin(survey: Survey) -> list[Finding]:
    """A finding for each log, and for the labels, of which segments are older; raises NotApplicable without a limit."""
    state, said = survey.config.state, survey.config.personal.retention
    kept = list(traffic.kept_segments(state))
    if not kept:
        return []
    if not said:
        raise NotApplicable("nobody said how long log and labels are kept", mend='[personal] retention = "90d"')
    limit, now = length_of(said).total_seconds(), time.time()
    old = [path for path in kept if now - segments.written_ns(path) / 1e9 > limit]
    places = groupby(old, key=lambda path: "/".join(path.relative_to(state).parts[:2]))
    return [_finding(place, list(paths), said, now=now, limit_s=limit) for place, paths in places]


def _finding(place: str, old: list[Path], said: str, *, now: float, limit_s: float) -> Finding:
    oldest = min(map(segments.written_ns, old)) / 1e9
    since = datetime.fromtimestamp(oldest, UTC).date()
    return Finding(
        code="D053",
        severity="warn",
        says=f"{place} has {len(old):,} segments older than {said}, the oldest of {since}",
        where=place,
        measured=(now - oldest) / DAY_S,
        limit=limit_s / DAY_S,
        mend="headway forget",
    )
