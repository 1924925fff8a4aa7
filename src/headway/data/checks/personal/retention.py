"""D053: A log, labels or quarantined rows are older than `[personal] retention`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import groupby

from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.personal.policy import parse_duration
from headway.storage import quarantined, segments, traffic

CODES = ("D053",)
DAY_S = 86_400


def plugin(survey: CheckContext) -> list[Finding]:
    """Return a finding per log, for the labels and for the quarantine, if it has older files.

    Raises
    ------
    NotApplicable
        If data is stored and no limit is declared.
    """
    state, said = survey.config.state, survey.config.personal.retention
    kept = {path: segments.written_ns(path) for path in traffic.all_segments(state)}
    kept |= {path: quarantined.written_ns(path) for path in quarantined.files(state)}
    if not kept:
        return []
    if not said:
        raise NotApplicable(
            "nobody said how long log, labels and rows in quarantine are kept", hint='[personal] retention = "90d"'
        )
    limit, now = parse_duration(said).total_seconds(), time.time()
    old = [path for path, written in kept.items() if now - written / 1e9 > limit]
    places = groupby(old, key=lambda path: "/".join(path.relative_to(state).parts[:2]))
    return [_finding(place, [kept[path] for path in paths], said, now=now, limit_s=limit) for place, paths in places]


def _finding(place: str, old: list[int], said: str, *, now: float, limit_s: float) -> Finding:
    oldest = min(old) / 1e9
    since = datetime.fromtimestamp(oldest, UTC).date()
    return Finding(
        code="D053",
        severity="warn",
        message=f"{place} has {len(old):,} files older than {said}, the oldest of {since}",
        where=place,
        measured=(now - oldest) / DAY_S,
        limit=limit_s / DAY_S,
        hint="headway erase",
    )
