"""Every scheduled task, headway's own and of other packages, keeps what the schedule relies on."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.contract.raising import EARLY, LATE, install_raising

from headway.core import plugins
from headway.core.config import Config
from headway.core.errors import ConfigError, HeadwayError
from headway.monitoring.settings.schedule import ScheduleSection
from headway.monitoring.task import load_task, own_tasks, task_names
from headway.monitoring.task_runs import planned_tasks, tasks_left_out

TASKS = plugins.names("task")


@pytest.mark.parametrize("name", TASKS)
def test_a_task_has_a_title_and_says_why_it_has_nothing_to_do(name: str, tmp_path: Path) -> None:
    task = load_task(name)
    assert task.title and not task.title.endswith(".") and callable(task.run)
    reason = task.left_out(Config(folder=str(tmp_path)))
    assert isinstance(reason, str) and not reason.endswith(".")


def test_the_tasks_of_headway_run_in_their_order_and_others_where_they_are_named() -> None:
    own = ("labels", "materialize", "check", "watch", "replay", "retrain", "erase", "threats")
    assert planned_tasks(Config()) == own_tasks() == own and task_names()[: len(own)] == own
    named = Config(ScheduleSection(tasks=("greet", "check")))
    assert planned_tasks(named) == ("greet", "check") and "greet" not in tasks_left_out(named)


def test_an_unknown_task_is_an_error_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no task 'wach'(.|\n)*labels, materialize, check"):
        load_task("wach")
    with pytest.raises(ValueError, match="no task 'wach' is installed; one of: check, erase"):
        ScheduleSection(tasks=("wach",))


@pytest.mark.parametrize(("code", "message"), [(EARLY, "KeyError"), (LATE, "is not a Task")])
def test_a_task_that_cannot_be_used_is_named_and_the_others_are_planned(
    code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = install_raising("task", "defective", tmp_path, monkeypatch, code=code)
    with pytest.raises(HeadwayError, match=message):
        load_task(name)
    reasons = tasks_left_out(Config(ScheduleSection(tasks=(name, "watch")), folder=str(tmp_path)))
    assert message in reasons[name] and "check" in task_names()
