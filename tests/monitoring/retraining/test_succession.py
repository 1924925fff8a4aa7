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
    for each in opened:
        each.state.close()
        each.registry.state.close()


def moves(project: Project) -> list[tuple[str, str]]:
    """Each move: its pointer, and the first digits of the release."""
    return [(move.pointer, move.release[7:19]) for move in project.registry.history()]


def kept(project: Project, key: str = "first") -> Retraining:
    """The retraining as it was kept last."""
    found = project.records(Retraining)
    return next(each for each in reversed(found) if each.key == key)


def test_one_that_passed_is_published_and_begins_a_rollout_beside_live(make):
    project = make()
    begun = promotion.begin_promotion(project, outcome(project), who="ada")

    assert (begun.status, begun.next_command) == ("rolling out", "headway rollout watch")
    assert begun.rollout == control.latest_rollout(project) and begun.rollout.release == kept(project).release
    assert [stage.share for stage in begun.rollout.plan.stages] == [0.5]
    assert (begun.rollout.by, begun.rollout.why) == ("ada", "better")
    assert len(moves(project)) == 2 and moves(project)[-1][0] == "canary"


@pytest.mark.parametrize("answer", ["fail", "undecided"])
def test_only_a_pass_begins_anything(make, answer):
    project = make()
    begun = promotion.begin_promotion(project, outcome(project, answer=answer), who="ada")

    assert (begun.status, begun.message) == ("not better", "better")
    assert len(moves(project)) == 1 and not kept(project).release


def test_where_nobody_asks_it_says_so_and_how_to_do_without(make):
    project = make()
    begun = promotion.begin_promotion(project, outcome(project), who="ada")
    assert "headway serve flights@live" in begun.message
    assert 'headway retrain --mode auto --through live --why "..."' in begun.message


def test_where_servers_keep_no_log_no_canary_is_begun(make):
    project = make()
    quiet = open_project(project.config.path("."), flags={"serve.log": "false"})
    with pytest.raises(Refused, match="servers keep no log") as told:
        promotion.begin_promotion(quiet, outcome(project), who="ada")
    assert "--through live" in told.value.hint and len(moves(project)) == 1
    quiet.state.close()
    quiet.registry.state.close()


def test_the_policy_may_make_it_live_at_once(make):
    project = make(AT_ONCE)
    found = outcome(project)
    begun = promotion.begin_promotion(project, found, who="ada")

    assert (begun.status, begun.update.who, begun.update.why, begun.update.answer) == ("live", "ada", "better", "pass")
    assert begun.update == project.registry.head("flights@live") and begun.update.release == kept(project).release
    assert control.latest_rollout(project) is None
    assert promotion.begin_promotion(project, found, who="ada").status == "live" and len(moves(project)) == 2


def until_published(project: Project, found: Retraining) -> None:
    """What a run leaves that is killed once the release is on disk."""
    publish(project, found.search_result, who="ada")


def until_it_is_known(project: Project, found: Retraining) -> None:
    """What a run leaves that is killed once it is kept which release it is."""
    digest, _ = publish(project, found.search_result, who="ada")
    project.save(replace(found, release=digest))


def until_the_pointer_moved(project: Project, found: Retraining) -> None:
    """What a run leaves that is killed between the canary's move and the record of the rollout."""
    until_it_is_known(project, found)
    with killed_at_the_record(), pytest.raises(KeyboardInterrupt):
        control.start_rollout(project, kept(project).release, who="ada", why="better")


@contextmanager
def killed_at_the_record() -> Iterator[None]:
    """Whoever keeps a rollout dies before it."""
    with pytest.MonkeyPatch.context() as patch:
        save = Project.save

        def _save(project: Project, record: StoredRecord) -> str:
            if isinstance(record, Rollout):
                raise KeyboardInterrupt
            return save(project, record)

        patch.setattr(Project, "save", _save)
        yield


def until_it_was_begun(project: Project, found: Retraining) -> None:
    """What a run leaves that is killed just before it ends."""
    promotion.begin_promotion(project, found, who="ada")


