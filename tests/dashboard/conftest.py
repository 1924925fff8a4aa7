"""What tests of the dashboard share: an empty project, and a dashboard that serves it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.dashboard.people import RunningDashboard, running_dashboard


@pytest.fixture(scope="module")
def empty_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the project `flights`, in which nothing was done yet."""
    folder = tmp_path_factory.mktemp("flights")
    trust = f'trusted_keys = "{folder.parent}/trusted.txt"\npublisher_key = "{folder.parent}/publisher.pem"\n'
    (folder / "headway.toml").write_text(f'[project]\nname = "flights"\n\n[trust]\n{trust}')
    return folder


@pytest.fixture(scope="module")
def served(empty_project: Path) -> Iterator[RunningDashboard]:
    """A dashboard of an empty project."""
    with running_dashboard(empty_project) as running:
        yield running
