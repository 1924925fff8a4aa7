"""Judge the rules of a project, make an alert of each change, and deliver what waits.

One process at a time does this, over all that share the store. An alert is saved before it is sent, and its delivery
after it: a process that is killed in between sends the alert again, with the same id. `start_delivery` does it in a
process of its own, for commands that must not wait.

python -m headway.monitoring.alerts.deliver FOLDER delivers for a project until nothing waits, for ten minutes at most.
"""

from __future__ import annotations

import logging
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from headway.core.alerting import Alert, AlertLog, AlertState, Delivery
from headway.core.config import Config
from headway.core.contracts import Lease
from headway.core.errors import HeadwayError, LeaseHeld
from headway.core.record import digest_of
from headway.monitoring.alerts.receiver import open_receiver, shorten
from headway.monitoring.condition import ConditionState, Facts, condition_names, judge_condition
from headway.monitoring.servers import ServerMetrics
from headway.monitoring.settings.alert import AlertRule, AlertSection
from headway.monitoring.settings.ui import UiSection
from headway.registry.project import Project, open_project

LEASE, RETRY_LEASE = "alerts", "alerts again"
FIRST_PAUSE_S, MAX_PAUSE_S = 5.0, 1800.0
GIVE_UP = timedelta(days=1)
MAX_SENT, MAX_WAITING, MAX_SUMMARY = 20, 200, 4_000
DELIVERS_FOR_S, ATTEMPT_S, STEP_S = 600.0, 60.0, 2.0
_log = logging.getLogger(__name__)
Clock = Callable[[], datetime]


def _utc_now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


def load_alerts(project: Project) -> AlertLog:
    """Return what fires, what waits and what was sent last."""
    return project.latest(AlertLog) or AlertLog(name=project.name)


def judge_alert_rules(
    project: Project, *, now: datetime, servers: Sequence[ServerMetrics] | None = None
) -> Iterator[tuple[AlertRule, str, ConditionState | None, str]]:
    """Yield each rule with its conditions, whether they hold, and the problem that kept one from being judged.

    `servers` are the metrics of the project's servers if they were just read; without them they are read now.
    """
    facts = Facts(project, now=now, servers=servers)
    for rule in project.config[AlertSection].rules:
        for condition in rule.when or condition_names():
            try:
                yield rule, condition, judge_condition(condition, facts, rule), ""
            except HeadwayError as error:
                yield rule, condition, None, error.what


def update_alerts(project: Project, *, wait_s: float = 0.0, clock: Clock = _utc_now) -> AlertLog:
    """Judge the rules, save an alert for each change, and attempt what is due once; return what is known afterwards.

    Raises LeaseHeld if another process still does this after `wait_s`.
    """
    with project.lease(LEASE, wait_s=wait_s) as lease:
        before = load_alerts(project)
        after = _with_changes(project, before, now=clock())
        if after is not before:
            after = _save(project, lease, after, now=clock())
        return _deliver(project, lease, after, clock)


def _with_changes(project: Project, log: AlertLog, *, now: datetime) -> AlertLog:
    """Return the log with an alert for each condition that began or ended; the same object if none did."""
    firing = {(alert.rule, alert.condition): alert for alert in log.firing}
    made: list[Alert] = []
    watched = {
        (rule.name, condition)
        for rule in project.config[AlertSection].rules
        for condition in rule.when or condition_names()
    }
    for rule, condition, state, _ in judge_alert_rules(project, now=now):
        was = firing.get((rule.name, condition))
        if state is None or (state.is_firing and was and was.subject == state.subject):
            continue
        if state.is_firing:
            alert = _alert(project, rule.name, condition, state, "firing", number=log.number, now=now)
            firing[rule.name, condition] = alert
            made.append(alert)
        elif was:
            ended = _alert(project, rule.name, condition, state, "resolved", number=log.number, now=now)
            del firing[rule.name, condition]
            made += [replace(ended, since=was.since, subject=was.subject)] if rule.resolved else []
    still_firing = tuple(alert for key, alert in firing.items() if key in watched)
    rules = {rule.name for rule in project.config[AlertSection].rules}
    waiting = [one for one in log.waiting if one.alert.rule in rules]
    if not made and still_firing == log.firing and len(waiting) == len(log.waiting):
        return log
    waiting += [Delivery(alert=alert, due_at=_stamp(now)) for alert in made]
    return replace(log, firing=still_firing, waiting=tuple(waiting[-MAX_WAITING:]))


