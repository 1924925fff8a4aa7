"""Judge the periods that ended, and audit the certificate and the API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway.core.config import Config
from headway.core.late import LateModule
from headway.evaluation.settings.answer import AnswerSection
from headway.monitoring.task import Task
from headway.monitoring.task_runs import unwatched_reason

if TYPE_CHECKING:
    from headway.cli import task_work
else:  # with the libraries of the pipeline
    task_work = LateModule("headway.cli.task_work")


def _left_out(config: Config) -> str:
    """Return why it has nothing to do, or ""."""
    # the certificate of a project that answers selectively is audited by the log
    return "" if config[AnswerSection].limit else unwatched_reason(config)


plugin = Task(
    title="Monitor the model",
    run=task_work.run_watch,
    left_out=_left_out,
    order=40,
)
