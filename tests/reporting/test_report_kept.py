"""The year and the story are read back from the records of a real store, and nothing else is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.monitoring import rollouts
from tests.pipeline import watched
from years import retraining, ticket, watch

from headway import pipeline
from headway.cli import main as cli
from headway.core.rollout import Plan, Stage
from headway.monitoring import rollout as control
from headway.registry.model_registry import UpdateReason
from headway.registry.project import Project
from headway.reporting.events import list_events
from headway.reporting.read_report_data import read_monitoring_history, read_report_data
from headway.reporting.report_data import Stamp

ONE = Plan(stages=(Stage(share=0.2),))


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    opened = rollouts.project(tmp_path)
    yield opened
    opened.state.close()
    opened.registry.state.close()


def rolled_back(project: Project, made_at: str) -> control.Rollout:
    """A rollout that ada took back."""
    digest = rollouts.publish(project, rollouts.release(made_at=made_at))
    control.start_rollout(project, digest, plan=ONE, who="ann", why="a faster one")
    control.roll_back(project, who="ada", why="callers complain")
    last = control.latest_rollout(project)
    assert last is not None
    return last


def test_a_project_without_records_has_no_year(project: Project) -> None:
    assert read_monitoring_history(project) is None
    assert read_report_data(project).year is None


def test_a_release_that_only_went_live_has_no_year_yet(project: Project) -> None:
    rollouts.live(project, rollouts.release())
    assert read_monitoring_history(project) is None


def test_of_a_period_the_last_watch_of_what_was_live_in_it_counts(project: Project) -> None:
    first = rollouts.live(project, rollouts.release(made_at="1"))
    second = rollouts.live(project, rollouts.release(made_at="2"))
    for seen in (
        watch(9, first, "unknown", n_labeled=0),
        watch(9, first, "degraded"),
        watch(9, second, "healthy"),
        watch(10, second, "drifted"),
        watch(10, "sha256:" + "e" * 64, "degraded"),
    ):
        project.save(seen)
    year = read_monitoring_history(project)
    assert year is not None
    # both moves were made today, long after these months: the first release stands for what came before
    assert [(each.period, each.release, each.status) for each in year.watches] == [
        ("2013-09", first, "degraded"),
        ("2013-10", second, "drifted"),
    ]
    assert year.names == {first: "first release", second: "release 2"}


def test_a_rollout_says_why_it_was_begun_where_it_stands_and_who_ended_it(project: Project) -> None:
    rollouts.live(project, rollouts.release(made_at="1"))
    ended = rolled_back(project, "2")
    year = read_monitoring_history(project)
    assert year is not None
    (trial,) = year.trials
    assert (trial.aim, trial.rollout.status, trial.at) == ("a faster one", "rolled back", ended.stage_at)
    assert trial.verdict is not None
    assert trial.verdict.by == "ada"


def test_a_stamp_says_when_it_was_by_the_time_of_the_data_and_what_no_record_knows(project: Project) -> None:
    rollouts.live(project, rollouts.release(made_at="1"))
    ended = rolled_back(project, "2")
    project.save(Stamp(name=project.name, of=ended.salt, at="2013-10", note="Its feed broke."))
    (event,) = list_events(read_report_data(project))
    assert event.at == "2013-10"
    assert "Its feed broke." in event.message


def test_a_release_that_a_rollout_promoted_is_no_move_by_hand_and_a_way_back_is_one(project: Project) -> None:
    first = rollouts.live(project, rollouts.release(made_at="1"))
    digest = rollouts.publish(project, rollouts.release(made_at="2"))
    control.start_rollout(project, digest, plan=ONE, who="ann")
    control.advance_rollout(project, who="ada", why="seen enough")
    project.registry.roll_back(f"{project.name}@live", who="bob", why="it was slower")
    year = read_monitoring_history(project)
    assert year is not None
    assert [each.rollout.status for each in year.trials] == ["promoted"]
    assert [(each.move.release, each.move.who, each.back) for each in year.turns] == [(first, "bob", True)]


def test_a_release_is_called_after_the_retraining_that_made_it(project: Project) -> None:
    first = rollouts.live(project, rollouts.release(made_at="1"))
    made = retraining()
    verdict = made.search_result.winner.verdict
    digest = rollouts.publish(project, rollouts.release(made_at="2", verdict=verdict))
    project.save(verdict)
    project.registry.point(f"{project.name}@live", digest, UpdateReason(who="ann", why="better", verdict=verdict))
    project.save(made)
    project.save(Stamp(name=project.name, of=made.key, at="2013-10"))
    year = read_monitoring_history(project)
    assert year is not None
    assert year.names == {first: "first release", digest: "retrained in October"}
    assert [each.at for each in year.learned] == ["2013-10"]


def test_two_releases_of_one_month_have_names_of_their_own(project: Project) -> None:
    rollouts.live(project, rollouts.release(made_at="1"))
    for number in (2, 3):
        made = replace(retraining(), key=f"sha256:{number}", message=f"{number}")
        verdict = replace(made.search_result.winner.verdict, why=f"{number}")
        made = replace(
            made, search_result=replace(made.search_result, winner=replace(made.search_result.winner, verdict=verdict))
        )
        for record in (verdict, made):
            project.save(record)
        digest = rollouts.publish(project, rollouts.release(made_at=f"{number}", verdict=verdict))
        project.registry.point(f"{project.name}@live", digest, UpdateReason(who="ann", why="better", verdict=verdict))
    year = read_monitoring_history(project)
    assert year is not None
    assert list(year.names.values())[1:] == ["retrained in November", "retrained in November, release 3"]


def test_what_was_done_before_a_time_is_left_out(project: Project) -> None:
    rollouts.live(project, rollouts.release(made_at="1"))
    rolled_back(project, "2")
    assert read_monitoring_history(project, since=datetime.now(UTC) + timedelta(hours=1)) is None
    assert read_monitoring_history(project, since=datetime.now(UTC) - timedelta(hours=1)) is not None


def test_a_ticket_on_a_release_that_was_never_live_is_left_out(project: Project) -> None:
    first = rollouts.live(project, rollouts.release(made_at="1"))
    for release in (first, "sha256:" + "e" * 64):
        project.save(ticket(release=release))
    year = read_monitoring_history(project)
    assert year is not None
    assert [each.release for each in year.tickets] == [first]


@pytest.mark.slow
def test_the_report_of_ones_own_project_shows_its_release_and_what_was_watched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = watched.released(watched.write(tmp_path, table=watched.shifted()))
    assert read_report_data(project).year is None
    pipeline.watch(project)
    report = read_report_data(project)
    assert report.release
    assert report.year is not None
    assert [each.period for each in report.year.watches] == ["2013-04"]
    with pytest.raises(SystemExit) as ended:
        cli.main(["report", "--project", str(tmp_path), "--out", str(tmp_path / "a/report.html"), "--json"])
    assert ended.value.code == cli.PASS
    page = Path(json.loads(capsys.readouterr().out)["report"]).read_text(encoding="utf-8")
    assert "Is it well?" in page
    assert "April 2013" in page
    project.state.close()
    project.registry.state.close()