def _alert(
    project: Project,
    rule: str,
    condition: str,
    state: ConditionState,
    kind: AlertState,
    *,
    number: int,
    now: datetime,
) -> Alert:
    """Return an alert; its id is new for each change, and the same on each attempt, since it is saved first."""
    at = _stamp(now)
    identity = "\0".join((project.name, rule, condition, kind, state.subject, str(number), at))
    return Alert(
        id=digest_of(identity.encode()).removeprefix("sha256:")[:32],
        project=project.name,
        rule=rule,
        condition=condition,
        state=kind,
        at=at,
        since=at,
        summary=shorten(state.summary, at_most=MAX_SUMMARY),
        subject=state.subject,
        release=state.release,
        link=dashboard_link(project.config[UiSection], project.name, state.page),
    )


def dashboard_link(settings: UiSection, model: str, page: str = "") -> str:
    """Return the address of a model's page in the dashboard; empty if its port is not known."""
    base = settings.url.rstrip("/")
    if not base and settings.port:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        base = f"http://{host}:{settings.port}"
    return f"{base}/models/{model}{page}" if base else ""


def _deliver(project: Project, lease: Lease, log: AlertLog, clock: Clock) -> AlertLog:
    """Attempt what is due: for each rule in order, and all rules at once, so that a slow receiver delays no other."""
    while due := _due(log, now=clock()):
        for delivery, problem in _attempt_all(project, due):
            log = _save(project, lease, _with_result(log, delivery, problem, clock()), now=clock())
    return log


def _attempt_all(project: Project, due: Sequence[Delivery]) -> Iterator[tuple[Delivery, str]]:
    """Attempt deliveries at once, and yield each with its problem as it ends; none is waited for over a minute."""
    ended: queue.SimpleQueue[tuple[Delivery, str]] = queue.SimpleQueue()
    for one in due:
        attempt = partial(lambda delivery: ended.put((delivery, _attempt(project, delivery.alert))), one)
        threading.Thread(target=attempt, daemon=True, name=f"alert-{one.alert.rule}").start()
    running, until = list(due), time.monotonic() + ATTEMPT_S
    while running:
        try:
            delivery, problem = ended.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            yield from ((delivery, f"the receiver did not end within {ATTEMPT_S:g} s") for delivery in running)
            return
        running.remove(delivery)
        yield delivery, problem


def _due(log: AlertLog, *, now: datetime) -> list[Delivery]:
    """Return the first waiting delivery of each rule, if its time has come."""
    first: dict[str, Delivery] = {}
    for delivery in log.waiting:
        first.setdefault(delivery.alert.rule, delivery)
    return [delivery for delivery in first.values() if datetime.fromisoformat(delivery.due_at) <= now]


def _attempt(project: Project, alert: Alert) -> str:
    """Send an alert to its receiver; return the problem, empty if there was none."""
    rule = next(rule for rule in project.config[AlertSection].rules if rule.name == alert.rule)
    return send_alert(project.config, rule, alert)


def send_alert(config: Config, rule: AlertRule, alert: Alert) -> str:
    """Send an alert by a rule; return the problem, empty if there was none."""
    try:
        open_receiver(config, rule).send(alert)
    except HeadwayError as error:
        return error.what
    except Exception as error:  # noqa: BLE001 - a plug-in of others; its message may hold a secret
        return f"the receiver {rule.to} failed with {type(error).__name__}"
    return ""


