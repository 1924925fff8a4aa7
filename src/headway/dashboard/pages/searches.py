"""Searches: all of them, one with its frontier and why each candidate lost, and two models point by point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, get_args

from headway.core.errors import HeadwayError, StoreError, StoreUnavailable
from headway.core.late import LateModule
from headway.core.verdict import Answer
from headway.dashboard.page import BadInput, Call, Page, Rendered, Reply, View
from headway.dashboard.resources import NotFound
from headway.dashboard.shown import ComparisonShown, Picture, SearchShown, search_shown
from headway.registry.project import Project
from headway.registry.searches import PAGE, list_searches, read_search, search_digest
from headway.reporting.text import formatting, tables

if TYPE_CHECKING:
    from headway.dashboard.work import searches as searches_work
else:  # only the process for heavy work imports them
    searches_work = LateModule("headway.dashboard.work.searches")

LIST, ONE = "/models/{model}/searches", "/models/{model}/searches/{search}"
COMPARE = "/models/{model}/searches/{search}/compare"
ANSWERS: tuple[Answer, ...] = get_args(Answer)
PERIODS = {"validation": "validation: the search compared its variants on it", "live": "live: rows of later months"}
N_UPDATES = 50
WAIT_S = 10.0
"""How long a page waits for a comparison."""


def _list(call: Call) -> Reply:
    verdict = call.query.get("verdict", "")
    if verdict not in ("", *ANSWERS):
        raise BadInput(f"no verdict is called {verdict!r}", hint=f"one of {', '.join(ANSWERS)}")
    found = call.query.get("found", "")
    before = _number(call.query.get("before", "0"))
    filters = {"verdict": verdict, "winner": call.query.get("winner", "").strip(), "found": found}
    listed = list_searches(
        call.project,
        limit=PAGE,
        before=before,
        answer=next((answer for answer in ANSWERS if answer == verdict), None),
        winner=filters["winner"],
        improved={"faster": True, "none": False}.get(found),
    )
    rows = [(saved.record, tables.describe_search(saved.record)) for saved in listed]
    older = str(listed[-1].position) if len(listed) == PAGE else ""
    values = {"rows": rows, "filters": filters, "older": older, "answers": ANSWERS, "is_first": not before}
    return Rendered(template="searches.html", values=values)


def _one(call: Call) -> Reply:
    digest = _digest(call)
    drawn = call.dashboard.cache.soon(("frontier", call.project.name, digest), lambda: _draw(call, digest))
    values = {
        "digest": digest,
        "shown": _shown(call, digest),
        "releases": _releases(call.project),
        "is_waiting": drawn is None,
        "frontier": drawn[0] if drawn else None,
        "conclusions": drawn[1] if drawn else (),
    }
    return Rendered(template="search.html", values=values)


def _digest(call: Call) -> str:
    """Return the digest of the search of the path; raises NotFound."""
    try:
        return search_digest(call.project, call.path["search"])
    except StoreUnavailable:
        raise
    except StoreError as error:
        raise NotFound(error.what, hint="choose it from the list of searches") from error


def _draw(call: Call, digest: str) -> tuple[Picture | None, tuple[str, ...]]:
    return call.dashboard.workers.run(searches_work.frontier, call.project.config, digest)


def _compare(call: Call) -> Reply:
    digest = _digest(call)
    names = _shown(call, digest).names
    releases = _releases(call.project)
    first, second = (call.query.get(name, "") for name in ("first", "second"))
    period = call.query.get("period", "validation")
    if period not in PERIODS:
        raise BadInput(f"models are not compared on {period!r}", hint=f"one of {', '.join(PERIODS)}")
    known = {**releases, **names}
    unknown = [reference for reference in (first, second) if reference and reference not in known]
    if unknown:
        raise BadInput(f"neither a variant nor a release: {unknown[0]!r}", hint="choose from the lists of the page")
    values: dict[str, object] = {
        "digest": digest,
        "names": names,
        "releases": releases,
        "first": first,
        "second": second,
        "period": period,
        "periods": PERIODS,
        "with_rows": call.session.may("operator"),
        "shown": None,
        "problem": None,
        "is_waiting": False,
    }
    if first and second:
        try:
            values["shown"] = shown = _comparison(call, digest, first, second, period)
            values["is_waiting"] = shown is None
        except HeadwayError as error:
            values["problem"] = error
    return Rendered(template="compare.html", values=values)


def _shown(call: Call, digest: str) -> SearchShown:
    project = call.project
    return call.dashboard.cache.get(
        ("search", project.name, digest), lambda: search_shown(read_search(project, digest))
    )


def _comparison(call: Call, digest: str, first: str, second: str, period: str) -> ComparisonShown | None:
    """Return the comparison, or None while it is made; what operators see is kept apart from what viewers see."""
    config, with_rows = call.project.config, call.session.may("operator")
    key = ("compare", call.project.name, digest, first, second, period, with_rows)

    def compare() -> ComparisonShown:
        return call.dashboard.long_work.run(
            searches_work.compare, config, digest, first, second, period, with_rows=with_rows
        )

    shown = call.dashboard.cache.soon(key, compare, within_s=WAIT_S)
    if shown is not None and shown.busy and shown.times is None:
        call.dashboard.cache.forget(key)  # a machine that is quiet later can measure it
    return shown


def _releases(project: Project) -> Mapping[str, str]:
    """Return the last releases by their address, each with what it was; empty if the history does not verify."""
    try:
        entries = project.registry.recent(project.name, limit=N_UPDATES)
    except HeadwayError:
        return {}
    found: dict[str, str] = {}
    for entry in entries:
        update = entry.move
        if update.release:
            at = f"{update.pointer} since {formatting.format_time(update.at)}"
            found.setdefault(f"{project.name}@{update.release}", f"{formatting.short_digest(update.release)}, {at}")
    return found


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 15:
        raise BadInput(f"{text!r} is not a place in the list", hint="follow the link Older of the page")
    return int(text)


plugin = Page(views=[View(LIST, _list), View(ONE, _one), View(COMPARE, _compare)], tab="Searches", order=40)