@pytest.mark.parametrize("killed", [until_published, until_it_is_known, until_the_pointer_moved, until_it_was_begun])
def test_killed_at_any_step_and_started_again_it_ends_alike(make, killed: Callable[..., None]):
    project = make()
    found = outcome(project)
    killed(project, found)
    begun = promotion.begin_promotion(project, found, who="ada")

    assert begun.status == "rolling out" and control.rollout_status(project).action == "stay"
    assert begun.rollout.release == project.registry.head("flights@canary").release
    assert [pointer for pointer, _ in moves(project)] == ["live", "canary"]
    assert promotion.begin_promotion(project, found, who="bob").rollout == begun.rollout


def test_what_was_taken_back_is_not_tried_again_unless_a_person_says_why(make):
    project = make()
    found = outcome(project)
    promotion.begin_promotion(project, found, who="ada")
    control.roll_back(project, who="bob", why="callers complain")
    again = promotion.begin_promotion(project, found, who="cron")

    assert again.status == "rolled back" and "ended rolled back and is not started again automatically" in again.message
    assert "bob: callers complain" in again.message and f"flights@{kept(project).release[7:19]}" in again.next_command
    assert moves(project)[-1] == ("canary", "")
    assert promotion.begin_promotion(project, found, who="ada", why="mended").status == "rolling out"


def test_what_was_live_and_taken_back_is_not_made_live_again_by_itself(make):
    project = make(AT_ONCE)
    found = outcome(project)
    promotion.begin_promotion(project, found, who="ada")
    project.registry.roll_back("flights@live", who="bob", why="slow")
    again = promotion.begin_promotion(project, found, who="cron")

    assert again.status == "rolled back" and "bob moved live back: slow" in again.message
    assert len(moves(project)) == 3


def test_a_retraining_of_what_is_no_longer_live_is_refused(make):
    project = make()
    found = outcome(project)
    rollouts.live(project, rollouts.release(made_at="2"))
    with pytest.raises(Refused, match="live is not the release that this retraining was judged against"):
        promotion.begin_promotion(project, found, who="ada")


def test_a_rollout_of_another_release_is_waited_for_and_not_looked_at(make):
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


def test_a_look_goes_a_step_and_its_end_closes_the_matter(make):
    project = make()
    promotion.begin_promotion(project, outcome(project), who="ada")
    assert promotion.check_promotion(project).status == "rolling out"
    project.registry.withdraw("flights@canary", who="bob", why="no")
    ended = promotion.check_promotion(project)
    assert (ended.status, ended.next_command, ended.retraining.key) == ("rolled back", "", "first")
    assert promotion.running_rollout(project) is None


def test_seen_does_nothing(make):
    project = make()
    promotion.begin_promotion(project, outcome(project), who="ada")
    project.registry.withdraw("flights@canary", who="bob", why="no")
    assert "not the canary any more" in promotion.promotion_status(project).message
    assert promotion.running_rollout(project) is not None


def test_a_person_makes_it_live_from_the_stage_it_stands_at(make):
    project = make()
    begun = promotion.begin_promotion(project, outcome(project), who="ada")
    done = promotion.force_promotion(project, who="ada", why="no server yet")
    assert (done.status, done.message) == ("live", "promote by ada: no server yet")
    assert project.registry.head("flights@live").release == begun.rollout.release


def test_followed_while_nobody_asks_it_is_left_running_with_what_to_do(make):
    project = make(SHORT + "quiet_s = 0.001\n")
    promotion.begin_promotion(project, outcome(project), who="ada")
    said: list[str] = []
    left = promotion.follow_promotion(project, callback=said.append, wait=lambda _: None)
    assert left.status == "rolling out" and "canary 50 % stays: in 0.001 s no request gave evidence" in left.message
    assert "headway serve flights@live" in said[-1] and "--through live" in left.message


def test_live_that_moved_in_between_is_told_and_nothing_is_moved(make, monkeypatch):
    project = make(AT_ONCE)
    found = outcome(project)
    published = promotion._publish_once

    def while_another_releases(*asked):
        rollouts.live(project, rollouts.release(made_at="2"))
        return published(*asked)

    monkeypatch.setattr(promotion, "_publish_once", while_another_releases)
    with pytest.raises(PointerMoved):
        promotion.begin_promotion(project, found, who="ada")
