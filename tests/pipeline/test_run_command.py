"""Test a cycle of `headway run` on real projects: what each task does, saves and reports."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from tests.monitoring.alerts import alerting_projects as alerting
from tests.monitoring.alerts.places import http_site
from tests.pipeline import projects, watched

from headway.cli.main import FAIL, PASS, UNDECIDED, USAGE
from headway.core.assessment import Assessment
from headway.core.monitoring import MonitoringReport
from headway.monitoring.task_runs import last_run
from headway.registry.project import Project, open_project

pytestmark = pytest.mark.slow
DATA = '[project]\nname = "small"\n[data]\nsource = "%s"\ntarget = "late"\ntime = "at"\ngroups = "day"\n'
ONLY_CHECK = '[schedule]\ntasks = ["check"]\n'
MAY = pl.col("at").dt.month() == 5


def months(folder: Path, table: pl.DataFrame, *numbers: int) -> None:
    """Write one partition for each month."""
    for number in numbers:
        (folder / f"month={number}").mkdir(parents=True)
        table.filter(pl.col("at").dt.month() == number).write_parquet(folder / f"month={number}/rows.parquet")


def assessments(project: Project) -> list[tuple[int, int, str]]:
    """Return the number and rows of each assessment, and what opened it."""
    return [(one.number, one.n_rows, " ".join(f.message for f in one.why)) for one in project.records(Assessment)]


def test_a_new_partition_column_or_source_opens_an_assessment_within_one_cycle(tmp_path, run):
    table = projects.table().gather_every(6)
    months(tmp_path / "data", table, 1, 2)
    (tmp_path / "headway.toml").write_text(DATA % "data" + ONLY_CHECK)
    project = open_project(tmp_path)

    def cycle() -> list[tuple[int, int, str]]:
        assert run("run", "--task", "check", "--project", tmp_path)[0] == PASS
        return assessments(project)

    first = cycle()
    assert len(first) == 1
    assert cycle() == first  # nothing is new

    months(tmp_path / "data", table, 3)
    *_, partition = cycle()
    assert partition[1] > first[0][1]

    shutil.rmtree(tmp_path / "data")
    months(tmp_path / "data", table.with_columns(gate=pl.lit("A")), 1, 2, 3)
    *_, column = cycle()
    assert column[0] == partition[0] + 1 and "gate" in column[2]

    (tmp_path / "data").rename(tmp_path / "other")
    (tmp_path / "headway.toml").write_text(DATA % "other" + ONLY_CHECK)
    *_, source = cycle()
    assert source[0] == column[0] + 1 and "other" in source[2]
    ended = last_run(project, "check")
    assert ended and ended.outcome == "done" and f"assessment {source[0]} was opened" in ended.message


def test_one_cycle_imports_labels_checks_watches_and_suggests_and_a_failure_stops_nothing(tmp_path, run):
    with http_site() as site:
        rules = alerting.webhook(site.url, when='"task_failed", "ticket", "degradation"')
        settings = '[schedule]\nlabels = "labels"\n[personal]\nretention = "9000d"\n'
        watched.write(tmp_path, table=watched.shifted(), retrain=watched.RETRAIN + settings + rules)
        (tmp_path / "labels").mkdir()
        (tmp_path / "labels/a.csv").write_text("key,label\nk1,1\nk2,0\n")
        (tmp_path / "labels/b.csv").write_text("nothing,here\n1,2\n")
        project = watched.released(tmp_path)
        code, _, err = run("run", "--once", "--project", tmp_path)
    assert code == FAIL, err
    ends = {task: last_run(project, task) for task in ("labels", "check", "watch", "retrain", "erase")}
    assert all(ends.values())
    assert {task: end.outcome for task, end in ends.items() if end} == {
        "labels": "failed",
        "check": "done",
        "watch": "attention",
        "retrain": "attention",
        "erase": "done",
    }
    (report,) = project.records(MonitoringReport)
    assert report.status == "degraded" and ends["watch"] and ends["watch"].message == report.message
    assert ends["retrain"] and ends["retrain"].message.startswith("suggested: ticket open since ")
    assert sorted(body["condition"] for body in site.bodies) == ["degradation", "task_failed", "ticket"]
    fixed = next(body for body in site.bodies if body["condition"] == "task_failed")
    assert fixed["summary"].startswith("labels failed: ")


def test_a_file_of_labels_is_imported_once(tmp_path, run):
    (tmp_path / "headway.toml").write_text(DATA % "none" + '[schedule]\nlabels = "labels.csv"\n')
    (tmp_path / "labels.csv").write_text("key,label\nk1,1\nk2,0\n")
    words = ("run", "--task", "labels", "--project", tmp_path)
    assert run(*words)[1] == "labels done: 2 labels of 1 new files\n"
    assert run(*words)[1] == "labels done: no new file of labels\n"
    (tmp_path / "labels.csv").write_text("key,label\nk1,0\n")
    assert run(*words)[1] == "labels done: 1 labels of 1 new files\n"
    (tmp_path / "labels.csv").unlink()
    code, out, _ = run(*words)
    assert code == FAIL and "no file or folder of labels is there" in out


def test_a_task_that_is_not_due_is_skipped(tmp_path, run):
    (tmp_path / "headway.toml").write_text(DATA % "none" + '[schedule]\nlabels = "labels.csv"\n')
    (tmp_path / "labels.csv").write_text("key,label\nk1,1\n")
    words = ("run", "--task", "labels", "--if-due", "--project", tmp_path)
    assert [run(*words)[0] for _ in range(2)] == [PASS, UNDECIDED]
    with open_project(tmp_path).lease("task labels"):
        code, _, err = run("run", "--task", "labels", "--project", tmp_path)
    assert code == UNDECIDED and "already being done" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--task", "dream"), "no task 'dream'"),
        (("--task", "labels"), "labels has nothing to do: [schedule] labels names no file"),
        (("--every", "soon"), "schedule.every: expected `str` matching regex"),
        ((), "the schedule has no task"),
    ],
)
def test_what_cannot_be_run_is_named(words, message, tmp_path, run):
    (tmp_path / "headway.toml").write_text('[schedule]\ntasks = ["check"]\n')
    code, _, err = run("run", *words, "--project", tmp_path)
    assert code == USAGE and message in err
