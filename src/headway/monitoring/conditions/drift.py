"""The inputs of the live model drift."""

from __future__ import annotations

from headway.monitoring.condition import AlertCondition, ConditionState, Facts, nothing_judged
from headway.monitoring.settings.alert import AlertRule


def _judge(facts: Facts, _: AlertRule) -> ConditionState | None:
    """Return whether it holds now; None if that cannot be judged."""
    judged = [report for report in facts.reports if report.drift is not None]
    if not judged:
        return nothing_judged(facts)
    last = judged[-1]
    alarm = last.drift is not None and last.drift.alarm
    return ConditionState(
        is_firing=alarm, summary=last.message, subject=facts.release, release=facts.release, page="/data/drift"
    )


plugin = AlertCondition(title="Inputs have drifted", judge=_judge, order=20)
