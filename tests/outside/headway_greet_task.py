"""Greet the people of a project: the scheduled task of the tests, installed like any third-party package."""

from __future__ import annotations

from headway_greet_settings import GreetSection

from headway.core.config import Config
from headway.monitoring.task import Task, TaskResult
from headway.registry.project import Project


def left_out(config: Config) -> str:
    """Return why it has nothing to do, or ""."""
    return "" if config[GreetSection].salutation else "[greet] salutation is empty"


def greet(project: Project) -> TaskResult:
    """Greet the people of a project."""
    return "done", f"{project.config[GreetSection].salutation}, people of {project.name}"


plugin = Task(title="Greet", run=greet, left_out=left_out)
