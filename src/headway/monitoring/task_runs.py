"""Runs of scheduled tasks: save one, find the last of each, when it is due again, and which have nothing to do."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from headway.core.config import Config, parse_age
from headway.core.errors import HeadwayError
from headway.core.record import kind_of, read, write
from headway.core.schedule import TaskOutcome, TaskRun
from headway.data.settings.data import DataSection
from headway.data.settings.model import ModelSection
from headway.monitoring.settings.schedule import ScheduleSection
from headway.monitoring.task import load_task, own_tasks
from headway.registry.project import Project

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
    title: str
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
            title=_title(task),
            interval=interval_of(settings, task),
            last=last_run(project, task),
            due_at=due_at(project, task, now=now),
            left_out=reasons.get(task, ""),
        )
        for task in planned_tasks(project.config)
    ]


VIEWS = "features.toml"


def unwatched_reason(config: Config) -> str:
    """Return why the rows of a project cannot be watched by the schedule, or ""."""
    if config[ScheduleSection].source == "log" or not config[DataSection].source or config[DataSection].time:
        return ""
    return 'rows of the table have no time ([data] time); [schedule] source = "log" watches logged answers'


def _title(name: str) -> str:
    """Return what a task is called for people; one that cannot be used keeps its name."""
    try:
        return load_task(name).title
    except HeadwayError:
        return name


def unowned_reason(config: Config) -> str:
    """Return why the model of a project is not headway's to retrain, or ""."""
    return "the scores are those of another system" if config[ModelSection].scores else ""


def planned_tasks(config: Config) -> tuple[str, ...]:
    """Return the tasks of `[schedule]`, or headway's own if it names none."""
    return config[ScheduleSection].tasks or own_tasks()


def tasks_left_out(config: Config) -> dict[str, str]:
    """Return the tasks that have nothing to do with these settings or cannot be used, each with the reason."""
    reasons = {}
    for name in planned_tasks(config):
        try:
            reasons[name] = load_task(name).left_out(config)
        except HeadwayError as error:
            reasons[name] = error.what
    return {name: reason for name, reason in reasons.items() if reason}


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
