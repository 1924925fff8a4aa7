"""The page Explore: choices over what was measured, without JavaScript."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
from tests.dashboard.people import RunningDashboard, running_dashboard
from tests.dashboard.test_searches_page import ready
from tests.pipeline import explored
from tests.pipeline.projects import table

from bench import dashboard_explore
from headway.dashboard.workers import WorkerProcess
from headway.evaluation.explore import tables_file
from headway.registry.searches import search_digest

pytestmark = pytest.mark.slow
EXPLORE = "/models/small/explore"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDashboard]:
    """A dashboard of a project that was searched, whose tables the first visitor lets make."""
    folder: Path = tmp_path_factory.mktemp("small")
    explored.searched(folder).state.close()
    with running_dashboard(folder) as running:
        ready(running.visitor("viewer"), EXPLORE)
        yield running


@contextmanager
def occupied(process: WorkerProcess, fifo: Path) -> Iterator[None]:
    """Let a process wait until the end of the block."""
    os.mkfifo(fifo)
    with ThreadPoolExecutor(1) as threads:
        waits = threads.submit(process.run, Path.read_text, fifo)
        yield
        assert not waits.done()
        fifo.write_text("go on")
        waits.result()
    fifo.unlink()


def test_work_of_minutes_and_that_of_other_pages_do_not_wait_for_each_other(served: RunningDashboard, tmp_path) -> None:
    person, dashboard = served.visitor("viewer"), served.dashboard
    with occupied(dashboard.long_work, tmp_path / "fifo"):
        assert person.get("/models/small/data").status == 200
    project = dashboard.project("small")
    tables_file(project.config.state, search_digest(project)).unlink()
    with occupied(dashboard.workers, tmp_path / "fifo"):
        ready(person, EXPLORE)


def test_a_project_without_a_search_says_what_to_do(empty_project: Path) -> None:
    with running_dashboard(empty_project) as running:
        found = running.visitor("viewer").get("/models/flights/explore")
    assert found.status == 200 and "no variant was searched for yet" in found.words.lower()
    assert "headway optimize" in found.words


def test_each_control_has_a_label_and_explains_itself_in_two_sentences(served: RunningDashboard) -> None:
    found = served.visitor("viewer").get(EXPLORE)
    for name in ("trees", "engine", "missing", "month", "threshold", "false_positive", "false_negative"):
        assert f'<label for="{name}">' in found.text
    helps = re.findall(r'id="[a-z]+-help">([^<]*)<', found.text)
    assert len(helps) == 6 and all(help.count(". ") == 1 and help.endswith(".") for help in helps)


def test_a_choice_shows_what_it_does_with_intervals(served: RunningDashboard) -> None:
    person = served.visitor("viewer")
    found = person.get(f"{EXPLORE}?trees=13&threshold=0.4&false_negative=5&missing=hour")
    assert found.status == 200 and "truncate(trees=13)" in found.words
    for word in ("Cost of a decision", "Recall", "Latency of one row", "Ranking (AUC)", "carrier=AA", "worse", "["):
        assert word in found.words
    assert found.text.count("<svg") == 2 and "style=" not in found.text
    assert 'value="0.4"' in found.text and "row by row" in found.words
    later = person.get(f"{EXPLORE}?month=2013-04")
    assert "The month has other rows" in later.words and "26 groups" in later.words


def test_costs_change_the_figures(served: RunningDashboard) -> None:
    person = served.visitor("viewer")
    cheap, dear = (person.get(f"{EXPLORE}?false_negative={cost}").words for cost in (1, 50))
    assert cheap != dear


def test_what_was_not_measured_is_named_with_the_nearest_that_was(served: RunningDashboard) -> None:
    person = served.visitor("viewer")
    found = person.get(f"{EXPLORE}?trees=14")
    assert "No variant with 14 trees was measured" in found.words and "truncate(trees=13)" in found.words
    both = person.get(f"{EXPLORE}?missing=hour&month=2013-04")
    assert "was not measured in a single month" in both.words


def test_the_benchmark_times_other_choices_each_time(served: RunningDashboard) -> None:
    person, opened = served.visitor("viewer"), []

    def visit(path: str) -> tuple[int, str]:
        opened.append(path)
        found = person.get(path)
        return found.status, found.text

    times = dashboard_explore.explore_ms(visit, "small", repeats=12)
    assert len(times) == 12 and len(set(opened)) == 13 and dashboard_explore.p95(times) > 0
    assert any("month=2013" in path for path in opened) and any(re.search(r"missing=\w", path) for path in opened)


@pytest.mark.parametrize(
    "query",
    ["trees=-1", "engine=abacus", "missing=plane", "month=1999-01", "threshold=2", "threshold=x", "false_positive=-1"],
)
def test_a_choice_that_does_not_exist_is_an_error(served: RunningDashboard, query: str) -> None:
    assert served.visitor("viewer").get(f"{EXPLORE}?{query}").status == 400


def test_a_search_whose_rows_changed_is_not_explored(tmp_path: Path) -> None:
    project = explored.searched(tmp_path)
    table().with_columns(wind=pl.col("wind") + 1).write_parquet(tmp_path / "table.parquet")
    digest = search_digest(project)
    project.state.close()
    with running_dashboard(tmp_path) as running:
        found = ready(running.visitor("viewer"), f"{EXPLORE}?search={digest[7:19]}")
    assert found.status == 200 and "no longer those of this search" in found.words


@pytest.mark.parametrize(
    ("task", "error", "why"),
    [
        (explored.REGRESSION, "Mean absolute error", "this model answers with a number, and decides nothing"),
        (explored.MULTICLASS, "Share of wrong classes", "names the most probable of several classes"),
    ],
)
def test_a_task_without_a_threshold_is_explored_and_says_what_does_not_apply(tmp_path, task, error, why) -> None:
    explored.searched_for(tmp_path, task).state.close()
    with running_dashboard(tmp_path) as running:
        ready(running.visitor("viewer"), EXPLORE)
        found = running.visitor("viewer").get(f"{EXPLORE}?trees=13&missing=hour")
        assert running.visitor("viewer").get(f"{EXPLORE}?month=2013-04").status == 200
    assert found.status == 200 and why in found.words and error in found.words and "carrier=AA" in found.words
    assert "A calibration curve does not apply: " in found.words and 'id="threshold"' not in found.text
    for name in ("trees", "engine", "missing", "month"):
        assert f'<label for="{name}">' in found.text


def test_the_page_names_the_choices_that_the_search_did_not_measure(served: RunningDashboard) -> None:
    found = served.visitor("viewer").get(EXPLORE)
    assert "No variant that this search measured differs in: student, cascade or another model; bits" in found.words
