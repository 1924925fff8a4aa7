"""Greet a project by its name: the command of the tests, installed like any third-party package."""

from __future__ import annotations

from pathlib import Path

from headway.cli.main import AsJson, ProjectFolder
from headway.core import config
from headway.reporting.console import print_result


def plugin(*, project: ProjectFolder = Path("."), json: AsJson = False) -> None:
    """Greet a project by its name.

    Example: headway greet --project headway-demo
    """
    name = config.load(project).project.name
    print_result({"project": name}, f"hello, {name}", json=json)
