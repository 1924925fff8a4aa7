"""Assess on which threats the live release has evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway.core.late import LateModule
from headway.monitoring.task import Task
from headway.monitoring.task_runs import unowned_reason

if TYPE_CHECKING:
    from headway.cli import task_work
else:  # with the libraries of the pipeline
    task_work = LateModule("headway.cli.task_work")


plugin = Task(
    title="Assess the threats",
    run=task_work.run_threats,
    left_out=unowned_reason,
    order=80,
)
