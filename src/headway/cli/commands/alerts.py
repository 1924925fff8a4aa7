"""List what alerts would say and what was sent, send a test to each receiver, or judge the rules and send now."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from headway.cli.exit_codes import FAIL, PASS, UNDECIDED
from headway.cli.main import AsJson, ProjectFolder
from headway.core.alerting import AlertLog, Delivery
from headway.core.errors import ConfigError, HeadwayError
from headway.core.record import Record
from headway.monitoring.alerts import deliver
from headway.monitoring.alerts.receiver import open_receiver
from headway.monitoring.settings.alert import AlertSection
from headway.registry.project import Project, open_project
from headway.reporting.console import print_result

WAIT_S = 60.0


class RuleState(Record, frozen=True, kw_only=True):
    """A condition of a rule: whether it holds (None if that cannot be judged), and the sentence that says so."""

    rule: str
    condition: str
    is_firing: bool | None
    message: str


class ReceiverTest(Record, frozen=True, kw_only=True):
    """The test of a rule's receiver: where it sends, and the problem; empty if it took the alert."""

    rule: str
    address: str
    problem: str = ""


def plugin(
    action: Literal["list", "test", "send"] = "list", *, project: ProjectFolder = Path("."), json: AsJson = False
) -> int:
    """List alerts (exit 1 if a condition holds, 3 if none can be judged), test receivers, or send what is due.

    Rules are the tables [[alert]] of headway.toml. `headway run` judges them every minute and sends what changed; the
    commands that change a model's state do it at their end.

    Example: headway alerts list --project headway-demo
    Example: headway alerts test --project headway-demo
    Example: headway alerts send --project headway-demo

    Parameters
    ----------
    action
        list (each rule and condition as of now, what waits and what was sent last; nothing is sent), test (send a test
        alert to the receiver of each rule; exit 1 if one does not take it), or send (judge the rules, save an alert for
        each change, and attempt what is due; exit 1 if something still waits).
    """
    opened = open_project(project)
    if not opened.config[AlertSection].rules:
        raise ConfigError(
            "no rule of alerts is declared",
            where="headway.toml",
            hint='[[alert]] name = "ops", to = "webhook", settings = { url = "https://..." }',
        )
    if action == "test":
        return _test(opened, json=json)
    if action == "send":
        return _send(opened, json=json)
    return _list(opened, json=json)


def _list(project: Project, *, json: bool) -> int:
    states = [
        RuleState(
            rule=rule.name,
            condition=condition,
            is_firing=state.is_firing if state else None,
            message=state.summary if state else problem or "cannot be judged yet",
        )
        for rule, condition, state, problem in deliver.judge_alert_rules(project, now=datetime.now(UTC))
    ]
    log = deliver.load_alerts(project)
    lines = [
        *_receivers(project),
        *(f"{_word(state.is_firing):<10}  {state.rule} {state.condition}: {state.message}" for state in states),
        *map(_delivery, (*log.sent, *log.waiting)),
    ]
    print_result({"rules": states, "waiting": log.waiting, "sent": log.sent}, "\n".join(lines), json=json)
    known = [state.is_firing for state in states if state.is_firing is not None]
    return FAIL if any(known) else PASS if known else UNDECIDED


def _word(is_firing: bool | None) -> str:
    return {True: "FIRING", False: "ok", None: "not judged"}[is_firing]


def _receivers(project: Project) -> Iterator[str]:
    """Yield where each rule sends to, or why it cannot."""
    for rule in project.config[AlertSection].rules:
        try:
            address = open_receiver(project.config, rule).address
        except HeadwayError as error:
            address = f"CANNOT SEND: {error.what}; try: {error.hint}"
        yield f"rule {rule.name}: {rule.to} to {address}"


def _delivery(delivery: Delivery) -> str:
    alert = delivery.alert
    when = f"at {delivery.done_at[:19]}Z" if delivery.done_at else f"until {delivery.due_at[:19]}Z"
    problem = f": {delivery.problem}" if delivery.problem else ""
    times = "1 attempt" if delivery.attempts == 1 else f"{delivery.attempts} attempts"
    return f"{alert.rule} {alert.condition} {alert.state}: {delivery.outcome} {when}, {times}{problem}"


def _test(project: Project, *, json: bool) -> int:
    results = []
    for rule in project.config[AlertSection].rules:
        try:
            address = open_receiver(project.config, rule).address
        except HeadwayError as error:
            results.append(ReceiverTest(rule=rule.name, address=rule.to, problem=f"{error.what}; try: {error.hint}"))
            continue
        problem = deliver.send_alert(project.config, rule, deliver.example_alert(project, rule, now=datetime.now(UTC)))
        results.append(ReceiverTest(rule=rule.name, address=address, problem=problem))
    lines = [f"{one.rule}: {one.problem or 'sent'} ({one.address})" for one in results]
    print_result(results, "\n".join(lines), json=json)
    return FAIL if any(one.problem for one in results) else PASS


def _send(project: Project, *, json: bool) -> int:
    log = deliver.update_alerts(project, wait_s=WAIT_S)
    print_result(log, "\n".join(_sent(log)) or "nothing waits, and nothing was sent yet", json=json)
    return FAIL if log.waiting else PASS


def _sent(log: AlertLog) -> list[str]:
    return [_delivery(delivery) for delivery in (*log.sent, *log.waiting)]
