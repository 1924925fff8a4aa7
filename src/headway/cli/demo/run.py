"""Run the demo: the main job of headway from end to end on real flights."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace
from rich.console import Console

from headway import pipeline
from headway.cli.demo import monitoring, release
from headway.cli.demo.release import StageReporter
from headway.evaluation.measure import this_machine
from headway.registry.project import Project, open_project
from headway.reporting.console import make_console
from headway.reporting.page import write_report
from headway.reporting.read_report_data import read_monitoring_history
from headway.reporting.text import terminal

FILES = ("headway.toml", "flights.py", "train.py")
HERE = Path(__file__).parent


def run(folder: Path, *, screen: Console | None = None) -> Path:
    """Run the demo in a folder and return the path of its report, which is also the last line printed."""
    reporter, started = StageReporter(screen or make_console()), datetime.now(UTC)
    project = _project(folder)
    with reporter.stage("Load 336,776 flights, their planes, and the weather known two hours before"):
        data = pipeline.periods(project)
    frontier, report = release.train_and_release(project, data, reporter)
    with reporter.stage("Refuse a variant that is wrong on purpose: scheduled times taken in UTC"):
        wrong = release.judge_wrong_times(project, frontier.baseline, data["test"])
        reporter.show(terminal.render_rules(wrong.judged.verdict, groups="days"))
    with reporter.stage("Serve the release in a process of its own, and replay September over HTTP"):
        replayed = release.replay_september(project, frontier, data["live"])
        reporter.show(terminal.render_replay(replayed))
    with reporter.stage("Give a new release a share of October's traffic, and break its feed"):
        monitoring.roll_back_broken_feed(project, data["live"], reporter)
    with reporter.stage("Measure the year, month by month"):
        months = release.evaluate_months(project, frontier, data)
    with reporter.stage("Watch September and October as their labels come"):
        monitoring.report_windows(project, reporter, until=monitoring.CHANGED)
    with reporter.stage("Train anew on what was known by October, judge it against live, give it half of November"):
        monitoring.retrain_and_roll_out(project, data["live"], reporter)
    with reporter.stage("Watch November and December of what is live then"):
        monitoring.report_windows(project, reporter, since=f"{monitoring.CHANGED:%Y-%m}")
    report = replace(
        report,
        refused=wrong,
        replay=replayed,
        year=read_monitoring_history(project, since=started),
        months=months,
        stages=tuple(reporter.stages),
        machine=this_machine(),
    )
    reporter.show(terminal.render_summary(report))
    path = write_report(report, folder / "report.html")
    reporter.show(str(path.resolve()))
    return path


def _project(folder: Path) -> Project:
    """Open the demo's project with fresh files; the store of an earlier run stays."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(HERE / name, folder / name)
    return open_project(folder)
