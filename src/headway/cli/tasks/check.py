"""Check the data, and open an assessment if they changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway.core.config import Config
from headway.core.late import LateModule
from headway.data.settings.data import DataSection
from headway.monitoring.task import Task

if TYPE_CHECKING:
    from headway.cli import task_work
else:  # with the libraries of the pipeline
    task_work = LateModule("headway.cli.task_work")


def _left_out(config: Config) -> str:
    """Return why it has nothing to do, or ""."""
    return "" if config[DataSection].source else "[data] source names no table"


plugin = Task(
    title="Check the data",
    run=task_work.run_data_check,
    left_out=_left_out,
    order=30,
)
