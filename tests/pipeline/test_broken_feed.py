"""A broken feed is repaired and not learned: no retraining or reference of it, and a new judgement after the repair."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.pipeline import projects, watched

from headway import pipeline
from headway.cli.commands.retrain import act
from headway.core.errors import DataError
from headway.core.monitoring import MonitoringReport, Ticket
from headway.core.record import read, write
from headway.monitoring.budget import period_of_report, recorded_inputs
from headway.registry.project import Project, open_project

pytestmark = pytest.mark.slow
SPLIT = """train = ["2013-01-01", "2013-02-10"]
validation = ["2013-02-10", "2013-03-01"]
test = ["2013-03-01", "2013-05-01"]"""
RETRAIN = '[retrain]\njudged_days = 20\nrecalibrate_days = 20\nseeds = 1\nmode = "auto"\nthrough = "live"\n'
DAYS, ROWS = 243, 60
JULY, SEPTEMBER = datetime(2013, 7, 1), datetime(2013, 9, 1)


def healthy() -> pl.DataFrame:
    """Return eight months in which nothing changes."""
    draw = np.random.default_rng(0)
    hour, wind = draw.integers(0, 24, DAYS * ROWS), draw.gamma(2.0, 5.0, DAYS * ROWS)
    chance = 1 / (1 + np.exp(-(hour / 8 + wind / 15 + np.repeat(draw.normal(0, 0.3, DAYS), ROWS) - 3.5)))
    starts = [datetime(2013, 1, 1) + timedelta(days=row // ROWS, hours=int(hour[row])) for row in range(DAYS * ROWS)]
    return pl.DataFrame(
        {
            "at": starts,
            "day": [start.date() for start in starts],
            "hour": hour.astype(np.float64),
            "wind": wind,
            "carrier": draw.choice(["AA", "B6", "UA"], DAYS * ROWS),
            "late": (draw.random(DAYS * ROWS) < chance).astype(np.int8),
        }
    )


def broken_june() -> pl.DataFrame:
    """Return the months with a feed that is broken in June: `wind` is empty, `hour` is divided by 10."""
    june = pl.col("at").dt.month() == 6
    wind, hour = pl.when(june).then(None).otherwise("wind"), pl.when(june).then(pl.col("hour") / 10).otherwise("hour")
    return healthy().with_columns(wind=wind, hour=hour)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Return a project that is live since May, after the watch of the broken June."""
    folder = tmp_path_factory.mktemp("feed")
    projects.write(
        folder,
        projects.TOML.replace(projects.TOML[projects.TOML.index("train = [") : projects.TOML.index("\n[model]")], SPLIT)
        + RETRAIN,
    )
    broken_june().write_parquet(folder / "table.parquet")
    project = watched.released(folder)
    pipeline.watch(project, until=JULY)
    project.state.close()
    return folder


@pytest.fixture
def project(made, tmp_path) -> Project:
    """Return a copy of the project."""
    return open_project(shutil.copytree(made, tmp_path / "copy"))


def repair(project: Project) -> None:
    """Fill the table with what the feed should have sent."""
    healthy().write_parquet(Path(project.config.folder, "table.parquet"))


def test_the_report_of_a_broken_month_has_a_cell_for_each_column_and_day(project):
    june = project.records(MonitoringReport)[-1]
    days = {found.column: found.days for found in june.drift.broken}
    assert set(days) == {"hour", "wind"}
    assert days["hour"] == days["wind"] == tuple(f"2013-06-{day:02d}" for day in range(1, 31))


def test_the_ticket_says_to_repair_the_feed_and_not_to_retrain_for_a_failed_calibration(project):
    ticket = pipeline.open_ticket(project)
    assert ticket.reasons == ("rows", "inputs")
    assert ticket.message.startswith("repair the feed of hour, wind, out of range on 30 days from 2013-06-01")


def test_retraining_and_recalibration_on_a_broken_month_are_refused(project):
    with pytest.raises(DataError, match="out of their range on 21 of the 21 days to judge by: hour, wind") as caught:
        act(project, until=JULY, who="ada", why="")
    assert "repair the feed" in caught.value.hint and 'accept_out_of_range = ["hour", "wind"]' in caught.value.hint
    with pytest.raises(DataError, match="days to judge by: hour, wind"):
        pipeline.recalibrate(project, until=JULY)


