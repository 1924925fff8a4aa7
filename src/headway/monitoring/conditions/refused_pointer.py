"""The live release does not verify."""

from __future__ import annotations

from headway.monitoring.condition import AlertCondition, ConditionState, Facts
from headway.monitoring.settings.alert import AlertRule
from headway.registry.project import LIVE_POINTER


def _judge(facts: Facts, _: AlertRule) -> ConditionState:
    """Return whether it holds now; None if that cannot be judged."""
    pointer = f"{facts.project.name}@{LIVE_POINTER}"
    where = [server.address for server in facts.answering if server.total("headway_pointer_refused", pointer=pointer)]
    if facts.refused:
        summary = f"{pointer} does not verify, and servers keep the release before: {facts.refused}"
    elif where:
        summary = f"{', '.join(where)} refused the last update of {pointer} and keeps the release before"
    else:
        summary = f"{pointer} verifies"
    subject = str(facts.live.number) if facts.live else ""
    return ConditionState(
        is_firing=bool(facts.refused or where), summary=summary, subject=subject, release=facts.release
    )


plugin = AlertCondition(title="The live release is refused", judge=_judge, order=80)
