"""Test when tasks are due, that no two overlap, and how their processes end."""

from __future__ import annotations

import inspect
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.monitoring.alerts import alerting_projects as projects
from tests.monitoring.alerts.places import http_site, until

from headway.cli.commands.run import plugin
from headway.core.errors import ConfigError
from headway.core.record import read
from headway.core.schedule import TaskRun
from headway.monitoring import schedule
from headway.monitoring.alerts.deliver import update_alerts
from headway.monitoring.schedule import HELD, Scheduler
from headway.monitoring.settings.schedule import ScheduleSection
from headway.monitoring.task_runs import due_at, interval_of, last_run, save_run
from headway.registry.project import Project

pytestmark = pytest.mark.slow
DAY, NOW = timedelta(days=1), datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture
def project(tmp_path) -> Project:
    return projects.project(tmp_path, "")


def scheduler(project: Project, **scripts: str) -> Scheduler:
    """A scheduler whose tasks are shell scripts."""
    return Scheduler(project, list(scripts), lambda task: ["sh", "-c", scripts[task]])


def outcomes(project: Project, tasks: Sequence[str]) -> list[tuple[str, str]]:
    runs = [last_run(project, task) for task in tasks]
    return [(run.outcome, run.message) for run in runs if run]


def test_a_task_is_due_at_first_then_its_interval_after_it_began(project):
    now = datetime.now(UTC)
    assert due_at(project, "watch", now=now) == now
    began = now - timedelta(hours=1)
    run = save_run(project, "watch", started_at=began, outcome="done", message="x" * 9000)
    assert len(run.message) == 2000 and last_run(project, "watch") == run
    assert abs(due_at(project, "watch", now=now) - (began + DAY)) < timedelta(seconds=1)
    assert due_at(project, "check", now=now) == now


def test_many_missed_times_are_caught_up_once(project):
    now = datetime.now(UTC)
    save_run(project, "watch", started_at=now - 30 * DAY, outcome="done", message="")
    assert due_at(project, "watch", now=now) < now
    save_run(project, "watch", started_at=now, outcome="done", message="")
    assert due_at(project, "watch", now=now) > now + 0.9 * DAY


def test_a_task_may_have_an_interval_of_its_own():
    settings = ScheduleSection(every="1d", intervals={"labels": "30m"})
    assert interval_of(settings, "labels") == timedelta(minutes=30)
    assert interval_of(settings, "watch") == DAY
    with pytest.raises(ConfigError, match="too long a duration"):
        interval_of(ScheduleSection(every="9" * 20 + "d"), "watch")


def test_a_task_that_dies_has_failed_and_stops_no_other(project, tmp_path):
    scheduler(project, labels="kill -9 $$", check="exit 7", watch=f"touch {tmp_path}/done").run_once()
    assert (tmp_path / "done").exists()
    assert outcomes(project, ["labels", "check", "watch"]) == [
        ("failed", "its process was ended by signal 9"),
        ("failed", "its process ended with exit code 7"),
        ("failed", "its process ended with exit code 0"),  # it has recorded nothing
    ]


def test_a_task_that_another_process_does_has_not_failed(project):
    scheduler(project, watch=f"exit {HELD}").run_once()
    assert last_run(project, "watch") is None


def test_a_program_that_cannot_be_started_stops_no_other(project, tmp_path, caplog):
    commands = {"labels": ["no-such-program"], "check": ["touch", f"{tmp_path}/done"]}
    Scheduler(project, list(commands), lambda task: commands[task]).run_once()
    assert "the task labels cannot be started" in caplog.text and (tmp_path / "done").exists()


def test_a_task_that_takes_too_long_is_ended_and_has_failed(tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "GRACE_S", 0.2)
    project = projects.project(tmp_path, "", more="[schedule]\ntask_hours = 0.0001\n")
    scheduler(project, watch="trap '' INT; sleep 60").run_once()
    assert outcomes(project, ["watch"]) == [("failed", "the task did not end within 0:00:00.360000")]


SOURCE = """
import pathlib, time
import polars as pl
def rows():
    with open({log!r}, "a") as log:
        log.write("begin\\n")
        log.flush()
        deadline = time.monotonic() + {seconds}
        while time.monotonic() < deadline and not pathlib.Path({log!r}).with_name("go").exists():
            time.sleep(0.05)
        log.write("end\\n")
    return pl.DataFrame({{"late": [0, 1] * 50, "hour": range(100)}})
"""
TOML = """
[data]
source = "mine:rows"
target = "late"
[schedule]
tasks = ["check"]
"""


