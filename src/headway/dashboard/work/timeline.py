"""Heavy work of the timeline: its chart and events, and the comparison of two releases."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from msgspec import to_builtins
from msgspec.structs import replace

from headway.core.config import Config
from headway.core.record import StoredRecord, digest_of, write
from headway.core.release import Release
from headway.registry.project import Project, project_of
from headway.reporting.changes import ReleaseChanges, compare_releases
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.charts.timeline import draw_timeline
from headway.reporting.events import list_events
from headway.reporting.read_report_data import read_monitoring_history
from headway.reporting.report_data import Event, ReportData
from headway.reporting.text.tables import tabulate_windows

RECORDS = 8
"""Records of a kind that are read for each period that is shown: a period may be judged several times."""
RECENT = 500
"""Records of a kind, and updates, that are searched for a digest which the store does not know."""
_MARK = "https://event.invalid/"
"""The chart library takes complete addresses only, so each mark first links to its event's index here."""
_SPEC_LINK = re.compile(rf'"{_MARK}(\d+)"')
_LINK = re.compile(rf'<a xlink:href="{_MARK}(\d+)"[^>]*>')


def read_timeline(config: Config, *, periods: int, evidence: str) -> dict[str, Any]:
    """Read the last periods of a model and draw them; `evidence` is the address of a record, before its digest.

    Returns
    -------
    dict
        `chart` (the fields of a `RenderedChart`, or None), `events` (oldest first), `windows` (every number as a
        table, or None) and `n_periods`. Records of the chart's module would bring its library with them.
    """
    project = project_of(config)
    try:
        year = read_monitoring_history(project, last=RECORDS * periods)
    finally:
        project.state.close()
    if year is None:
        return {"chart": None, "events": (), "windows": None, "n_periods": 0}
    year = replace(year, watches=year.watches[-periods:])
    report = ReportData(title=project.name, year=year)
    events = list_events(report)
    marks = [f"{_MARK}{index}" if event.record else "" for index, event in enumerate(events)]
    chart = draw_timeline(report, complete=True, links=marks, interactive=True)
    return {
        "chart": to_builtins(_with_links(chart, events, evidence)) if chart else None,
        "events": events,
        "windows": tabulate_windows(report) if year.watches else None,
        "n_periods": len(year.watches),
    }


def _with_links(chart: RenderedChart, events: Sequence[Event], evidence: str) -> RenderedChart:
    """Let the marks open the records of their events, under names; the chart is a group then, not one image."""

    def link(found: re.Match[str]) -> str:
        event = events[int(found[1])]
        return f'<a href="{escape(evidence + event.record)}" aria-label="{escape(event.what)}">'

    def linked(svg: str) -> str:
        return _LINK.sub(link, svg.replace('role="img"', 'role="group"', 1))

    def linked_spec(spec: str) -> str:
        return _SPEC_LINK.sub(lambda found: json.dumps(evidence + events[int(found[1])].record), spec)

    return replace(
        chart,
        wide=linked(chart.wide),
        narrow=linked(chart.narrow),
        wide_spec=linked_spec(chart.wide_spec),
        narrow_spec=linked_spec(chart.narrow_spec),
    )


def find_record(config: Config, digest: str, kinds: Sequence[type[StoredRecord]]) -> StoredRecord | None:
    """Return a late record of that digest which the store has under another or under none, or None.

    A record that an earlier headway wrote has another digest today, and some verdicts are only in their release.
    """
    project = project_of(config)
    try:
        return next((record for record in _late_records(project, digest, kinds) if _digest(record) == digest), None)
    finally:
        project.state.close()


def _late_records(project: Project, digest: str, kinds: Sequence[type[StoredRecord]]) -> Iterator[StoredRecord]:
    """Yield the last records of these kinds, then the verdicts of the last releases that an update gives the digest."""
    for kind in kinds:
        yield from (saved.record for saved in project.recent(kind, limit=RECENT))
    moves = [entry.move for entry in project.registry.recent(project.name, limit=RECENT)]
    for release in dict.fromkeys(move.release for move in moves if move.release and move.verdict == digest):
        yield project.registry.resolve(f"{project.name}@{release.removeprefix('sha256:')}").release.verdict


def _digest(record: StoredRecord) -> str:
    return digest_of(write(record))


def compare(config: Config, before: str, after: str) -> tuple[ReleaseChanges, Release, Release]:
    """Compare two releases by their digests, every byte of both verified."""
    project = project_of(config)
    try:
        old, new = (
            project.registry.resolve(f"{project.name}@{digest.removeprefix('sha256:')}").release
            for digest in (before, after)
        )
    finally:
        project.state.close()
    return compare_releases(old, new), old, new
