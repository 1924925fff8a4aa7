"""The model was rolled back."""

from __future__ import annotations

from datetime import datetime

from headway.core.record import digest_of
from headway.monitoring.condition import AlertCondition, ConditionState, Facts
from headway.monitoring.settings.alert import AlertRule


def _judge(facts: Facts, _: AlertRule) -> ConditionState | None:
    """Return whether it holds now; None if that cannot be judged."""
    live, rollout = facts.live, facts.rollout
    if live and rollout and rollout.status == "rolled back" and _is_later(rollout.stage_at, live.at):
        return ConditionState(
            is_firing=True,
            summary=f"the rollout of {rollout.release[:19]} was rolled back: {rollout.why}",
            subject=f"{rollout.release} {rollout.stage_at}",
            release=rollout.release,
        )
    if live is None:
        return None
    is_back = live.number > 1 and not live.verdict and bool(live.release)
    who = f"{live.who} moved live back to {live.release[:19]}: {live.why}"
    return ConditionState(
        is_firing=is_back,
        summary=who if is_back else "the last update of live was a release",
        subject=digest_of(f"{live.number} {live.release} {live.at}".encode()) if is_back else "",
        release=live.release,
    )


def _is_later(at: str, other: str) -> bool:
    """Return whether a time is not before another; both have a zone."""
    return datetime.fromisoformat(at) >= datetime.fromisoformat(other)


plugin = AlertCondition(title="The model was rolled back", judge=_judge, order=70)
