"""A model over time: its releases and what happened to them, over quality, calibration, cost and drift."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from headway.core.errors import StoreError
from headway.core.evidence import Evidence
from headway.core.late import LateModule
from headway.core.monitoring import MonitoringReport, Ticket
from headway.core.record import StoredRecord, digest_of, kind_of, read
from headway.core.rollout import Rollout
from headway.core.training import Retraining
from headway.core.verdict import Verdict
from headway.dashboard.page import BadInput, Call, Page, Rendered, Reply, View
from headway.dashboard.resources import NotFound
from headway.registry.project import Project
from headway.reporting import record_sections
from headway.reporting.report_data import Stamp
from headway.reporting.text.overview import live_parts

if TYPE_CHECKING:
    from headway.dashboard.work import timeline as timeline_work
else:  # only the process for heavy work imports them
    timeline_work = LateModule("headway.dashboard.work.timeline")

PATH = "/models/{model}"
PERIODS = (12, 24, 60, 120)
POINTERS = ("live", "canary")
PER_PAGE = 50
KINDS: tuple[type[StoredRecord], ...] = (Evidence, Verdict, MonitoringReport, Rollout, Ticket, Retraining)
"""Records that a page shows by their digest."""


def _timeline(call: Call) -> Reply:
    project = call.project
    periods, pointer = _periods(call), call.query.get("pointer", "")
    if pointer not in ("", *POINTERS):
        raise BadInput(f"{pointer!r} is not a pointer", hint=f"one of {', '.join(POINTERS)}")
    before = _number(call, "before")
    updates = project.registry.recent(project.name, pointer, limit=PER_PAGE, before=before)
    found = call.dashboard.cache.soon(
        (project.name, "timeline", periods, _last(project)), partial(_read, call, periods)
    )
    now = call.dashboard.live.now()
    model = now.models[project.name]
    values = {
        "now": now,
        "state": model.state,
        "parts": live_parts(model.state, model.traffic),
        "found": found,
        "events": _events(found, call.query.get("kind", "")) if found else (),
        "kinds": tuple(dict.fromkeys(event.kind for event in found["events"])) if found else (),
        "updates": updates,
        "releases": tuple(dict.fromkeys(entry.move.release for entry in updates if entry.move.release)),
        "older": updates[-1].index if len(updates) == PER_PAGE else 0,
        "before": before,
        "pointer": pointer,
        "periods": periods,
        "choices": PERIODS,
        "pointers": POINTERS,
        "kind": call.query.get("kind", ""),
    }
    return Rendered(template="timeline.html", values=values)


def _read(call: Call, periods: int) -> dict[str, Any]:
    evidence = f"/models/{call.project.name}/evidence/"
    return call.dashboard.workers.run(
        timeline_work.read_timeline, call.project.config, periods=periods, evidence=evidence
    )


def _events(found: Mapping[str, Any], kind: str) -> list[tuple[int, Any]]:
    """Return the events with the numbers of their marks, the last first; those of a kind if one is given."""
    numbered = list(enumerate(found["events"], 1))
    return [(number, event) for number, event in reversed(numbered) if kind in ("", event.kind)]


def _last(project: Project) -> str:
    """Return a digest of the last update and of the last record of each kind that the timeline shows."""
    last = project.state.last(project.name)
    contents = [project.state.latest(kind_of(kind), name=project.name) for kind in (*KINDS, Stamp)]
    return digest_of(b"".join(digest_of(one).encode() for one in (last.content if last else b"", *contents) if one))


def _periods(call: Call) -> int:
    count = _number(call, "periods") or PERIODS[1]
    if count not in PERIODS:
        raise BadInput(f"{count} periods cannot be shown", hint=f"one of {', '.join(map(str, PERIODS))}")
    return count


def _number(call: Call, name: str) -> int:
    text = call.query.get(name, "") or "0"
    if not text.isdecimal() or len(text) > 18:
        raise BadInput(f"{name} is {text[:20]!r}, not a number", hint="follow a link of the page")
    return int(text)


def _evidence(call: Call) -> Reply:
    project, digest = call.project, call.path["digest"]
    for kind in KINDS:
        for content in project.state.records(kind_of(kind), name=project.name, digest=digest):
            found = read(kind, content)
            return _shown(digest, found)
    late = call.dashboard.workers.run(timeline_work.find_record, project.config, digest, KINDS)
    if late is not None:
        return _shown(digest, late)
    raise NotFound(f"{project.name} has no record {digest[:24]}", hint="open it from the timeline")


def _shown(digest: str, record: StoredRecord) -> Reply:
    values = {"digest": digest, "shown": record_sections.describe_record(record)}
    return Rendered(template="evidence.html", values=values)


def _changes(call: Call) -> Reply:
    project = call.project
    before, after = (_release(call, name) for name in ("from", "to"))
    if not before or not after:
        raise BadInput("two releases are needed", hint="choose both on the timeline")
    key = (project.name, "changes", before, after)
    compute: Callable[[], Any] = partial(
        call.dashboard.workers.run, timeline_work.compare, project.config, before, after
    )
    try:
        found = call.dashboard.cache.soon(key, compute, within_s=30.0)
    except StoreError as error:
        raise NotFound(error.what, hint="choose both on the timeline") from error
    values = {"found": found, "before": before, "after": after}
    return Rendered(template="changes.html", values=values)


def _release(call: Call, name: str) -> str:
    digest = call.query.get(name, "").strip()
    if digest and not all(letter in "0123456789abcdef" for letter in digest.removeprefix("sha256:")):
        raise BadInput(f"{digest[:24]!r} is not the digest of a release", hint="choose both on the timeline")
    return digest


plugin = Page(
    views=[
        View(PATH, _timeline),
        View(f"{PATH}/evidence/{{digest}}", _evidence),
        View(f"{PATH}/changes", _changes),
    ],
    tab="Timeline",
    order=10,
)
