"""The contract of a scheduled task: a plug-in of the kind `task`, which `headway run` repeats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headway.core import plugins
from headway.core.config import Config
from headway.core.errors import ConfigError, PluginError
from headway.core.schedule import TaskOutcome
from headway.registry.project import Project

TaskResult = tuple[TaskOutcome, str]
"""What a task did, in a sentence, and whether a person should look."""


def _never(_config: Config) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Work that the schedule repeats, in a process of its own.

    Parameters
    ----------
    title : str
        What it is called for people, such as `Import labels`.
    run : callable
        Does the work for a project. An error ends this task alone. Its libraries are imported when it is called.
    left_out : callable, optional
        Returns why it has nothing to do with a configuration, or "".
    order : int
        Place in the schedule; tasks of one place are in the order of their names.
    """

    title: str
    run: Callable[[Project], TaskResult]
    left_out: Callable[[Config], str] = _never
    order: int = 1_000


def load_task(name: str) -> Task:
    """Return a task; raises ConfigError if there is none of that name, and PluginError if it cannot be used."""
    if name not in plugins.names("task"):
        raise ConfigError(f"no task {name!r}", where="[schedule] tasks", hint=f"one of: {', '.join(task_names())}")
    with plugins.guarded("task", name):
        task = plugins.load("task", name)
    if not isinstance(task, Task):
        raise PluginError(f"the plug-in task {name!r} is not a Task")
    return task


def own_tasks() -> tuple[str, ...]:
    """Return headway's own tasks in the order in which they run."""
    return tuple(sorted(plugins.own("task"), key=lambda name: (load_task(name).order, name)))


def task_names() -> tuple[str, ...]:
    """Return every task, headway's own first."""
    own = own_tasks()
    return (*own, *(name for name in plugins.names("task") if name not in own))
