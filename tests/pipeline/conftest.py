from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.pipeline import watched
from tests.pipeline.projects import write

from headway import pipeline
from headway.cli import main as cli
from headway.core.search_result import SearchResult
from headway.registry.project import Project, open_project


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, SearchResult, Path]:
    """Return a project with the result of one search."""
    folder = write(tmp_path_factory.mktemp("small"))
    project = open_project(folder)
    data = pipeline.periods(project)
    return project, pipeline.optimize(project, pipeline.train(project, data), data), folder


@pytest.fixture(scope="session")
def ticket_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with an open ticket, to be copied."""
    folder = watched.write(tmp_path_factory.mktemp("ticket"), table=watched.shifted())
    pipeline.watch(watched.released(folder))
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs one command and returns its exit code, stdout and stderr."""

    def _run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([str(word) for word in words])
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return _run
