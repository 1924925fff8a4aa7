"""Complete approvals on the publisher's machine: check that each still counts, then release, promote or advance."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from msgspec.structs import replace

from headway.core.approval import Approval, ApprovalOutcome
from headway.core.errors import HeadwayError, Refused
from headway.core.search_result import SearchResult
from headway.core.training import Retraining
from headway.core.verdict import Verdict
from headway.monitoring.approvals import (
    FORWARD,
    Pending,
    SavedApproval,
    load_decisions,
    outcomes,
    pending_releases,
    pending_stage,
    void_reason,
)
from headway.monitoring.retraining.promotion import begin_promotion
from headway.monitoring.rollout import RolloutController, latest_rollout
from headway.registry.judge import override_verdict
from headway.registry.model_registry import UpdateReason
from headway.registry.project import LIVE_POINTER, Project
from headway.registry.publish import release_winner
from headway.registry.rollout import next_step, overrule
from headway.registry.searches import read_search

POLL_S = 1.0
Callback = Callable[[str], object]


SIGNED_STEPS = ("published", "stage")
"""Steps of releases that a publisher signed already."""


def complete_approvals(
    project: Project,
    *,
    overrides: bool = True,
    unpublished: bool = True,
    callback: Callback,
    check_search: Callable[[SearchResult], object] = lambda _: None,
) -> list[ApprovalOutcome]:
    """Complete the approvals that wait, the oldest first, with the publisher's key; return what became of each.

    Each is completed or refused once.

    Parameters
    ----------
    overrides : bool
        Also what the judge did not pass.
    unpublished : bool
        Also the winner of a search and a retrained model, which are signed for the first time. Their records lie in the
        store unsigned: a thief who can write there and sign an approval could have another model released.
    check_search : callable
        Raises an error if the winner of a search must not be released, such as on rows that have changed since.
    """
    decisions, done = load_decisions(project), outcomes(project)
    found = []
    for saved in reversed(decisions):
        approval = saved.approval
        is_left_out = (approval.override and not overrides) or (approval.step not in SIGNED_STEPS and not unpublished)
        if approval.approved and saved.digest not in done and not is_left_out:
            outcome = _complete(project, saved, decisions, check_search)
            project.save(outcome)
            callback(outcome.message)
            found.append(outcome)
    return found


def follow_approvals(
    project: Project,
    *,
    overrides: bool = False,
    unpublished: bool = False,
    callback: Callback,
    check_search: Callable[[SearchResult], object] = lambda _: None,
    wait: Callable[[float], object] = time.sleep,
) -> None:
    """Complete approvals as they come, until the process ends; one process at a time does this."""
    with project.lease("approvals") as lease:
        while True:
            lease.expect_held()
            complete_approvals(
                project, overrides=overrides, unpublished=unpublished, callback=callback, check_search=check_search
            )
            wait(POLL_S)


def _complete(
    project: Project,
    saved: SavedApproval,
    decisions: Sequence[SavedApproval],
    check_search: Callable[[SearchResult], object],
) -> ApprovalOutcome:
    approval, now = saved.approval, datetime.now(UTC)
    title = f"approval by {approval.who} of {now.fromisoformat(approval.at):%F %H:%M}"
    try:
        check = _check_stage(project) if approval.step == "stage" else None
        pending = [check] if check else [] if approval.step == "stage" else pending_releases(project)
        void = void_reason(approval, pending, decisions, now=now)
        if void:
            raise Refused(f"it is void: {void}")
        found = next(one for one in pending if (one.step, one.subject) == (approval.step, approval.subject))
        message = _act(project, approval, found, check_search)
        completed = True
    except HeadwayError as error:
        message, completed = f"{error.what}{f' ({error.where})' if error.where else ''}", False
    word = "completed" if completed else "refused"
    return ApprovalOutcome(
        approval=saved.digest,
        at=now.isoformat(timespec="seconds"),
        completed=completed,
        message=f"{title} {word}: {message}",
    )


def _check_stage(project: Project) -> Pending | None:
    rollout = latest_rollout(project)
    if rollout is None or rollout.status != "running":
        return None
    return pending_stage(rollout, RolloutController(project, rollout).find())


def _act(project: Project, approval: Approval, pending: Pending, check_search: Callable[[SearchResult], object]) -> str:
    """Do what was approved; return it in a sentence. Pointers are moved only if they have not moved since."""
    who, why = approval.who, f"override: {approval.why}" if approval.override else approval.why
    verdict = _verdict(approval, pending)
    if approval.step == "stage":
        return _advance(project, approval)
    if approval.step == "search":
        search = read_search(project, approval.subject)
        if not approval.override:
            check_search(search)
        search = replace(search, winner=replace(search.winner, verdict=pending.verdict))
        override = approval.why if approval.override else ""
        move = release_winner(project, search, who=who, why=why, override=override).move
        return f"{move.name}@{move.pointer} is at {move.release[:19]}"
    if approval.step == "retraining":
        found = project.latest(Retraining)
        assert found is not None
        result = found.search_result
        result = replace(result, winner=replace(result.winner, verdict=verdict))
        return begin_promotion(project, replace(found, search_result=result), who=who, why=why).message
    move = project.registry.point(
        f"{project.name}@{LIVE_POINTER}",
        approval.subject,
        UpdateReason(who=who, why=why, verdict=verdict),
        after=approval.live_update,
    )
    project.save(verdict)
    return f"{move.name}@{move.pointer} is at {move.release[:19]}"


def _verdict(approval: Approval, pending: Pending) -> Verdict:
    if not approval.override:
        return pending.verdict
    return override_verdict(pending.verdict, who=approval.who, why=approval.why, at=approval.at)


def _advance(project: Project, approval: Approval) -> str:
    rollout = latest_rollout(project)
    assert rollout is not None
    controller = RolloutController(project, rollout)
    found = controller.find()
    if found.evidence is None:
        raise Refused(f"it cannot go forward: {found.decision.message}")
    decision = found.decision
    if decision.action not in FORWARD:
        step, at = next_step(rollout), datetime.fromisoformat(approval.at)
        decision = overrule(decision, step, who=approval.who, why=approval.why, at=at)
    controller.act(found._replace(decision=decision), who=approval.who)
    return decision.message
