"""Audit: who did what to which model, when and why; filtered by the address, and exported."""

from __future__ import annotations

from datetime import date
from typing import Literal

from starlette.responses import StreamingResponse

from headway.dashboard.app import link
from headway.dashboard.page import BadInput, Call, Page, Rendered, Reply, View
from headway.registry.project import Project
from headway.reporting import audit
from headway.reporting.audit import AuditFilter, Kind

PATH = "/audit"
LIMIT = 50
FIELDS = ("model", "kind", "who", "since", "until")


def _filter(call: Call) -> AuditFilter:
    """Return the filter of the address; raises BadInput for a kind or a day that is none."""
    wanted = {name: call.query.get(name, "").strip() for name in FIELDS}
    kind: Kind | Literal[""] = next((kind for kind in audit.KINDS if kind == wanted["kind"]), "")
    if wanted["kind"] and not kind:
        raise BadInput(f"{wanted['kind']!r} is an unknown kind of entry", hint="choose one of the list")
    for name in ("since", "until"):
        try:
            wanted[name] = date.fromisoformat(wanted[name]).isoformat() if wanted[name] else ""
        except ValueError:
            raise BadInput(f"{wanted[name]!r} is not a day", hint="such as 2026-11-28") from None
    if wanted["model"]:
        call.dashboard.project(wanted["model"])
    return AuditFilter(
        model=wanted["model"], kind=kind, who=wanted["who"], since=wanted["since"], until=wanted["until"]
    )


def _projects(call: Call) -> list[Project]:
    return list(call.dashboard.projects.values())


def _audit(call: Call) -> Reply:
    wanted = _filter(call)
    before = _positions(call.query.get("before", ""))
    page = audit.audit_page(_projects(call), wanted, before=before, limit=LIMIT)
    chosen = {name: call.query.get(name, "") for name in FIELDS}
    following = ",".join(f"{stream}:{position}" for stream, position in page.following.items())
    values = {
        "entries": page.entries,
        "wanted": wanted,
        "kinds": audit.KIND_NAMES,
        "older": link(PATH, **chosen, before=following) if following else "",
        "first": link(PATH, **chosen) if before else "",
        "csv": link(f"{PATH}/export.csv", **chosen),
        "json_lines": link(f"{PATH}/export.jsonl", **chosen),
    }
    return Rendered(template="audit.html", values=values)


def _positions(text: str) -> dict[str, int]:
    """Return where a page begins: `STREAM:POSITION,...`; raises BadInput for another text."""
    found = {}
    for part in filter(None, text.split(",")):
        stream, _, position = part.rpartition(":")
        if not (stream and position.isdecimal() and len(position) < 19):
            raise BadInput("the address names no page", hint="open the page again")
        found[stream] = int(position)
    return found


def _csv(call: Call) -> Reply:
    entries = audit.audit_entries(_projects(call), _filter(call))
    return StreamingResponse(audit.export_csv(entries), media_type="text/csv; charset=utf-8", headers=_download("csv"))


def _json_lines(call: Call) -> Reply:
    entries = audit.audit_entries(_projects(call), _filter(call))
    return StreamingResponse(
        audit.export_json_lines(entries), media_type="application/jsonl", headers=_download("jsonl")
    )


def _download(suffix: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="audit.{suffix}"'}


plugin = Page(
    title="Audit",
    order=80,
    views=[
        View(PATH, _audit, role="operator"),
        View(f"{PATH}/export.csv", _csv, role="operator"),
        View(f"{PATH}/export.jsonl", _json_lines, role="operator"),
    ],
)
