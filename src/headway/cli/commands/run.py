"""Run the work of a schedule: import labels, check, watch, replay, retrain, erase, assess threats, send alerts."""

from __future__ import annotations

import sys
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway.cli.exit_codes import FAIL, PASS, UNDECIDED
from headway.cli.main import AsJson, ProjectFolder
from headway.core.errors import ConfigError, HeadwayError, LeaseHeld
from headway.core.schedule import TaskRun
from headway.monitoring.schedule import Scheduler
from headway.monitoring.settings.alert import AlertSection
from headway.monitoring.settings.schedule import ScheduleSection
from headway.monitoring.task import TaskResult, load_task
from headway.monitoring.task_runs import due_at, interval_of, last_run, planned_tasks, save_run, tasks_left_out
from headway.registry.project import Project, open_project
from headway.reporting.console import print_result, print_status
from headway.serving.settings.serve import ServeSection
from headway.serving.telemetry.logs import log_to_stderr


def plugin(
    *,
    every: str = "",
    once: Annotated[bool, Parameter(negative=())] = False,
    task: str = "",
    if_due: Annotated[bool, Parameter(negative=())] = False,
    project: ProjectFolder = Path("."),
    json: AsJson = False,
) -> int:
    """Repeat the tasks of [schedule] and send alerts, until SIGTERM or Ctrl-C; with --once, run each once.

    Each task runs in a process of its own, and no two of a kind at a time, on all machines that share the store. How
    it ended is saved; one that fails stops no other. Exit 0 all did their work, 1 one failed.

    Example: headway run --every 1d --project headway-demo
    Example: headway run --once --project headway-demo

    Parameters
    ----------
    every
        Interval of each task, such as 1d, 12h or 30m; default: [schedule] every.
    once
        Run every task now, one after the other, send alerts, and end: for cron and other schedulers.
    task
        Run only this task, in this process: labels, materialize, check, watch, replay, retrain,
        erase or threats.
    if_due
        Skip a task that was begun within its interval, on any machine. A task that is skipped, or that another process
        does, ends with exit code 3.
    """
    opened = open_project(project, flags={"schedule.every": every} if every else None)
    for scheduled in planned_tasks(opened.config):  # a wrong name or interval is refused before anything runs
        load_task(scheduled)
        interval_of(opened.config[ScheduleSection], scheduled)
    skipped = tasks_left_out(opened.config)
    if task:
        return _run_task(opened, task, if_due=if_due, json=json)
    tasks = [name for name in planned_tasks(opened.config) if name not in skipped]
    for name, reason in skipped.items():
        print_status(f"{name} is left out: {reason}")
    if not tasks:
        raise ConfigError("the schedule has no task", where="[schedule] tasks", hint="headway config --why schedule")

    def command(name: str) -> list[str]:
        words = ["run", "--task", name, "--project", str(project.resolve())]
        words += [*(["--every", every] if every else []), *(["--if-due"] if if_due or not once else [])]
        return [sys.executable, "-m", "headway.cli", *words, *(["--json"] if json else [])]

    with log_to_stderr(opened.config[ServeSection].log_format):
        scheduler = Scheduler(opened, tasks, command, silent=once)
        if not once:
            intervals = [f"{name} every {_words(interval_of(opened.config[ScheduleSection], name))}" for name in tasks]
            print_status(f"running {', '.join(intervals)}; alerts: {len(opened.config[AlertSection].rules)} rules")
            scheduler.run()
            return PASS
        began = datetime.now(UTC)
        scheduler.run_once()
    known = [run for run in (last_run(opened, name) for name in tasks) if run]
    runs = [run for run in known if datetime.fromisoformat(run.ended_at) >= began]
    lines = [_line(run) for run in runs] or ["no task was due, or another process does them"]
    print_result({"tasks": runs}, "\n".join(lines), json=json)
    return FAIL if any(run.outcome == "failed" for run in runs) else PASS


def _words(interval: timedelta) -> str:
    minutes = int(interval.total_seconds()) // 60
    unit, name = (1440, "d") if not minutes % 1440 else (60, "h") if not minutes % 60 else (1, "m")
    return f"{minutes // unit}{name}"


def _run_task(project: Project, task: str, *, if_due: bool, json: bool) -> int:
    """Run one task while its lease is held, and save how it ended."""
    if reason := load_task(task).left_out(project.config):
        raise ConfigError(f"{task} has nothing to do: {reason}", where="[schedule]")
    try:
        with project.lease(f"task {task}") as lease:
            started_at = datetime.now(UTC)
            if if_due and due_at(project, task, now=started_at) > started_at:
                return UNDECIDED
            outcome, message = _attempt(project, task)
            lease.expect_held()
            run = save_run(project, task, started_at=started_at, outcome=outcome, message=message)
    except LeaseHeld as error:
        print_status(str(error))
        return UNDECIDED
    print_result(run, _line(run), json=json)
    return FAIL if outcome == "failed" else PASS


def _attempt(project: Project, task: str) -> TaskResult:
    """Do the work of a task; an error is its result. Its libraries are imported here, not where tasks are started."""
    try:
        return load_task(task).run(project)
    except LeaseHeld as error:
        return "attention", f"not done now: {error.what}"
    except HeadwayError as error:
        return "failed", f"{error.what}{f'; try: {error.hint}' if error.hint else ''}"
    except Exception as error:  # noqa: BLE001 - the project's own code, or a defect: it stops no other task
        traceback.print_exc()
        return "failed", f"unexpected error: {type(error).__name__}"


def _line(run: TaskRun) -> str:
    return f"{run.task} {run.outcome}: {run.message}"
