"""The data of a report are read back from the records of a real store."""

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
from headway.core.rollout import Plan, RolloutStage
from headway.monitoring import rollout as control
from headway.registry.model_registry import UpdateReason
from headway.registry.project import Project
from headway.reporting.events import list_events
from headway.reporting.read_report_data import read_monitoring_history, read_report_data
from headway.reporting.report_data import Stamp

ONE = Plan(stages=(RolloutStage(share=0.2),))


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    opened = rollouts.project(tmp_path)
    yield opened
    opened.state.close()
    opened.registry.state.close()


def rolled_back(project: Project, made_at: str) -> control.Rollout:
    """Return a rollout that ada rolled back."""
    digest = rollouts.publish(project, rollouts.release(made_at=made_at))
    control.start_rollout(project, digest, plan=ONE, who="ann", why="a faster one")
    control.roll_back(project, from_release=control.release_to_leave(project), who="ada", why="callers complain")
    last = control.latest_rollout(project)
    assert last is not None
    return last


def test_a_project_without_records_has_no_history(project: Project) -> None:
    assert read_monitoring_history(project) is None
    assert read_report_data(project).year is None


def test_a_release_that_only_went_live_has_no_history(project: Project) -> None:
    rollouts.live(project, rollouts.release())
    assert read_monitoring_history(project) is None


def test_the_last_report_on_the_live_release_counts_for_a_period(project: Project) -> None:
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
    assert [(report.period, report.release, report.status) for report in year.watches] == [
        ("2013-09", first, "degraded"),
        ("2013-10", second, "drifted"),
    ]
    assert year.names == {first: "first release", second: "release 2"}


def test_a_rollout_has_its_reason_its_status_and_who_ended_it(project: Project) -> None:
    rollouts.live(project, rollouts.release(made_at="1"))
    ended = rolled_back(project, "2")
    year = read_monitoring_history(project)
    assert year is not None
    (trial,) = year.rollouts
    assert (trial.aim, trial.rollout.status, trial.at) == ("a faster one", "rolled back", ended.stage_at)
    assert trial.verdict is not None
    assert trial.verdict.by == "ada"


def test_a_stamp_gives_the_time_in_the_data_and_a_note(project: Project) -> None:
    rollouts.live(project, rollouts.release(made_at="1"))
    ended = rolled_back(project, "2")
    project.save(Stamp(name=project.name, of=ended.salt, at="2013-10", note="Its feed broke."))
    (event,) = list_events(read_report_data(project))
    assert event.at == "2013-10"
    assert "Its feed broke." in event.message


@pytest.mark.slow
def test_a_promotion_by_a_rollout_is_not_a_live_change_and_a_rollback_is(project: Project) -> None:
    first = rollouts.live(project, rollouts.release(made_at="1"))
    digest = rollouts.publish(project, rollouts.release(made_at="2"))
    control.start_rollout(project, digest, plan=ONE, who="ann")
    control.advance_rollout(project, who="ada", why="seen enough")
    project.registry.roll_back(f"{project.name}@live", who="bob", why="it was slower")
    year = read_monitoring_history(project)
    assert year is not None
    assert [summary.rollout.status for summary in year.rollouts] == ["promoted"]
    assert [(change.move.release, change.move.who, change.back) for change in year.live_changes] == [
        (first, "bob", True)
    ]


def test_a_release_is_named_after_its_retraining(project: Project) -> None:
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
    assert [dated.at for dated in year.retrainings] == ["2013-10"]


@pytest.mark.slow
def test_two_releases_of_one_month_have_different_names(project: Project) -> None:
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


def test_records_before_a_time_are_left_out(project: Project) -> None:
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
    assert [found.release for found in year.tickets] == [first]


@pytest.mark.slow
def test_the_report_shows_the_release_and_its_monitoring(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = watched.released(watched.write(tmp_path, table=watched.shifted()))
    assert read_report_data(project).year is None
    pipeline.watch(project)
    report = read_report_data(project)
    assert report.release
    assert report.year is not None
    assert [window.period for window in report.year.watches] == ["2013-04"]
    with pytest.raises(SystemExit) as ended:
        cli.main(["report", "--project", str(tmp_path), "--out", str(tmp_path / "a/report.html"), "--json"])
    assert ended.value.code == cli.PASS
    page = Path(json.loads(capsys.readouterr().out)["report"]).read_text(encoding="utf-8")
    assert "Is it healthy?" in page
    assert "April 2013" in page
    project.state.close()
    project.registry.state.close()


def test_releases_are_read_from_the_pointers_with_what_became_of_each(project: Project) -> None:
    first = rollouts.live(project, rollouts.release(made_at="1"))
    second = rollouts.live(project, rollouts.release(made_at="2"))
    project.registry.roll_back(f"{project.name}@live", who="bob", why="it was slower")
    withdrawn = rolled_back(project, "3").release
    found = read_report_data(project).releases
    assert [(state.release, state.status, state.ended_by) for state in found] == [
        (first, "live", ""),
        (withdrawn, "rolled back", "ada"),
        (second, "rolled back", "bob"),
    ]
    assert found[2].ended_why == "it was slower" and found[2].until


def test_a_promoted_canary_is_live_and_the_first_release_was_before(project: Project) -> None:
    first = rollouts.live(project, rollouts.release(made_at="1"))
    second = rollouts.publish(project, rollouts.release(made_at="2"))
    control.start_rollout(project, second, plan=ONE, who="ann")
    assert [state.status for state in read_report_data(project).releases] == ["live", "canary"]
    control.advance_rollout(project, who="ada", why="seen enough")
    found = read_report_data(project).releases
    assert [(state.release, state.status, state.answer) for state in found] == [
        (second, "live", "override"),
        (first, "before", "pass"),
    ]


def test_a_release_that_was_changed_on_disk_is_named_as_such(project: Project) -> None:
    digest = rollouts.live(project, rollouts.release())
    model = project.registry.folder / "flights" / digest.removeprefix("sha256:") / "model.echo"
    model.chmod(0o600)
    model.write_bytes(b"changed")
    (state,) = read_report_data(project).releases
    assert (state.name, state.verdict) == ("a release that does not verify", None)
