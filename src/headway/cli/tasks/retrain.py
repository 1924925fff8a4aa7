"""Retrain, promote or follow a retraining, as far as the settings allow."""

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
    title="Propose a retraining",
    run=task_work.run_retrain,
    left_out=unowned_reason,
    order=60,
)
