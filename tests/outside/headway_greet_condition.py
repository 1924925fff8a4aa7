"""A project that is not greeted: the condition of alerts of the tests, installed like any third-party package."""

from __future__ import annotations

from headway_greet_settings import GreetSection

from headway.monitoring.condition import AlertCondition, ConditionState, Facts
from headway.monitoring.settings.alert import AlertRule


def judge(facts: Facts, rule: AlertRule) -> ConditionState | None:
    """Return whether the greeting is empty."""
    is_empty = not facts.project.config[GreetSection].salutation
    return ConditionState(is_firing=is_empty, summary="the greeting is empty" if is_empty else "people are greeted")


plugin = AlertCondition(title="People are not greeted", judge=judge)
