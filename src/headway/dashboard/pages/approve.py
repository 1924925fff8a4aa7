"""Approve: what waits for a person, with its verdict; and the ways back, which act at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from msgspec.structs import replace

from headway.core.errors import HeadwayError, Refused
from headway.core.evidence import Evidence, Measurement
from headway.core.release import PointerUpdate
from headway.core.rollout import Rollout
from headway.core.verdict import LIVE
from headway.dashboard.page import Action, BadInput, Call, Page, Redirect, Rendered, Reply, View
from headway.dashboard.work.rollout import measure_rollout
from headway.monitoring.alerts.deliver import start_delivery
from headway.monitoring.approvals import (
    STEPS,
    Pending,
    load_decisions,
    open_published,
    outcomes,
    pending_releases,
    policy_digest,
    save_decision,
    void_reason,
)
from headway.monitoring.rollout import latest_rollout, roll_back, roll_forward
from headway.registry.judge import rows_needed
from headway.registry.project import LIVE_POINTER, Project
from headway.registry.rollout import next_step
from headway.reporting.text import tables
from headway.reporting.text.formatting import format_seconds, format_time, short_digest
from headway.reporting.text.speeds import describe_costs, find_costs

PATH, STAGE = "/models/{model}/approve", "/models/{model}/approve/stage"
COMPLETE = "headway release --approved"
_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A step that waits, as the page shows it."""

    pending: Pending
    what: str
    rules: tables.Table
    cost: str
    compared: tables.Table | None
    more: Sequence[str]
    assumption: str


def _approve(call: Call) -> Reply:
    project = call.project
    live, problem = _live(project)
    rollout = _running(project)
    back, forward = _returns(project) if live and rollout is None else ([], [])
    values = {
        "live": live,
        "problem": problem,
        "back": back,
        "forward": forward,
        "rollout": rollout,
        "cards": [_card(one) for one in _pending(call)] if not problem else [],
        "decisions": _decisions(call),
        "cannot_sign": _cannot_sign(project),
        "complete": COMPLETE,
        "short": short_digest,
        "time": format_time,
    }
    return Rendered(template="approve.html", values=values)


def _stage(call: Call) -> Reply:
    rollout = _running(call.project)
    if rollout is None:
        return Redirect(path=_path(call), message="No rollout is running.")
    pending, n_requests = call.dashboard.workers.run(measure_rollout, call.project.config)
    forward = next_step(rollout)
    values = {
        "rollout": rollout,
        "card": _card(pending, n_requests=n_requests, evidence=open_published(call.project, rollout.release).evidence),
        "next": rollout.plan.stages[rollout.stage + 1].name if forward == "advance" else "live",
        "n_requests": n_requests,
        "cannot_sign": _cannot_sign(call.project),
        "complete": COMPLETE,
        "short": short_digest,
    }
    return Rendered(template="approve_stage.html", values=values)


def _decide(call: Call) -> Reply:
    """Save an approval, or a rejection, of what the page showed."""
    reason, seen, decision = call.reason(), call.form.get("seen", ""), call.form.get("decision", "")
    if decision not in ("approve", "reject"):
        raise BadInput("the form has no decision", hint="press one of the buttons of the page")
    if call.form.get("step") == "stage":
        waiting = [call.dashboard.workers.run(measure_rollout, call.project.config)[0]]
    else:
        waiting = pending_releases(call.project)
    found = next((one for one in waiting if one.seen == seen), None)
    if found is None:
        raise Refused("what waits has changed since the page was opened", hint="open the page again and look at it")
    approved = decision == "approve"
    if approved and found.answer != "pass" and "override" not in call.form:
        raise BadInput(
            f"the verdict is {found.answer}, so this would be an override",
            hint="tick the box that says so, or reject it",
        )
    approval = save_decision(call.project, found, approved=approved, who=call.session.user, why=reason)
    word = "override" if approval.override else decision
    call.save_action(f"{found.step}.{word}", subject=found.subject, reason=reason)
    if not approved:
        return Redirect(
            path=_path(call), message="Rejected. An approval that was given before does not count any more."
        )
    message = f"Approved{', as an override' if approval.override else ''}. The publisher completes it: {COMPLETE}"
    return Redirect(path=_path(call), message=message)


def _roll_back(call: Call) -> Reply:
    """Take the release that the page showed out of traffic, with the operator's key; every server follows."""
    return _leave(call, roll_back, action="rollback", done="Rolled back")


def _roll_forward(call: Call) -> Reply:
    """Move live forward again to a release that a rollback left, with the operator's key."""
    return _leave(call, roll_forward, action="forward", done="Forward again")


def _leave(call: Call, act: Callable[..., PointerUpdate | None], *, action: str, done: str) -> Reply:
    project, reason, shown = call.project, call.reason(), call.form.get("from", "")
    after = call.form.get("after", "")
    if not (after.isdecimal() and shown):
        raise BadInput("the form does not say which update it was made for", hint="open the page again")
    update = act(
        project,
        from_release=shown,
        who=call.session.user,
        why=reason,
        to=call.form.get("to", ""),
        after=int(after),
        key="operator",
    )
    if update is None:
        live, problem = _live(project)
        stands = f"live is {short_digest(live.release)}" if live else problem or "no release is live"
        return Redirect(path=_path(call), message=f"{short_digest(shown)} was left already; {stands}.")
    is_live = update.pointer == LIVE_POINTER
    call.save_action(action if is_live else "rollout.end", subject=update.release or project.name, reason=reason)
    start_delivery(project.config)
    if is_live:
        return Redirect(path=_path(call), message=f"{done}: {project.name} is at {short_digest(update.release)}.")
    return Redirect(path=_path(call), message="The rollout has ended. All callers get the live release.")


