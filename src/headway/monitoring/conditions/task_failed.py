"""A scheduled task failed."""

from __future__ import annotations

from headway.monitoring.condition import AlertCondition, ConditionState, Facts
from headway.monitoring.settings.alert import AlertRule


def _judge(facts: Facts, _: AlertRule) -> ConditionState | None:
    """Return whether it holds now; None if that cannot be judged."""
    if not facts.task_runs:
        return None
    failed = [run for run in facts.task_runs if run.outcome == "failed"]
    summary = "; ".join(f"{run.task} failed: {run.message}" for run in failed) or "every task ended well"
    return ConditionState(
        is_firing=bool(failed),
        summary=summary,
        subject=" ".join(run.task for run in failed),
        release=facts.release,
        page="/alerts",
    )


plugin = AlertCondition(title="A scheduled task failed", judge=_judge, order=110)