def slow_project(folder: Path, *, seconds: float) -> Project:
    """A project whose check reads its table slowly, and writes down when."""
    (folder / "mine.py").write_text(SOURCE.format(log=str(folder / "log"), seconds=seconds))
    return projects.project(folder, TOML)


def started(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "headway.cli", "run", "--every", "1d", "--project", str(folder)]
    with (folder / "shown").open("ab") as shown:
        return subprocess.Popen(command, stdout=shown, stderr=shown)


def ended(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(40)


def lines(folder: Path) -> list[str]:
    return (folder / "log").read_text().split() if (folder / "log").exists() else []


def all_runs(project: Project) -> list[str]:
    return [read(TaskRun, content).outcome for content in project.state.records("task_run")]


@pytest.mark.long
def test_two_schedulers_run_a_task_once_between_them(tmp_path):
    project = slow_project(tmp_path, seconds=60)
    both = [started(tmp_path), started(tmp_path)]
    until(lambda: lines(tmp_path) == ["begin"])
    until(lambda: "is already being done by process" in (tmp_path / "shown").read_text())
    (tmp_path / "go").touch()
    until(lambda: bool(last_run(project, "check")))
    assert [ended(process) for process in both] == [0, 0]
    assert lines(tmp_path) == ["begin", "end"] and len(all_runs(project)) == 1


def test_a_signal_ends_the_scheduler_and_its_task_which_runs_again_later(tmp_path):
    project = slow_project(tmp_path, seconds=60)
    process = started(tmp_path)
    until(lambda: lines(tmp_path) == ["begin"])
    assert ended(process) == 0
    assert lines(tmp_path) == ["begin"] and all_runs(project) == []
    with project.lease("task check"):  # it is free: the process of the task has ended
        pass
    assert due_at(project, "check", now=NOW) == NOW


def test_a_failed_task_raises_an_alert_and_the_scheduler_goes_on(tmp_path):
    table = '[data]\nsource = "none.parquet"\ntarget = "late"\n[schedule]\ntasks = ["check"]\n'
    with http_site() as site:
        project = projects.project(tmp_path, table + projects.webhook(site.url, when='"task_failed"'))
        process = started(tmp_path)
        until(lambda: len(site.bodies) == 1)
        assert process.poll() is None
        assert site.bodies[0]["summary"].startswith("check failed: ")
        assert ended(process) == 0
    assert all_runs(project) == ["failed"]


@pytest.mark.services
def test_schedulers_of_two_machines_take_turns_and_send_an_alert_once(tmp_path, postgresql):
    """Each machine has a folder of its own; they share records and leases in PostgreSQL."""
    with http_site() as site:
        rules = projects.webhook(site.url, when='"task_failed"')
        opened, processes = [], []
        for machine in ("one", "other"):
            (tmp_path / machine).mkdir()
            source = SOURCE.format(log=str(tmp_path / "log"), seconds=60).replace("return ", "raise ValueError; ")
            (tmp_path / machine / "mine.py").write_text(source)
            toml = f'{TOML}[store]\nstate = "{postgresql}"\n{rules}'
            opened.append(projects.project(tmp_path / machine, toml))
            processes.append(started(tmp_path / machine))
        until(lambda: lines(tmp_path) == ["begin"])
        shown = [tmp_path / machine / "shown" for machine in ("one", "other")]
        until(lambda: any("is already being done by process" in file.read_text() for file in shown))
        (tmp_path / "go").touch()
        until(lambda: len(site.bodies) == 1)
        assert [ended(process) for process in processes] == [0, 0]
        for project in opened:  # whatever either still had to send
            update_alerts(project)
    assert lines(tmp_path) == ["begin", "end"]
    assert all_runs(opened[0]) == all_runs(opened[1]) == ["failed"]
    assert len(site.bodies) == 1 and "unexpected error: ValueError" in site.bodies[0]["summary"]
    for project in opened:
        project.state.close()


def test_the_examples_for_systemd_start_commands_that_exist(tmp_path):
    """The options of the units are those of `headway run`, and the timer starts the service of its name."""
    folder = Path(__file__).parents[2] / "deploy/systemd"
    words = {}
    for file in folder.glob("*.service"):
        (line,) = [line for line in file.read_text().splitlines() if line.startswith("ExecStart=")]
        words[file.name] = line.split()[1:]
    parameters = set(inspect.signature(plugin).parameters)
    assert sorted(words) == ["headway-once.service", "headway-run.service"]
    for name, (command, *options) in words.items():
        given = {option[2:].replace("-", "_") for option in options if option.startswith("--")}
        assert command == "run" and given <= parameters, name
    assert (folder / "headway-once.timer").read_text().count("Persistent=true") == 1
