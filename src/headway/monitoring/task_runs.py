"""Runs of scheduled tasks: save one, find the last of each, and when it is due again."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta

from headway.core.config import parse_age
from headway.core.record import kind_of, read, write
from headway.core.schedule import TaskOutcome, TaskRun
from headway.core.sections import ScheduleSection
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
    return datetime.fromisoformat(last.started_at) + interval_of(project.config.schedule, task)


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
