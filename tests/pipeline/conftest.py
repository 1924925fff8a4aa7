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
    """A project whose variants were searched once."""
    folder = write(tmp_path_factory.mktemp("small"))
    project = open_project(folder)
    data = pipeline.periods(project)
    return project, pipeline.optimize(project, pipeline.train(project, data), data), folder


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with an open ticket, to be copied."""
    folder = watched.write(tmp_path_factory.mktemp("asked"), table=watched.turned())
    pipeline.watch(watched.released(folder))
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run one command; gives its exit code, what it printed, and what it complained of."""

    def _run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([str(word) for word in words])
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return _run
