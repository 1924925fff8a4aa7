"""The prediction log of a server is behind."""

from __future__ import annotations

from headway.monitoring.condition import AlertCondition, ConditionState, Facts
from headway.monitoring.settings.alert import AlertRule


def _judge(facts: Facts, rule: AlertRule) -> ConditionState | None:
    """Return whether it holds now; None if that cannot be judged."""
    if not facts.answering:
        return None
    late = [
        f"{server.address}: the oldest row waits for {lag_s:,.0f} s"
        if (lag_s := server.total("headway_log_lag_seconds")) > rule.log_lag_s
        else f"{server.address}: the log cannot be written, or loses rows"
        for server in facts.answering
        if server.total("headway_log_lag_seconds") > rule.log_lag_s or server.value("headway_log_healthy") == 0
    ]
    summary = f"the prediction log is behind; {'; '.join(late)}" if late else "the prediction log is written in time"
    return ConditionState(is_firing=bool(late), summary=summary, release=facts.release, page="/service")


plugin = AlertCondition(title="The prediction log is behind", judge=_judge, order=90)
