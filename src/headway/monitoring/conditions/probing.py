"""An API key copies or probes the model."""

from __future__ import annotations

from headway.core.monitoring import ProbingReport
from headway.monitoring.condition import AlertCondition, ConditionState, Facts
from headway.monitoring.settings.alert import AlertRule


def _judge(facts: Facts, _: AlertRule) -> ConditionState | None:
    """Return whether keys are found in the last report on probing of the live release; None if it could not judge."""
    report = facts.project.latest(ProbingReport)
    if report is None or report.release != facts.release or report.reason:
        return None
    found = [
        f"{key.api_key} on {key.day} ({key.rows:,} rows, {key.sign}{', throttled' if key.throttled else ''})"
        for key in report.found
    ]
    return ConditionState(
        is_firing=bool(found),
        summary=f"API keys copy or probe the model: {', '.join(found)}" if found else "no API key probes the model",
        subject=" ".join(f"{key.api_key}@{key.day}" for key in report.found),
        release=facts.release,
    )


plugin = AlertCondition(title="An API key copies or probes the model", judge=_judge, order=150)
