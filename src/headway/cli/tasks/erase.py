"""Erase rows that are older than `[personal] retention`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway.core.config import Config
from headway.core.late import LateModule
from headway.data.settings.personal import PersonalSection
from headway.monitoring.task import Task
from headway.registry.settings.record import RecordSection

if TYPE_CHECKING:
    from headway.cli import task_work
else:  # with the libraries of the pipeline
    task_work = LateModule("headway.cli.task_work")


def _left_out(config: Config) -> str:
    """Return why it has nothing to do, or ""."""
    if config[RecordSection].legal_hold:
        return "[record] legal_hold forbids to delete anything"
    return "" if config[PersonalSection].retention else "[personal] retention is empty"


plugin = Task(
    title="Erase old rows",
    run=task_work.run_erase,
    left_out=_left_out,
    order=70,
)