def test_a_person_may_accept_what_the_world_moved(project):
    accepted = open_project(Path(project.config.folder), flags={"retrain.accept_out_of_range": '["hour", "wind"]'})
    found = pipeline.retrain(accepted, until=JULY)
    assert found.findings == () and found.search_result.winner.verdict.answer == "pass"


def test_after_a_broken_month_the_next_are_judged_and_its_days_do_not_train(project):
    reports = pipeline.watch(project, until=SEPTEMBER)
    assert [report.status for report in reports] == ["healthy", "degraded", "healthy", "healthy"]
    assert reports[2].find("roc_auc.estimated"), "calibrated on May, and not on June"

    found = pipeline.retrain(project, until=SEPTEMBER)
    assert {(one.code, one.where) for one in found.findings} == {("O006", "hour"), ("O006", "wind")}
    n_june, n_held_out = 30 * ROWS, found.search_result.winner.evidence.find("brier.drop").n_rows
    assert n_held_out + n_june + _trained(found.message) == DAYS * ROWS


def _trained(message: str) -> int:
    return int(message.split()[2].replace(",", ""))


def test_a_repaired_feed_is_judged_again_by_itself_at_the_level_of_the_first_judgement(project):
    first = project.records(MonitoringReport)[-1]
    repair(project)
    june = pipeline.watch(project, until=JULY)[-1]
    assert (june.period, june.status, june.drift.broken) == ("2013-06", "healthy", ())
    assert [reply.level for reply in june.answers] == [reply.level for reply in first.answers]
    ticket = pipeline.open_ticket(project)
    assert (ticket.reasons, ticket.broken) == (("rows",), ())
    assert not recorded_inputs(project.records(MonitoringReport))

    n_reports = len(project.records(MonitoringReport))
    assert pipeline.watch(project, until=JULY)[-1] == june and len(project.records(MonitoringReport)) == n_reports
    assert not pipeline.retrain(project, until=JULY).findings[1:], "only D065: rows have changed"


def test_a_ticket_only_for_a_broken_feed_trains_nothing_and_is_closed_by_the_repair(project):
    ticket = pipeline.open_ticket(project)
    project.save(read(Ticket, write(ticket).replace(b'["rows","inputs"]', b'["inputs"]')))
    outcome, made, code = act(project, who="ada", why="")
    assert (outcome.status, made, code) == ("no proposal", None, 0) and "repair the feed" in outcome.message

    repair(project)
    pipeline.watch(project, until=JULY)
    assert pipeline.open_ticket(project) is None


def without_days(project: Project) -> None:
    """Save the reports as an earlier version did, without the days of broken cells."""
    for report in project.records(MonitoringReport):
        if report.drift and report.drift.broken:
            content = write(report)
            begin = content.index(b'"broken":[')
            end = content.index(b'"findings"', begin)
            project.save(read(MonitoringReport, content[:begin] + content[end:]))


def test_reports_of_an_earlier_version_count_with_all_days_of_their_period(project):
    without_days(project)
    last = {period_of_report(report): report for report in project.records(MonitoringReport)}
    june = [report for report in last.values() if report.period == "2013-06"][-1]
    assert not june.drift.broken
    assert {len(found.days) for found in recorded_inputs([june])} == {30}
    repair(project)
    assert pipeline.watch(project, until=JULY)[-1].status == "healthy"


def test_a_broken_month_that_went_live_as_the_reference_accuses_no_healthy_month(project):
    accepted = open_project(Path(project.config.folder), flags={"retrain.accept_out_of_range": '["hour", "wind"]'})
    assert pipeline.promote(accepted, pipeline.retrain(accepted, until=JULY), who="ada").status == "live"
    without_days(project)

    july, august = pipeline.watch(project, until=SEPTEMBER)
    assert (july.status, august.status) == ("unknown", "unknown")
    assert "out of its range on all days that the release was judged on" in july.unknown[0].message

    assert pipeline.retrain(project, until=SEPTEMBER).findings[0].code == "O006", "healthy days judge, June is left out"
