"""Compare the values of features that were served with those of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway.core.config import Config
from headway.core.late import LateModule
from headway.features.settings.features import FeaturesSection
from headway.monitoring.task import Task
from headway.monitoring.task_runs import VIEWS

if TYPE_CHECKING:
    from headway.cli import task_work
else:  # with the libraries of the pipeline
    task_work = LateModule("headway.cli.task_work")


def _left_out(config: Config) -> str:
    """Return why it has nothing to do, or ""."""
    has_views = config[FeaturesSection].views or config.path(VIEWS).is_file()
    return "" if has_views else "no feature view is declared"


plugin = Task(
    title="Replay values of features",
    run=task_work.run_replay,
    left_out=_left_out,
    order=50,
)
