"""The update of a pointer that a server saves, for a start while the state is away."""

from __future__ import annotations

import dataclasses

import pytest
from tests.monitoring import rollouts

from headway.core.errors import Refused, StoreError, StoreUnavailable
from headway.registry.model_registry import ModelRegistry, UpdateReason


@pytest.fixture
def project(tmp_path):
    made = rollouts.project(tmp_path)
    yield made
    made.state.close()


def server(project) -> ModelRegistry:
    return dataclasses.replace(project.registry, served=project.config.state / "served")


def saved(project):
    return project.config.state / "served" / "flights@live.json"


def test_the_last_verified_update_is_served_without_the_state(project):
    rollouts.live(project, rollouts.release(made_at="1"))
    second = rollouts.live(project, rollouts.release(made_at="2"))
    register = server(project)
    register.head("flights@live")
    written = saved(project).stat().st_mtime_ns
    register.head("flights@live")
    assert saved(project).stat().st_mtime_ns == written
    register.state.close()
    assert register.resolve_served("flights@live").digest == second


def test_only_a_server_saves_updates(project):
    rollouts.live(project, rollouts.release(made_at="1"))
    project.registry.head("flights@live")
    assert not saved(project).exists()
    with pytest.raises(StoreError, match="no update of flights@live was saved here"):
        server(project).resolve_served("flights@live")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"content": 1}'])
def test_a_damaged_file_is_an_error(project, content):
    rollouts.live(project, rollouts.release(made_at="1"))
    server(project).head("flights@live")
    saved(project).write_bytes(content)
    with pytest.raises(StoreError, match="no update of flights@live was saved here"):
        server(project).resolve_served("flights@live")


def test_an_update_that_is_older_than_what_was_seen_or_unsigned_or_of_another_pointer_is_refused(project):
    first = rollouts.live(project, rollouts.release(made_at="1"))
    register = server(project)
    register.head("flights@live")
    old = saved(project).read_bytes()
    rollouts.live(project, rollouts.release(made_at="2"))
    with pytest.raises(Refused, match="is not the last one seen"):
        register.resolve_served("flights@live")
    register.head("flights@live")
    saved(project).write_bytes(old)
    with pytest.raises(Refused, match="is not the last one seen"):
        register.resolve_served("flights@live")
    saved(project).write_bytes(old.replace(b'"signature":"', b'"signature":"AAAA'))
    with pytest.raises(Refused, match="the saved update of flights@live"):
        register.resolve_served("flights@live")
    reason = UpdateReason(who="ann", why="a test", verdict=rollouts.release().verdict)
    project.registry.point("flights@staging", first, reason)
    register.head("flights@staging")
    saved(project).write_bytes(saved(project).with_name("flights@staging.json").read_bytes())
    with pytest.raises(Refused, match="does not point flights@live at a release"):
        register.resolve_served("flights@live")


def test_a_withdrawn_pointer_serves_nothing(project):
    rollouts.live(project, rollouts.release(made_at="1"))
    register = server(project)
    project.registry.withdraw("flights@live", who="ann", why="a test")
    register.head("flights@live")
    with pytest.raises(Refused, match="does not point flights@live at a release"):
        register.resolve_served("flights@live")


class Announced:
    """A feed that counts hints, or is away."""

    def __init__(self, *, away: bool = False) -> None:
        self.hints, self.away = 0, away

    def announce(self) -> None:
        self.hints += 1
        if self.away:
            raise StoreUnavailable("no answer", role="feed")


@pytest.mark.parametrize("away", [False, True])
def test_every_update_is_announced_and_a_feed_that_is_away_keeps_none_back(project, away):
    feed = Announced(away=away)
    register = dataclasses.replace(project.registry, feed=feed)
    digest = rollouts.publish(project, rollouts.release(made_at="1"))
    reason = UpdateReason(who="ann", why="a test", verdict=rollouts.release().verdict)
    assert register.point("flights@live", digest, reason).number == 1
    assert register.withdraw("flights@live", who="ann", why="no").number == 2
    assert feed.hints == 2 and project.registry.head("flights@live").number == 2
