"""A server does not answer."""

from __future__ import annotations

from headway.monitoring.condition import AlertCondition, ConditionState, Facts
from headway.monitoring.settings.alert import AlertRule


def _judge(facts: Facts, _: AlertRule) -> ConditionState | None:
    """Return whether it holds now; None if that cannot be judged."""
    if not facts.servers:
        return None
    down = [f"{server.address}: {server.problem}" for server in facts.servers if server.problem]
    summary = f"a server does not answer; {'; '.join(down)}" if down else "every server answers"
    return ConditionState(is_firing=bool(down), summary=summary, release=facts.release, page="/service")


plugin = AlertCondition(title="A server does not answer", judge=_judge, order=100)
