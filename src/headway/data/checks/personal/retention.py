"""D053: A log, labels or quarantined rows are older than `[personal] retention`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import groupby

from headway.core.config import parse_age
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.settings.personal import PersonalSection
from headway.storage import segments, traffic
from headway.storage.addresses import open_logs

CODES = ("D053",)
DAY_S = 86_400


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding per log, for the labels and for the quarantine, if it has older files.

    Raises
    ------
    NotApplicable
        If data is stored and no limit is declared.
    """
    state, limit_text = context.config.state, context.config[PersonalSection].retention
    logs = open_logs(context.config)
    paths = traffic.all_segments(state) if logs is None else logs.paths()
    written = {path: segments.written_ns(path) for path in paths}
    written |= {path: path.stat().st_mtime_ns for path in traffic.quarantine_files(state)}
    if not written:
        return []
    if not limit_text:
        raise NotApplicable(
            "no retention is declared for log, labels and quarantined rows", hint='[personal] retention = "90d"'
        )
    limit, now = parse_age(limit_text).total_seconds(), time.time()
    old = [path for path, written in written.items() if now - written / 1e9 > limit]
    folders = groupby(old, key=lambda path: "/".join(path.relative_to(state).parts[:2]))
    return [
        _finding(folder, [written[path] for path in paths], limit_text, now=now, limit_s=limit)
        for folder, paths in folders
    ]


def _finding(folder: str, old: list[int], limit_text: str, *, now: float, limit_s: float) -> Finding:
    oldest = min(old) / 1e9
    since = datetime.fromtimestamp(oldest, UTC).date()
    return Finding(
        code="D053",
        severity="warn",
        message=f"{folder} has {len(old):,} files older than {limit_text}, the oldest of {since}",
        where=folder,
        measured=(now - oldest) / DAY_S,
        limit=limit_s / DAY_S,
        hint="headway erase",
    )
