"""A retraining is proposed."""

from __future__ import annotations

from headway.monitoring.condition import AlertCondition, ConditionState, Facts
from headway.monitoring.settings.alert import AlertRule


def _judge(facts: Facts, _: AlertRule) -> ConditionState:
    """Return whether it holds now; None if that cannot be judged."""
    ticket = facts.ticket
    if ticket is None:
        return ConditionState(is_firing=False, summary="no ticket is open", release=facts.release)
    return ConditionState(
        is_firing=True, summary=f"a retraining is proposed: {ticket.message}", subject=ticket.at, release=ticket.release
    )


plugin = AlertCondition(title="A retraining is proposed", judge=_judge, order=60)
