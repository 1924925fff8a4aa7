"""The quality of the live model has degraded."""

from __future__ import annotations

from headway.monitoring.condition import AlertCondition, ConditionState, Facts, nothing_judged
from headway.monitoring.settings.alert import AlertRule


def _judge(facts: Facts, _: AlertRule) -> ConditionState | None:
    """Return whether it holds now; None if that cannot be judged."""
    judged = [report for report in facts.reports if report.reply("degradation") and report.status != "unknown"]
    if not judged:
        return nothing_judged(facts)
    last = judged[-1]
    return ConditionState(
        is_firing=last.status == "degraded", summary=last.message, subject=facts.release, release=facts.release
    )


plugin = AlertCondition(title="The model got worse", judge=_judge, order=10)