def _path(call: Call) -> str:
    return PATH.replace("{model}", call.project.name)


def _live(project: Project) -> tuple[PointerUpdate | None, str]:
    """Return where live stands, and the problem with it."""
    try:
        found = project.registry.head(f"{project.name}@{LIVE_POINTER}")
    except HeadwayError as error:
        return None, error.what
    return (found, "") if found and found.release else (None, "")


def _running(project: Project) -> Rollout | None:
    found = latest_rollout(project)
    return found if found and found.status == "running" else None


def _returns(project: Project) -> tuple[list[PointerUpdate], list[PointerUpdate]]:
    return project.registry.returns(f"{project.name}@{LIVE_POINTER}")


def _pending(call: Call) -> list[Pending]:
    """Return what waits, kept until a pointer moves, something is saved or published, or the rules change."""
    project = call.project
    kinds = ("search_result", "retraining", "rollout")
    saved = [project.state.last(), *(project.state.latest(kind, name=project.name) for kind in kinds)]
    folder = project.registry.folder / project.name
    published = folder.stat().st_mtime_ns if folder.is_dir() else 0
    key = ("approve", project.name, [hash(end) for end in saved], published, policy_digest(project.config))
    return call.dashboard.cache.get(repr(key), lambda: pending_releases(project))


def _cannot_sign(project: Project) -> HeadwayError | None:
    try:
        project.registry.load_operator()
    except HeadwayError as error:
        return error
    return None


def _card(pending: Pending, *, n_requests: int = 0, evidence: Sequence[Evidence] = ()) -> Card:
    compared = [found for found in pending.evidence.measurements if _compares(found)] if pending.evidence else []
    more = [
        text for result in pending.verdict.rule_results if (text := _more(result.rule.measure, rows_needed(result)))
    ]
    rate = _rate(pending, n_requests)
    if rate:
        more = [
            f"{text}, {format_seconds(needed / rate)} at the rate of this stage so far"
            for result in pending.verdict.rule_results
            if (needed := rows_needed(result)) and (text := _more(result.rule.measure, needed))
        ]
    return Card(
        pending=pending,
        what=STEPS[pending.step],
        rules=_rules(pending),
        cost=describe_costs(find_costs([*evidence, *filter(None, (pending.evidence, pending.timed))])),
        compared=tables.tabulate_measurements(compared) if compared else None,
        more=more,
        assumption="If the value stays what it is, and further rows are like those at hand." if more else "",
    )


def _rules(pending: Pending) -> tables.Table:
    """Return the verdict rule by rule, with the explanation of each below it, which a narrow window needs."""
    groups = "keys" if pending.step == "stage" else "groups"
    table = tables.tabulate_rules(pending.verdict, groups=groups)
    notes = tuple(result.message for result in pending.verdict.rule_results)
    return replace(table, columns=table.columns[:-1], rows=tuple(row[:-1] for row in table.rows), notes=notes)


def _more(measure: str, needed: int | None) -> str:
    return f"{measure}: about {_rounded(needed):,} more rows would decide" if needed else ""


def _rounded(count: int) -> int:
    """Round to two digits: it is an estimate."""
    digits = max(int(math.log10(count)) - 1, 0)
    unit: int = 10**digits
    return math.ceil(count / unit) * unit


def _rate(pending: Pending, n_requests: int) -> float:
    """Return requests per second of a stage; 0 if there were none."""
    if pending.step != "stage" or not n_requests:
        return 0.0
    began = datetime.fromisoformat(pending.made_at).astimezone()
    return n_requests / max((datetime.now(UTC) - began).total_seconds(), 1.0)


def _compares(found: Measurement) -> bool:
    return found.name.startswith(LIVE) and not found.slice


def _decisions(call: Call) -> Sequence[Sequence[str]]:
    """Return the last decisions: when, who, what, and what became of it."""
    project, now = call.project, datetime.now(UTC)
    saved, done = load_decisions(project, limit=_SHOWN), outcomes(project)
    rows = []
    for digest, one in saved:
        word = "override" if one.override else "approved" if one.approved else "rejected"
        outcome = done.get(digest)
        if outcome:
            state = outcome.message
        elif not one.approved:
            state = "nothing is released"
        elif one.step == "stage":
            state = "expired" if one.is_expired(now) else f"waits for the publisher: {COMPLETE}"
        else:
            void = void_reason(one, _pending(call), saved, now=now)
            state = f"void: {void}" if void else f"waits for the publisher: {COMPLETE}"
        rows.append(
            (format_time(one.at), one.who, word, f"{STEPS[one.step]} {short_digest(one.subject)}", one.why, state)
        )
    return rows


plugin = Page(
    views=[View(PATH, _approve), View(STAGE, _stage)],
    actions=[
        Action(f"{PATH}/decide", _decide),
        Action(f"{PATH}/rollback", _roll_back),
        Action(f"{PATH}/forward", _roll_forward),
    ],
    tab="Approve",
    order=20,
)
