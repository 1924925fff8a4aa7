"""A retraining that passed takes the place of live: step by step, once, and on from wherever it was killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from msgspec.structs import replace
from tests.monitoring import rollouts
from tests.monitoring.retraining.retrained import outcome

from headway.core.errors import PointerMoved, Refused
from headway.core.record import StoredRecord
from headway.core.rollout import Rollout
from headway.core.training import Retraining
from headway.monitoring import rollout as control
from headway.monitoring.retraining import promotion
from headway.registry.project import Project, open_project
from headway.registry.publish import publish

pytestmark = pytest.mark.slow

SHORT = "[rollout]\nshares = [0.5]\n"
AT_ONCE = SHORT + '[retrain]\nthrough = "live"\n'


@pytest.fixture
def make(tmp_path):
    """Make the project of these settings, with a release that is live."""
    opened: list[Project] = []

    def _make(settings: str = SHORT) -> Project:
        project = rollouts.project(tmp_path, toml=rollouts.TOML + settings)
        rollouts.live(project, rollouts.release(made_at="1"))
        opened.append(project)
        return project

    yield _make
    for project in opened:
        project.state.close()
        project.registry.state.close()


def moves(project: Project) -> list[tuple[str, str]]:
    """Return each update: its pointer, and the first digits of the release."""
    return [(move.pointer, move.release[7:19]) for move in project.registry.history()]


def last_saved(project: Project, key: str = "first") -> Retraining:
    """Return the last saved retraining."""
    found = project.records(Retraining)
    return next(retraining for retraining in reversed(found) if retraining.key == key)


def test_a_passed_retraining_is_published_and_starts_a_rollout(make):
    project = make()
    begun = promotion.begin_promotion(project, outcome(project), who="ada")

    assert (begun.status, begun.next_command) == ("rolling out", "headway rollout watch")
    assert begun.rollout == control.latest_rollout(project) and begun.rollout.release == last_saved(project).release
    assert [stage.share for stage in begun.rollout.plan.stages] == [0.5]
    assert (begun.rollout.by, begun.rollout.why) == ("ada", "better")
    assert len(moves(project)) == 2 and moves(project)[-1][0] == "canary"


@pytest.mark.parametrize("answer", ["fail", "undecided"])
def test_only_a_pass_starts_a_promotion(make, answer):
    project = make()
    begun = promotion.begin_promotion(project, outcome(project, answer=answer), who="ada")

    assert (begun.status, begun.message) == ("not better", "better")
    assert len(moves(project)) == 1 and not last_saved(project).release


def test_without_requests_the_message_names_the_command_to_promote_at_once(make):
    project = make()
    begun = promotion.begin_promotion(project, outcome(project), who="ada")
    assert "headway serve flights@live" in begun.message
    assert 'headway retrain --mode auto --through live --why "..."' in begun.message


def test_without_a_prediction_log_no_canary_is_started(make):
    project = make()
    quiet = open_project(project.config.path("."), flags={"serve.log_mode": "off"})
    with pytest.raises(Refused, match="servers keep no log") as caught:
        promotion.begin_promotion(quiet, outcome(project), who="ada")
    assert "--through live" in caught.value.hint and len(moves(project)) == 1
    quiet.state.close()
    quiet.registry.state.close()


def test_the_policy_may_promote_at_once(make):
    project = make(AT_ONCE)
    found = outcome(project)
    begun = promotion.begin_promotion(project, found, who="ada")

    assert (begun.status, begun.update.who, begun.update.why, begun.update.answer) == ("live", "ada", "better", "pass")
    assert begun.update == project.registry.head("flights@live") and begun.update.release == last_saved(project).release
    assert control.latest_rollout(project) is None
    assert promotion.begin_promotion(project, found, who="ada").status == "live" and len(moves(project)) == 2


def until_published(project: Project, found: Retraining) -> None:
    """Leave what a run leaves that is killed once the release is on disk."""
    publish(project, found.search_result, who="ada")


def until_published_and_saved(project: Project, found: Retraining) -> None:
    """Leave what a run leaves that is killed once the digest of its release is saved."""
    digest, _ = publish(project, found.search_result, who="ada")
    project.save(replace(found, release=digest))


def until_the_pointer_moved(project: Project, found: Retraining) -> None:
    """Leave what a run leaves that is killed between the update of the canary and the record of the rollout."""
    until_published_and_saved(project, found)
    with killed_at_the_record(), pytest.raises(KeyboardInterrupt):
        control.start_rollout(project, last_saved(project).release, who="ada", why="better")


@contextmanager
def killed_at_the_record() -> Iterator[None]:
    """Interrupt the process before it saves a rollout."""
    with pytest.MonkeyPatch.context() as patch:
        save = Project.save

        def _save(project: Project, record: StoredRecord) -> str:
            if isinstance(record, Rollout):
                raise KeyboardInterrupt
            return save(project, record)

        patch.setattr(Project, "save", _save)
        yield


def until_rollout_started(project: Project, found: Retraining) -> None:
    """What a run leaves that is killed just before it ends."""
    promotion.begin_promotion(project, found, who="ada")


@pytest.mark.parametrize(
    "killed", [until_published, until_published_and_saved, until_the_pointer_moved, until_rollout_started]
)
def test_a_promotion_killed_at_any_step_and_restarted_has_the_same_result(make, killed: Callable[..., None]):
    project = make()
    found = outcome(project)
    killed(project, found)
    begun = promotion.begin_promotion(project, found, who="ada")

    assert begun.status == "rolling out" and control.rollout_status(project).action == "stay"
    assert begun.rollout.release == project.registry.head("flights@canary").release
    assert [pointer for pointer, _ in moves(project)] == ["live", "canary"]
    assert promotion.begin_promotion(project, found, who="bob").rollout == begun.rollout


def test_a_rolled_back_retraining_is_not_tried_again_without_a_reason(make):
    project = make()
    found = outcome(project)
    promotion.begin_promotion(project, found, who="ada")
    control.roll_back(project, from_release=control.release_to_leave(project), who="bob", why="callers complain")
    again = promotion.begin_promotion(project, found, who="cron")

    assert again.status == "rolled back" and "ended rolled back and is not started again automatically" in again.message
    assert (
        "bob: callers complain" in again.message
        and f"flights@{last_saved(project).release[7:19]}" in again.next_command
    )
    assert moves(project)[-1] == ("canary", "")
    assert promotion.begin_promotion(project, found, who="ada", why="repaired").status == "rolling out"


def test_a_live_release_that_was_rolled_back_is_not_promoted_again_automatically(make):
    project = make(AT_ONCE)
    found = outcome(project)
    promotion.begin_promotion(project, found, who="ada")
    project.registry.roll_back("flights@live", who="bob", why="slow")
    again = promotion.begin_promotion(project, found, who="cron")

    assert again.status == "rolled back" and "bob moved live back: slow" in again.message
    assert len(moves(project)) == 3


def test_a_retraining_of_a_former_live_release_is_rejected(make):
    project = make()
    found = outcome(project)
    rollouts.live(project, rollouts.release(made_at="2"))
    with pytest.raises(Refused, match="live is not the release that this retraining was judged against"):
        promotion.begin_promotion(project, found, who="ada")


def test_a_rollout_of_another_release_is_left_alone(make):
    project = make()
    other = control.start_rollout(project, rollouts.publish(project, rollouts.release(made_at="2")), who="ann")
    for found in (
        promotion.check_promotion(project),
        promotion.follow_promotion(project, callback=print),
        promotion.promotion_status(project),
    ):
        assert (found.status, found.rollout, found.retraining) == ("rolling out", other, None)
    assert "started by ann" in promotion.check_promotion(project).message
    assert "started by ann" in promotion.force_promotion(project, who="ada", why="now").message
    with pytest.raises(Refused, match="a rollout of flights is running"):
        promotion.begin_promotion(project, outcome(project), who="ada")


def test_a_check_makes_one_step_and_the_last_step_ends_the_promotion(make):
    project = make()
    promotion.begin_promotion(project, outcome(project), who="ada")
    assert promotion.check_promotion(project).status == "rolling out"
    project.registry.withdraw("flights@canary", who="bob", why="no")
    ended = promotion.check_promotion(project)
    assert (ended.status, ended.next_command, ended.retraining.key) == ("rolled back", "", "first")
    assert promotion.running_rollout(project) is None


def test_the_status_changes_nothing(make):
    project = make()
    promotion.begin_promotion(project, outcome(project), who="ada")
    project.registry.withdraw("flights@canary", who="bob", why="no")
    assert "not the canary any more" in promotion.promotion_status(project).message
    assert promotion.running_rollout(project) is not None


def test_a_person_promotes_from_the_current_stage(make):
    project = make()
    begun = promotion.begin_promotion(project, outcome(project), who="ada")
    done = promotion.force_promotion(project, who="ada", why="no server yet")
    assert (done.status, done.message) == ("live", "promote by ada: no server yet")
    assert project.registry.head("flights@live").release == begun.rollout.release


def test_without_requests_the_rollout_keeps_running_with_the_next_command(make):
    project = make(SHORT + "quiet_s = 0.001\n")
    promotion.begin_promotion(project, outcome(project), who="ada")
    lines: list[str] = []
    running = promotion.follow_promotion(project, callback=lines.append, wait=lambda _: None)
    assert (
        running.status == "rolling out" and "canary 50 % stays: in 0.001 s no request gave evidence" in running.message
    )
    assert "headway serve flights@live" in lines[-1] and "--through live" in running.message


def test_a_live_pointer_that_moved_in_between_stops_the_promotion(make, monkeypatch):
    project = make(AT_ONCE)
    found = outcome(project)
    published = promotion._publish_once

    def while_another_releases(*arguments):
        rollouts.live(project, rollouts.release(made_at="2"))
        return published(*arguments)

    monkeypatch.setattr(promotion, "_publish_once", while_another_releases)
    with pytest.raises(PointerMoved):
        promotion.begin_promotion(project, found, who="ada")
