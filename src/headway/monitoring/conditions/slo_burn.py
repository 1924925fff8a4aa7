"""A server burns its error budget too fast."""

from __future__ import annotations

from headway.monitoring.condition import AlertCondition, ConditionState, Facts
from headway.monitoring.servers import burning
from headway.monitoring.settings.alert import AlertRule


def _judge(facts: Facts, _: AlertRule) -> ConditionState | None:
    """Return whether it holds now; None if that cannot be judged."""
    if not facts.answering:
        return None
    fast = [
        f"{server.address}: {objective} at {rate:.3g} times its budget"
        for server in facts.answering
        for objective, rate in burning(server).items()
    ]
    summary = f"the error budget burns too fast; {'; '.join(fast)}" if fast else "no error budget burns too fast"
    return ConditionState(is_firing=bool(fast), summary=summary, release=facts.release, page="/service")


plugin = AlertCondition(title="An error budget burns too fast", judge=_judge, order=40)
