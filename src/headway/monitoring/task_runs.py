"""Runs of scheduled tasks: save one, find the last of each, when it is due again, and which have nothing to do."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from headway.core.config import Config, parse_age
from headway.core.record import kind_of, read, write
from headway.core.schedule import TaskOutcome, TaskRun
from headway.data.settings.data import DataSection
from headway.data.settings.model import ModelSection
from headway.data.settings.personal import PersonalSection
from headway.evaluation.settings.answer import AnswerSection
from headway.features.settings.features import FeaturesSection
from headway.monitoring.settings.schedule import ScheduleSection
from headway.registry.project import Project
from headway.registry.settings.record import RecordSection

MAX_MESSAGE = 2_000


def interval_of(settings: ScheduleSection, task: str) -> timedelta:
    """Return the interval of a task."""
    return parse_age(settings.intervals.get(task, settings.every), where="[schedule]")


def last_run(project: Project, task: str) -> TaskRun | None:
    """Return the last run of a task on any machine, or None."""
    content = project.state.latest(kind_of(TaskRun), name=_name(project, task))
    return read(TaskRun, content) if content else None


def due_at(project: Project, task: str, *, now: datetime) -> datetime:
    """Return when a task is due: its interval after the last start, however many starts were missed; now at first."""
    last = last_run(project, task)
    if last is None:
        return now
    return datetime.fromisoformat(last.started_at) + interval_of(project.config[ScheduleSection], task)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledTask:
    """A task of the schedule: its interval, its last run, when it is due, and why it has nothing to do, or ""."""

    name: str
    interval: timedelta
    last: TaskRun | None
    due_at: datetime
    left_out: str = ""


def scheduled_tasks(project: Project, *, now: datetime) -> Sequence[ScheduledTask]:
    """Return the tasks of the schedule, in the order in which they run."""
    settings, reasons = project.config[ScheduleSection], tasks_left_out(project.config)
    return [
        ScheduledTask(
            name=task,
            interval=interval_of(settings, task),
            last=last_run(project, task),
            due_at=due_at(project, task, now=now),
            left_out=reasons.get(task, ""),
        )
        for task in settings.tasks
    ]


VIEWS = "features.toml"


def unwatched_reason(config: Config) -> str:
    """Return why the rows of a project cannot be watched by the schedule, or ""."""
    if config[ScheduleSection].source == "log" or not config[DataSection].source or config[DataSection].time:
        return ""
    return 'rows of the table have no time ([data] time); [schedule] source = "log" watches logged answers'


def _without_erasure(config: Config) -> str:
    if config[RecordSection].legal_hold:
        return "[record] legal_hold forbids to delete anything"
    return "" if config[PersonalSection].retention else "[personal] retention is empty"


def tasks_left_out(config: Config) -> dict[str, str]:
    """Return the tasks that have nothing to do with these settings, each with the reason."""
    views = config.path(VIEWS).is_file()
    reasons = {
        "labels": "" if config[ScheduleSection].labels else "[schedule] labels names no file",
        "materialize": "" if views else f"the project has no {VIEWS}",
        "check": "" if config[DataSection].source else "[data] source names no table",
        "watch": "" if config[AnswerSection].limit else unwatched_reason(config),  # a certificate is audited by the log
        "replay": "" if config[FeaturesSection].views or views else "no feature view is declared",
        "retrain": "the scores are those of another system" if config[ModelSection].scores else "",
        "threats": "the scores are those of another system" if config[ModelSection].scores else "",
        "erase": _without_erasure(config),
    }
    return {task: reason for task, reason in reasons.items() if reason}


def save_run(
    project: Project, task: str, *, started_at: datetime, outcome: TaskOutcome, message: str, by: str = ""
) -> TaskRun:
    """Save how a run of a task ended, and return the record."""
    run = TaskRun(
        name=project.name,
        task=task,
        started_at=started_at.astimezone(UTC).isoformat(timespec="milliseconds"),
        ended_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        outcome=outcome,
        message=message[:MAX_MESSAGE],
        by=by or f"process {os.getpid()} of {socket.gethostname()}",
    )
    project.state.save(kind_of(TaskRun), write(run), name=_name(project, task))
    return run


def _name(project: Project, task: str) -> str:
    """Return the name of a task's records: each has its own, so that the last one is found without the others."""
    return f"{project.name}/{task}"
