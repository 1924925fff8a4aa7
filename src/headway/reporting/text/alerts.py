"""Tables of alerts and of scheduled work: what fires, who received it, and when each task runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from headway.core.alerting import Alert, Delivery, Outcome
from headway.core.schedule import TaskOutcome
from headway.monitoring.condition import ConditionState, condition_title
from headway.monitoring.overview import describe_age, sentence
from headway.monitoring.task_runs import ScheduledTask
from headway.reporting.text.formatting import format_time
from headway.reporting.text.tables import Cell, Line, Style, Table, make_table, text_cell

_RESULTS: Mapping[TaskOutcome, tuple[str, Style]] = {
    "done": ("✓ done", "pass"),
    "attention": ("! look at it", "undecided"),
    "failed": ("✗ failed", "fail"),
}
_OUTCOMES: Mapping[Outcome, tuple[str, Style]] = {
    "delivered": ("✓ delivered", "pass"),
    "waiting": ("! is tried again", "undecided"),
    "given up": ("✗ given up", "fail"),
}
_STATES: Mapping[str, str] = {"firing": "began", "resolved": "ended", "test": "test"}


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedCondition:
    """A condition of a rule as of now; `state` is None if it cannot be judged, then `problem` may say why."""

    condition: str
    state: ConditionState | None
    problem: str = ""
    since: str = ""


def tabulate_tasks(tasks: Sequence[ScheduledTask], *, now: datetime) -> Table:
    """Tabulate the tasks of the schedule: the last run, its result, and the next run; what it found stands below."""
    rows = [
        (
            (Line(text=task.title, style="strong"), Line(text=task.name, style="quiet")),
            _last_cell(task),
            text_cell(*_RESULTS[task.last.outcome]) if task.last else text_cell("none yet", "quiet"),
            _next_cell(task, now),
        )
        for task in tasks
    ]
    notes = tuple(sentence(task.last.message) if task.last else "" for task in tasks)
    return make_table(("Task", "Last run", "Result", "Next run"), rows, folds=("Task", "Next run"), notes=notes)


def _last_cell(task: ScheduledTask) -> Cell:
    if task.last is None:
        return text_cell("never", "quiet")
    took = datetime.fromisoformat(task.last.ended_at) - datetime.fromisoformat(task.last.started_at)
    return (Line(text=format_time(task.last.started_at)), Line(text=f"took {describe_age(took)}", style="quiet"))


def _next_cell(task: ScheduledTask, now: datetime) -> Cell:
    if task.left_out:
        return text_cell(f"left out: {task.left_out}", "quiet")
    repeats = Line(text=f"every {describe_age(task.interval)}", style="quiet")
    if is_overdue(task, now):
        return (Line(text=f"! overdue for {describe_age(now - task.due_at)}", style="undecided"), repeats)
    if task.due_at <= now:
        return (Line(text="due now"), repeats)
    return (Line(text=format_time(task.due_at.astimezone(UTC).isoformat())), repeats)


def is_overdue(task: ScheduledTask, now: datetime) -> bool:
    """Return whether a task that ran before should have begun again a tenth of its interval ago, or longer."""
    return task.last is not None and not task.left_out and now - task.due_at > task.interval / 10


def tabulate_conditions(judged: Sequence[JudgedCondition]) -> Table:
    """Tabulate the conditions of a rule: those that hold first, then those that cannot be judged; why stands below."""
    ordered = sorted(judged, key=lambda one: 0 if one.state and one.state.is_firing else 1 if not one.state else 2)
    rows = [
        (
            text_cell(condition_title(one.condition), "strong"),
            _holds_cell(one.state),
            text_cell(format_time(one.since)) if one.since and one.state and one.state.is_firing else (),
        )
        for one in ordered
    ]
    notes = tuple(sentence(one.state.summary if one.state else one.problem or _unknown(one)) for one in ordered)
    return make_table(("Condition", "Holds now", "Since"), rows, folds=("Condition",), notes=notes)


def _unknown(one: JudgedCondition) -> str:
    """Return what is missing to judge a condition."""
    missing: Mapping[str, str] = {
        **dict.fromkeys(("slo_burn", "log_lag", "server_down"), "no server is known that answers"),
        "quarantine": "no rows were checked against a contract yet",
        "task_failed": "no scheduled task ran yet",
        "certificate": "the live release answers every row, or no audit could judge its certificate",
        "threats": "the threats were never assessed: headway threats",
        "probing": "no request with an API key was judged by headway probing",
        "value_skew": "nothing is live, or its values of features could not be replayed",
    }
    return missing.get(one.condition, "nothing is live, or no period was judged yet")


def _holds_cell(state: ConditionState | None) -> Cell:
    if state is None:
        return text_cell("? cannot be judged", "undecided")
    return text_cell("✗ yes", "fail") if state.is_firing else text_cell("✓ no", "pass")


def tabulate_deliveries(deliveries: Sequence[Delivery], addresses: Mapping[str, str]) -> Table:
    """Tabulate deliveries, the newest first: to whom, what became of each, and the problem below it.

    `addresses` are those of the receivers by the names of their rules.
    """
    newest = sorted(deliveries, key=lambda one: one.alert.at, reverse=True)
    rows = [
        (
            text_cell(format_time(one.alert.at)),
            (Line(text=condition_name(one.alert), style="strong"), Line(text=_STATES[one.alert.state], style="quiet")),
            (Line(text=one.alert.rule), Line(text=addresses.get(one.alert.rule, ""), style="quiet")),
            _outcome_cell(one),
        )
        for one in newest
    ]
    notes = tuple(sentence(one.problem) if one.problem else "" for one in newest)
    return make_table(("Alert of", "What", "Rule", "Delivery"), rows, folds=("What", "Rule"), notes=notes)


def condition_name(alert: Alert) -> str:
    """Return what an alert is about, in words."""
    return condition_title(alert.condition)


def _outcome_cell(one: Delivery) -> Cell:
    attempts = "1 attempt" if one.attempts == 1 else f"{one.attempts:,} attempts"
    at = f"next at {format_time(one.due_at)}" if one.outcome == "waiting" else format_time(one.done_at)
    word, style = _OUTCOMES[one.outcome]
    return (Line(text=word, style=style), Line(text=f"{attempts}, {at}", style="quiet"))