def _with_result(log: AlertLog, delivery: Delivery, problem: str, now: datetime) -> AlertLog:
    """Return the log after an attempt: delivered, waiting for the next one, or given up after a day."""
    attempts = delivery.attempts + 1
    waiting = [one for one in log.waiting if one.alert.id != delivery.alert.id]
    is_over = now - datetime.fromisoformat(delivery.alert.at) >= GIVE_UP
    if problem and not is_over:
        pause_s = min(FIRST_PAUSE_S * 2 ** (attempts - 1), MAX_PAUSE_S)
        due_at = _stamp(now + timedelta(seconds=pause_s))
        index = log.waiting.index(delivery)
        waiting.insert(index, replace(delivery, attempts=attempts, due_at=due_at, problem=problem))
        return replace(log, waiting=tuple(waiting))
    outcome = "given up" if problem else "delivered"
    ended = replace(delivery, outcome=outcome, attempts=attempts, due_at="", done_at=_stamp(now), problem=problem)
    return replace(log, waiting=tuple(waiting), sent=(*log.sent, ended)[-MAX_SENT:])


def _save(project: Project, lease: Lease, log: AlertLog, *, now: datetime) -> AlertLog:
    lease.expect_held()
    log = replace(log, number=log.number + 1, at=_stamp(now))
    project.save(log)
    return log


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


def example_alert(project: Project, rule: AlertRule, *, now: datetime) -> Alert:
    """Return the alert that `headway alerts test` sends."""
    state = ConditionState(is_firing=True, summary=f"this is a test of the rule {rule.name}; nothing is wrong")
    return _alert(project, rule.name, "test", state, "test", number=0, now=now)


def start_delivery(config: Config) -> None:
    """Start a process that judges the rules and delivers, if there are any; it outlives this one."""
    if config[AlertSection].rules:
        command = [sys.executable, "-m", __name__, str(Path(config.folder).resolve())]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        threading.Thread(target=process.wait, daemon=True, name="alerts-wait").start()  # leaves no zombie


class AlertLoop:
    """A thread that judges the rules and delivers, every few seconds and whenever it is woken, until `close`."""

    def __init__(self, project: Project, *, every_s: float) -> None:
        self._project = project
        self._every_s = every_s
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._problem = ""
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Judge the rules now."""
        self._woken.set()

    def close(self, *, within_s: float) -> None:
        """End the thread; what still waits is delivered by the next process."""
        self._stopping.set()
        self._woken.set()
        self._thread.join(within_s)

    def _run(self) -> None:
        while not self._stopping.is_set():
            pause_s = self._every_s
            try:
                log = update_alerts(self._project)
                due = [datetime.fromisoformat(one.due_at) for one in log.waiting]
                if due:
                    pause_s = min(pause_s, max(0.1, (min(due) - _utc_now()).total_seconds()))
                self._problem = ""
            except LeaseHeld:
                pause_s = min(pause_s, STEP_S)  # what the other process has not seen is judged soon
            except Exception as error:  # noqa: BLE001 - the thread must go on; it is tried again
                self._report(error)
            self._woken.wait(pause_s)
            self._woken.clear()

    def _report(self, error: Exception) -> None:
        """Log a problem once, until it is another one."""
        if str(error) != self._problem:
            self._problem = str(error)
            _log.error("alerts cannot be judged now, and it is tried again: %s", error)


def deliver_until_done(project: Project, *, within_s: float, pause: Callable[[float], object] = time.sleep) -> AlertLog:
    """Judge the rules, and deliver until nothing waits, the time is over, or another process already does that."""
    ends = time.monotonic() + within_s
    log = update_alerts(project, wait_s=within_s)
    if not log.waiting:
        return log
    with suppress(LeaseHeld), project.lease(RETRY_LEASE):
        while log.waiting and time.monotonic() < ends:
            pause(STEP_S)
            with suppress(LeaseHeld):
                log = update_alerts(project)
    return log


def main(arguments: Sequence[str]) -> int:
    """Deliver for the project in a folder."""
    try:
        project = open_project(Path(arguments[0]))
        with closing(project.state):
            return 1 if deliver_until_done(project, within_s=DELIVERS_FOR_S).waiting else 0
    except HeadwayError:
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
