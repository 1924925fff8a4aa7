"""Alerts and scheduled work: what fires, who received it, and how the daily tasks went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from headway.core.alerting import AlertLog
from headway.core.errors import HeadwayError
from headway.dashboard.page import Call, Page, Rendered, Reply, View
from headway.monitoring.alerts.deliver import judge_alert_rules, load_alerts
from headway.monitoring.alerts.receiver import open_receiver
from headway.monitoring.settings.alert import AlertSection
from headway.monitoring.task_runs import scheduled_tasks
from headway.registry.project import Project
from headway.reporting.text import alerts as words
from headway.reporting.text.alerts import JudgedCondition


def _alerts(call: Call) -> Reply:
    project, now = call.project, datetime.now(UTC)
    log, tasks = load_alerts(project), scheduled_tasks(project, now=now)
    servers = call.dashboard.live.now().models[project.name].servers if project.config[AlertSection].rules else ()
    judged: dict[str, list[JudgedCondition]] = {}
    for rule, condition, state, problem in judge_alert_rules(project, now=now, servers=servers):
        found = JudgedCondition(
            condition=condition, state=state, problem=problem, since=_since(log, rule.name, condition)
        )
        judged.setdefault(rule.name, []).append(found)
    addresses = _addresses(project)
    values = {
        "tasks": words.tabulate_tasks(tasks, now=now),
        "is_overdue": any(words.is_overdue(task, now) for task in tasks),
        "never_ran": not any(task.last for task in tasks),
        "rules": [(name, addresses[name], words.tabulate_conditions(found)) for name, found in judged.items()],
        "n_firing": sum(_n_firing(found) for found in judged.values()),
        "judged_at": log.at,
        "deliveries": words.tabulate_deliveries((*log.sent, *log.waiting), addresses),
        "n_waiting": len(log.waiting),
    }
    return Rendered(template="alerts.html", values=values)


def _since(log: AlertLog, rule: str, condition: str) -> str:
    return next((alert.since for alert in log.firing if (alert.rule, alert.condition) == (rule, condition)), "")


def _n_firing(judged: Sequence[JudgedCondition]) -> int:
    return sum(one.state is not None and one.state.is_firing for one in judged)


def _addresses(project: Project) -> Mapping[str, str]:
    """Return where each rule sends to; a secret of it may be known only where `headway run` runs."""
    found = {}
    for rule in project.config[AlertSection].rules:
        try:
            found[rule.name] = f"{rule.to} to {open_receiver(project.config, rule).address}"
        except HeadwayError as error:
            found[rule.name] = f"{rule.to}; where to is not known to the dashboard: {error.what}"
    return found


plugin = Page(views=[View("/models/{model}/alerts", _alerts, role="operator")], tab="Alerts", order=75)
