"""A project whose search measured fewer trees, with labelled rows of later months, as the pages of a search need it."""

from __future__ import annotations

from pathlib import Path

from tests.pipeline.projects import TOML, write

from headway import pipeline
from headway.registry.project import Project, open_project

SETTINGS = TOML.replace('test = ["2013-03-22", "2013-05-01"]', 'test = ["2013-03-22", "2013-04-05"]').replace(
    "[model]", 'live = ["2013-04-05", "2013-05-01"]\n[model]'
)
TREES = SETTINGS.replace('transforms = ["onnx"]', 'transforms = ["truncate", "onnx"]')


def searched(folder: Path) -> Project:
    """Write the project into a folder, search, and return it."""
    project = open_project(write(folder, TREES))
    data = pipeline.periods(project)
    pipeline.optimize(project, pipeline.train(project, data), data)
    return project
