"""Promotion of a retraining that passed: by a canary rollout, or at once if the policy says so.

Every step is found in the store by the next process: a retraining is published once, its rollout is started once, and
a release that was rolled back is not tried again automatically.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

from msgspec.structs import replace

from headway.core.errors import Refused
from headway.core.release import PointerUpdate
from headway.core.rollout import Rollout, RolloutStatus
from headway.core.training import Promotion, PromotionStatus, Retraining
from headway.monitoring import rollout as control
from headway.monitoring.retraining.retrain import find_outcome
from headway.monitoring.rollout import follow_rollout, idle_message
from headway.monitoring.settings.retrain import RetrainSection
from headway.registry.model_registry import UpdateReason
from headway.registry.project import Project
from headway.registry.publish import publish
from headway.registry.settings.rollout import RolloutSection
from headway.serving.settings.serve import ServeSection

LIVE = "live"
AT_ONCE = 'headway retrain --mode auto --through live --why "..."'
FOLLOW = "headway rollout watch"
OUTCOMES: dict[RolloutStatus, PromotionStatus] = {
    "running": "rolling out",
    "promoted": "live",
    "rolled back": "rolled back",
    "inconclusive": "inconclusive",
}


def begin_promotion(project: Project, found: Retraining, *, who: str, why: str = "") -> Promotion:
    """Let a retraining that passed replace live, by a rollout or at once, as `[retrain] through` says.

    A promotion that was begun is resumed. A release that was rolled back stays so, unless a person gives the reason
    (`why`) to try again.

    Raises Refused if live has changed since the evaluation, if another rollout is running, or if servers keep no log
    that a rollout could use.
    """
    if found.search_result.winner.verdict.answer != "pass":
        return Promotion(status="not better", message=found.message, retraining=found)
    live = project.registry.head(f"{project.name}@live")
    found = _publish_once(project, found, who)
    if live and live.release == found.release:
        return Promotion(status="live", message=f"it is live by {live.who}: {live.why}", retraining=found)
    if live is None or live.release != found.live:
        raise Refused("live is not the release that this retraining was judged against", hint="headway retrain")
    tried = None if why else _previous_attempt(project, found)
    if tried:
        return tried
    if project.config[RetrainSection].through == LIVE:
        return _promote_at_once(project, found, live, UpdateReason(who=who, why=why or found.message))
    return _promote_by_rollout(project, found, who=who, why=why)


def running_rollout(project: Project) -> Rollout | None:
    """Return the running rollout, of any release."""
    last = control.latest_rollout(project)
    return last if last and last.status == "running" else None


def promotion_status(project: Project) -> Promotion:
    """Return the status of the running rollout and what the next step would decide, without doing it."""
    rollout = control.require_running_rollout(project)
    return _promotion_of(project, rollout, control.rollout_status(project).message)


def check_promotion(project: Project) -> Promotion:
    """Step the running rollout once if it is a retraining's; one that a person started is left to that person."""
    rollout = control.require_running_rollout(project)
    if _retraining_of(project, rollout) is None:
        return _promotion_of(project, rollout, f"a rollout of another release is running, started by {rollout.by}")
    one = control.RolloutController(project, rollout)
    decision = one.step()
    return _promotion_of(project, one.rollout, decision.message)


def follow_promotion(
    project: Project, *, callback: Callable[[str], object], wait: Callable[[float], object] = time.sleep
) -> Promotion:
    """Step the running rollout until it ends, or until requests stop; it can be resumed.

    A rollout that does not belong to a retraining is left alone.
    """
    rollout = control.require_running_rollout(project)
    if _retraining_of(project, rollout) is None:
        return check_promotion(project)
    last = follow_rollout(project, callback=callback, wait=wait, patient=False)
    quiet = f"{last.current.name} stays: in {project.config[RolloutSection].quiet_s:g} s no request gave evidence"
    return _promotion_of(project, last, quiet if last.status == "running" else last.why)


def force_promotion(project: Project, *, who: str, why: str) -> Promotion:
    """Make the retraining live that is rolling out, by a person's decision that overrides the judge."""
    rollout = control.require_running_rollout(project)
    if _retraining_of(project, rollout) is None:
        return check_promotion(project)
    decision = control.promote_rollout(project, who=who, why=why)
    return _promotion_of(project, control.latest_rollout(project) or rollout, decision.message)


def _publish_once(project: Project, found: Retraining, who: str) -> Retraining:
    """Return the retraining with the digest of its release, signed and saved once."""
    stored = find_outcome(project, found.key)
    if stored and stored.release:
        return stored
    digest, _ = publish(project, found.search_result, who=who)
    found = replace(found, release=digest)
    project.save(found)
    return found


def _promote_at_once(project: Project, found: Retraining, live: PointerUpdate, reason: UpdateReason) -> Promotion:
    reason = replace(reason, verdict=found.search_result.winner.verdict)
    move = project.registry.point(f"{project.name}@live", found.release, reason, after=live.number)
    return Promotion(status="live", message=f"it is live at once: {reason.why}", retraining=found, update=move)


def _promote_by_rollout(project: Project, found: Retraining, *, who: str, why: str) -> Promotion:
    """Return the promotion by its rollout, started now or by an earlier process."""
    running = running_rollout(project)
    if running is None or running.release != found.release:
        if project.config[ServeSection].log_mode == "off":
            raise Refused(
                "servers keep no log, so a canary rollout has no evidence", where="[serve] log_mode", hint=AT_ONCE
            )
        running = control.start_rollout(project, found.release, who=who, why=why or found.message)
    return _promotion_of(project, running, f"its rollout starts with {running.current.name}")


def _previous_attempt(project: Project, found: Retraining) -> Promotion | None:
    """Return how this release fared before, None if it is new."""
    name, digest = project.name, found.release
    moves = project.registry.history(name, LIVE)
    after = next((later for had, later in pairwise(moves) if had.release == digest), None)
    again = f'headway rollout start {name}@{digest.removeprefix("sha256:")[:12]} --why "..."'
    if after:
        message = f"it was live until {after.at[:16]}, when {after.who} moved live back: {after.why}"
        return Promotion(status="rolled back", message=message, next_command=again, retraining=found)
    stored = reversed(project.records(Rollout))
    last = next((rollout for rollout in stored if rollout.release == digest), None)
    if last is None or last.status == "running":
        return None
    message = (
        f"its rollout of {last.started_at[:16]} ended {last.status} and is not started again automatically: {last.why}"
    )
    return Promotion(status=OUTCOMES[last.status], message=message, next_command=again, retraining=found, rollout=last)


def _retraining_of(project: Project, rollout: Rollout) -> Retraining | None:
    stored = reversed(project.records(Retraining))
    return next((retraining for retraining in stored if retraining.release == rollout.release), None)


def _promotion_of(project: Project, rollout: Rollout, message: str) -> Promotion:
    """Return the state of a rollout.

    While it runs, with the command that follows it, and a note if no requests come.
    """
    found = _retraining_of(project, rollout)
    if rollout.status != "running":
        return Promotion(status=OUTCOMES[rollout.status], message=message, retraining=found, rollout=rollout)
    idle = idle_message(project, rollout, control.utc_now())
    more = f"; {idle}; without servers, {AT_ONCE} makes it live" if idle else ""
    return Promotion(
        status="rolling out", message=message + more, next_command=FOLLOW, retraining=found, rollout=rollout
    )
