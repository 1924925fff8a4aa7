"""From a retraining that passed to a live release: by a rollout beside live, or at once where the policy says so.

Every step is found in the store by whoever comes next: a retraining is published once, its rollout is begun once, and
what was taken back is not tried again by itself.
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
from headway.registry.model_registry import UpdateReason
from headway.registry.project import Project
from headway.registry.publish import publish

LIVE = "live"
AT_ONCE = 'headway retrain --mode auto --through live --why "..."'
FOLLOW = "headway rollout watch"
OUTCOMES: dict[RolloutStatus, PromotionStatus] = {
    "running": "rolling out",
    "promoted": "live",
    "rolled back": "taken back",
    "inconclusive": "inconclusive",
}


def begin_promotion(project: Project, found: Retraining, *, who: str, why: str = "") -> Promotion:
    """Let a retraining take the place of live if it passed: by a rollout, or at once, as `[retrain] through` says.

    What was begun before goes on. What was taken back stays back, unless a person says `why` it is tried again. Raises
    Refused where live is no longer what it was judged against, where another rollout runs, or where servers keep no log
    that a rollout could learn from.
    """
    if found.frontier.winner.verdict.answer != "pass":
        return Promotion(stands="not better", message=found.message, retraining=found)
    live = project.register.head(f"{project.name}@live")
    found = _publish_once(project, found, who)
    if live and live.release == found.release:
        return Promotion(stands="live", message=f"it is live by {live.who}: {live.why}", retraining=found)
    if live is None or live.release != found.live:
        raise Refused("live is no longer what this retraining was judged against", hint="headway retrain")
    tried = None if why else _previous_attempt(project, found)
    if tried:
        return tried
    if project.config.retrain.through == LIVE:
        return _promote_at_once(project, found, live, UpdateReason(who=who, why=why or found.message))
    return _promote_by_rollout(project, found, who=who, why=why)


def running_rollout(project: Project) -> Rollout | None:
    """The rollout that runs, whatever release it is of."""
    last = control.latest_rollout(project)
    return last if last and last.standing == "running" else None


def promotion_status(project: Project) -> Promotion:
    """How the rollout that runs stands, and what a look would decide; nothing is done."""
    rollout = control.require_running_rollout(project)
    return _promotion_of(project, rollout, control.rollout_status(project).message)


def check_promotion(project: Project) -> Promotion:
    """One look at the rollout that runs, if it is a retraining's; a person's own is left to that person."""
    rollout = control.require_running_rollout(project)
    if _retraining_of(project, rollout) is None:
        return _promotion_of(project, rollout, f"a rollout of another release is running, begun by {rollout.by}")
    one = control.RolloutController(project, rollout)
    decision = one.look()
    return _promotion_of(project, one.rollout, decision.message)


def follow_promotion(
    project: Project, *, callback: Callable[[str], object], wait: Callable[[float], object] = time.sleep
) -> Promotion:
    """Look at the rollout that runs until it ends, or until nobody asks: then it goes on where it stands.

    A rollout that is no retraining's is looked at by nobody here.
    """
    rollout = control.require_running_rollout(project)
    if _retraining_of(project, rollout) is None:
        return check_promotion(project)
    last = follow_rollout(project, callback=callback, wait=wait, patient=False)
    quiet = f"{last.current.name} stays: in {project.config.rollout.quiet_s:g} s nothing came that tells of it"
    return _promotion_of(project, last, quiet if last.standing == "running" else last.why)


def force_promotion(project: Project, *, who: str, why: str) -> Promotion:
    """Make the retraining live that is rolling out, by a person's word over what the judge says of its stage."""
    rollout = control.require_running_rollout(project)
    if _retraining_of(project, rollout) is None:
        return check_promotion(project)
    decision = control.promote_rollout(project, who=who, why=why)
    return _promotion_of(project, control.latest_rollout(project) or rollout, decision.message)


def _publish_once(project: Project, found: Retraining, who: str) -> Retraining:
    """The retraining with the digest of its release, which is signed and kept once, whoever comes again."""
    kept = find_outcome(project, found.key)
    if kept and kept.release:
        return kept
    digest, _ = publish(project, found.frontier, who=who)
    found = replace(found, release=digest)
    project.save(found)
    return found


def _promote_at_once(project: Project, found: Retraining, live: PointerUpdate, reason: UpdateReason) -> Promotion:
    reason = replace(reason, verdict=found.frontier.winner.verdict)
    move = project.register.point(f"{project.name}@live", found.release, reason, after=live.number)
    return Promotion(stands="live", message=f"it is live at once: {reason.why}", retraining=found, move=move)


def _promote_by_rollout(project: Project, found: Retraining, *, who: str, why: str) -> Promotion:
    """Its rollout, begun now, or before by whoever was killed."""
    running = running_rollout(project)
    if running is None or running.release != found.release:
        if not project.config.serve.log:
            raise Refused(
                "servers keep no log, so a canary would learn nothing", where="[serve] log = false", hint=AT_ONCE
            )
        running = control.start_rollout(project, found.release, who=who, why=why or found.message)
    return _promotion_of(project, running, f"its rollout begins with {running.current.name}")


def _previous_attempt(project: Project, found: Retraining) -> Promotion | None:
    """How this very release fared before; None where it is new."""
    name, digest = project.name, found.release
    moves = project.register.history(name, LIVE)
    after = next((later for had, later in pairwise(moves) if had.release == digest), None)
    again = f'headway rollout start {name}@{digest.removeprefix("sha256:")[:12]} --why "..."'
    if after:
        message = f"it was live until {after.at[:16]}, when {after.who} moved live back: {after.why}"
        return Promotion(stands="taken back", message=message, todo=again, retraining=found)
    kept = reversed(project.records(Rollout))
    last = next((rollout for rollout in kept if rollout.release == digest), None)
    if last is None or last.standing == "running":
        return None
    message = (
        f"its rollout of {last.started_at[:16]} ended {last.standing} and is not begun again by itself: {last.why}"
    )
    return Promotion(stands=OUTCOMES[last.standing], message=message, todo=again, retraining=found, rollout=last)


def _retraining_of(project: Project, rollout: Rollout) -> Retraining | None:
    kept = reversed(project.records(Retraining))
    return next((each for each in kept if each.release == rollout.release), None)


def _promotion_of(project: Project, rollout: Rollout, message: str) -> Promotion:
    """Where a rollout stands; while it runs, with the command that follows it, and a word where nobody asks."""
    found = _retraining_of(project, rollout)
    if rollout.standing != "running":
        return Promotion(stands=OUTCOMES[rollout.standing], message=message, retraining=found, rollout=rollout)
    nobody = idle_message(project, rollout, control.utc_now())
    more = f"; {nobody}; where no server is to answer, {AT_ONCE} makes it live" if nobody else ""
    return Promotion(stands="rolling out", message=message + more, todo=FOLLOW, retraining=found, rollout=rollout)
