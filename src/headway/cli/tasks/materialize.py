"""Store the newest values of the feature views for servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway.core.config import Config
from headway.core.late import LateModule
from headway.monitoring.task import Task
from headway.monitoring.task_runs import VIEWS

if TYPE_CHECKING:
    from headway.cli import task_work
else:  # with the libraries of the pipeline
    task_work = LateModule("headway.cli.task_work")


def _left_out(config: Config) -> str:
    """Return why it has nothing to do, or ""."""
    return "" if config.path(VIEWS).is_file() else f"the project has no {VIEWS}"


plugin = Task(
    title="Compute features",
    run=task_work.run_materialize,
    left_out=_left_out,
    order=20,
)
