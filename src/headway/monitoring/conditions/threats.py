"""A threat is not covered any more, or an assessment is due."""

from __future__ import annotations

from headway.core.exposure import exposure_of
from headway.core.threats import ThreatAssessment, reopen_reasons
from headway.monitoring.condition import AlertCondition, ConditionState, Facts
from headway.monitoring.settings.alert import AlertRule
from headway.monitoring.settings.threats import ThreatsSection


def _judge(facts: Facts, _: AlertRule) -> ConditionState | None:
    """Return whether requirements became gaps, or another assessment is due; None if there never was one."""
    assessed = facts.project.latest(ThreatAssessment)
    if assessed is None:
        return None
    config = facts.project.config
    gaps = [row.id for row in assessed.open_gaps(level=config[ThreatsSection].level) if row.id in assessed.opened]
    due = reopen_reasons(assessed, release=facts.release, exposure=exposure_of(config), now=facts.now)
    parts = [f"gaps that were none before: {', '.join(gaps)}"] if gaps else []
    parts += [f"the threats are to be assessed again: {', '.join(due)}; next: headway threats"] if due else []
    summary = "; ".join(parts) or f"threats were assessed on {assessed.at[:10]}"
    return ConditionState(
        is_firing=bool(parts), summary=summary, subject=" ".join([*gaps, *due]), release=facts.release
    )


plugin = AlertCondition(title="A threat is not covered any more, or not assessed", judge=_judge, order=140)
