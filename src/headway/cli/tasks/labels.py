"""Import each new file of `[schedule] labels`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway.core.config import Config
from headway.core.late import LateModule
from headway.monitoring.settings.schedule import ScheduleSection
from headway.monitoring.task import Task

if TYPE_CHECKING:
    from headway.cli import task_work
else:  # with the libraries of the pipeline
    task_work = LateModule("headway.cli.task_work")


def _left_out(config: Config) -> str:
    """Return why it has nothing to do, or ""."""
    return "" if config[ScheduleSection].labels else "[schedule] labels names no file"


plugin = Task(
    title="Import labels",
    run=task_work.run_labels,
    left_out=_left_out,
    order=10,
)
