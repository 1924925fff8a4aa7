"""Too many rows break the contract."""

from __future__ import annotations

from headway.monitoring.condition import AlertCondition, ConditionState, Facts
from headway.monitoring.settings.alert import AlertRule


def _judge(facts: Facts, rule: AlertRule) -> ConditionState | None:
    """Return whether it holds now; None if that cannot be judged."""
    if facts.failing_rows is None:
        return None
    share, n_rows, at = facts.failing_rows
    summary = f"{share:.2%} of {n_rows:,} rows broke the contract on {at[:10]}, limit {rule.quarantine_share:.2%}"
    return ConditionState(is_firing=share > rule.quarantine_share, summary=summary, page="/data/quarantine")


plugin = AlertCondition(title="Rows break the contract", judge=_judge, order=50)
