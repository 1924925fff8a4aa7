"""Greet a project by its name: the command of the tests, installed like any third-party package."""

from __future__ import annotations

from pathlib import Path

from headway_greet_settings import GreetSection

from headway.cli.main import AsJson, ProjectFolder
from headway.core import config
from headway.core.settings.project import ProjectSection
from headway.reporting.console import print_result


def plugin(*, project: ProjectFolder = Path("."), json: AsJson = False) -> None:
    """Greet a project by its name.

    Example: headway greet --project headway-demo
    """
    settings = config.load(project)
    name = settings[ProjectSection].name
    print_result({"project": name}, f"{settings[GreetSection].salutation}, {name}", json=json)
