"""The demo: the main job of headway from end to end on real flights, told as it goes."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace
from rich.console import Console

from headway import pipeline
from headway.cli.demo import loop, road
from headway.cli.demo.told import StageReporter
from headway.evaluation.measure import this_machine
from headway.registry.project import Project, open_project
from headway.reporting.console import make_console
from headway.reporting.page import write_report
from headway.reporting.read_year import read_monitoring_history
from headway.reporting.text import tables

FILES = ("headway.toml", "flights.py", "train.py")
HERE = Path(__file__).parent


def run(folder: Path, *, screen: Console | None = None) -> Path:
    """Run the demo in a folder; returns the path of the report, which is also the last line told on the screen."""
    told, began = StageReporter(screen or make_console()), datetime.now(UTC)
    project = _project(folder)
    with told.stage("Load 336,776 flights, their planes, and the weather known two hours before"):
        data = pipeline.periods(project)
    frontier, story = road.train_and_release(project, data, told)
    with told.stage("Refuse a variant that is wrong on purpose: scheduled times taken in UTC"):
        wrong = road.judge_wrong_times(project, frontier.baseline, data["test"])
        told.callback(tables.render_rules(wrong.judged.verdict, groups="days"))
    with told.stage("Serve the release in a process of its own, and replay September over HTTP"):
        replayed = road.replay_september(project, frontier, data["live"])
        told.callback(tables.render_replay(replayed))
    with told.stage("Give a new release a share of October's traffic, and break its feed"):
        loop.roll_back_broken_feed(project, data["live"], told)
    with told.stage("Measure the year, month by month"):
        months = road.evaluate_months(project, frontier, data)
    with told.stage("Watch September and October as their labels come"):
        loop.report_windows(project, told, until=loop.CHANGED)
    with told.stage("Train anew on what was known by October, judge it against live, give it half of November"):
        loop.retrain_and_roll_out(project, data["live"], told)
    with told.stage("Watch November and December of what is live then"):
        loop.report_windows(project, told, since=f"{loop.CHANGED:%Y-%m}")
    story = replace(
        story,
        refused=wrong,
        replay=replayed,
        year=read_monitoring_history(project, since=began),
        months=months,
        stages=tuple(told.stages),
        machine=this_machine(),
    )
    told.callback(tables.render_summary(story))
    path = write_report(story, folder / "report.html")
    told.callback(str(path.resolve()))
    return path


def _project(folder: Path) -> Project:
    """The demo's project, its files laid anew; what an earlier run left in the store stays."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(HERE / name, folder / name)
    return open_project(folder)
