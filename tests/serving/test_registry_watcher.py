"""Pointer updates: verified, loaded and replaced completely; one that does not verify changes nothing."""

from __future__ import annotations

import dataclasses
import http.client
import json
import signal
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from msgspec.structs import replace
from running import started
from tests.monitoring import rollouts
from tests.serving.plain_client import ask

from headway.core.errors import Refused, StoreUnavailable
from headway.core.feature_view import FeatureView
from headway.core.record import digest_of, read, write
from headway.core.release import PointerUpdate, version_of
from headway.core.rollout import Plan, RolloutStage
from headway.features.online.sqlite import SqliteOnlineStore
from headway.monitoring import rollout as control
from headway.registry.bundle import Bundle
from headway.registry.model_registry import ModelRegistry
from headway.registry.sign import init_operator_keys, load_operator
from headway.serving.loading import load_model
from headway.serving.registry_watcher import RegistryWatcher
from headway.serving.routing.traffic_split import TrafficSplit
from headway.serving.store_health import StoreHealth
from headway.storage.addresses import online_folder


class Followed:
    """A watcher of `flights@live` that polls on demand, and the splits that it set."""

    def __init__(self, folder: Path) -> None:
        self.project = rollouts.project(folder)
        self.first = rollouts.live(self.project, rollouts.release(made_at="1"))
        self.splits: list[TrafficSplit] = []
        self.refused: dict[str, bool] = {}
        online = SqliteOnlineStore(online_folder(self.project.config.state))
        self.watcher = RegistryWatcher(
            self.project.registry, online=online, on_change=self.splits.append, refused=self.refused
        )
        release = load_model(self.project.registry.resolve("flights@live"), online)
        self.watcher._splits = {"flights@live": TrafficSplit(live=release)}
        self.watcher._loaded = {release.digest: release}

    def poll(self) -> TrafficSplit | None:
        """Poll once, and return the new split, if any."""
        before = len(self.splits)
        self.watcher.poll()
        return self.splits[-1] if len(self.splits) > before else None


@pytest.fixture
def followed(tmp_path):
    made = Followed(tmp_path)
    yield made
    made.project.state.close()
    made.project.registry.state.close()


def test_a_poll_without_a_change_sets_no_split(followed):
    assert followed.poll() is None and followed.refused == {"flights@live": False}


@pytest.mark.slow
def test_an_update_of_live_includes_its_threshold_and_the_previous_release_stays_loaded(followed):
    second = rollouts.live(followed.project, rollouts.release(made_at="2", threshold=0.9))
    split = followed.poll()
    assert (split.live.digest, split.live.threshold) == (second, 0.9)
    old = followed.watcher._loaded[followed.first]
    followed.project.registry.roll_back("flights@live", who="ann", why="back")
    assert followed.poll().live is old


@pytest.mark.slow
def test_a_rollout_adds_the_canary_and_its_end_removes_it(followed):
    second = rollouts.publish(followed.project, rollouts.release(made_at="2"))
    rollout = control.start_rollout(followed.project, second, plan=rollouts.SHORT, who="ann")
    split = followed.poll()
    assert (split.live.digest, split.canary.digest) == (followed.first, second)
    assert (split.share, split.salt, split.stage) == (0.0, rollout.salt, 0)
    control.advance_rollout(followed.project, who="ann", why="go")
    assert (followed.poll().share, followed.splits[-1].stage) == (0.5, 1)
    control.roll_back(followed.project, from_release=control.release_to_leave(followed.project), who="ann", why="no")
    assert followed.poll() == TrafficSplit(live=split.live)


@pytest.mark.slow
def test_an_unsigned_share_assigns_no_traffic(followed):
    second = rollouts.publish(followed.project, rollouts.release(made_at="2"))
    rollout = control.start_rollout(followed.project, second, plan=rollouts.SHORT, who="ann")
    followed.poll()
    forged = replace(rollout, plan=Plan(stages=(RolloutStage(share=0.9),)), salt="chosen")
    followed.project.state.save("rollout", write(forged), name="flights")
    assert followed.poll() is None


@pytest.mark.slow
def test_a_canary_update_without_a_traffic_assignment_adds_no_canary(followed):
    made = rollouts.release(made_at="2")
    second = rollouts.publish(followed.project, made)
    control.start_rollout(followed.project, second, who="ann")
    reason = rollouts.UpdateReason(who="ann", why="by hand", verdict=made.verdict)
    followed.project.registry.point("flights@canary", second, reason)
    assert followed.poll() is None and followed.refused == {"flights@live": False, "flights@canary": True}


@pytest.mark.slow
def test_a_canary_pointer_without_a_running_rollout_adds_no_canary(followed):
    second = rollouts.publish(followed.project, rollouts.release(made_at="2"))
    rollout = control.start_rollout(followed.project, second, who="ann")
    followed.project.registry.withdraw("flights@canary", who="ann", why="half done")
    assert followed.poll() is None
    assert rollout.status == "running"


@pytest.mark.slow
def test_a_tampered_release_is_logged_once_and_the_previous_one_stays(followed, caplog):
    second = rollouts.live(followed.project, rollouts.release(made_at="2"))
    model = followed.project.registry.folder / "flights" / second.removeprefix("sha256:") / "model.echo"
    model.write_bytes(b"evil")
    assert followed.poll() is None and followed.poll() is None
    assert followed.refused == {"flights@live": True}
    assert caplog.text.count("the previous one stays") == 1
    model.write_bytes(b"echo")
    splits = [followed.poll() for _ in range(60)]
    assert [split.live.digest for split in splits if split] == [second]
    assert followed.refused == {"flights@live": False}


def model_of(followed, digest):
    """Return the model file of a release."""
    return followed.project.registry.folder / "flights" / digest.removeprefix("sha256:") / "model.echo"


@pytest.mark.slow
def test_a_tampered_canary_is_not_added_and_does_not_block_live(followed):
    second = rollouts.live(followed.project, rollouts.release(made_at="2"))
    followed.poll()
    third = rollouts.publish(followed.project, rollouts.release(made_at="3"))
    control.start_rollout(followed.project, third, who="ann")
    model_of(followed, third).write_bytes(b"evil")
    assert followed.poll() is None
    assert followed.refused == {"flights@live": False, "flights@canary": True}
    followed.project.registry.roll_back("flights@live", who="ann", why="slow")
    assert followed.poll() == TrafficSplit(live=followed.watcher._loaded[followed.first]) and second != followed.first
    control.roll_back(
        followed.project, from_release=control.release_to_leave(followed.project), who="ann", why="it does not verify"
    )
    followed.poll()
    assert followed.refused == {"flights@live": False}


@pytest.mark.slow
def test_a_canary_ends_even_if_the_live_release_was_tampered_with(followed):
    second = rollouts.publish(followed.project, rollouts.release(made_at="2"))
    control.start_rollout(followed.project, second, who="ann")
    live = followed.poll().live
    model_of(followed, followed.first).write_bytes(b"evil")
    followed.project.registry.withdraw("flights@canary", who="ann", why="harm")
    assert followed.poll() == TrafficSplit(live=live)
    assert followed.refused == {"flights@live": True, "flights@canary": False}


@pytest.mark.parametrize("column", ["content", "signature"])
def test_text_in_a_column_of_bytes_raises_the_alarm_and_changes_nothing(followed, caplog, column):
    with closing(sqlite3.connect(followed.project.config.state / "state.sqlite")) as db, db:
        db.execute(f"UPDATE moves SET {column} = CAST({column} AS TEXT)")
    assert followed.poll() is None and followed.poll() is None
    assert followed.refused == {"flights@live": True}
    assert caplog.text.count("the state holds text where bytes belong") == 1


def test_an_error_of_any_kind_raises_the_alarm(followed, monkeypatch, caplog):
    monkeypatch.setattr(followed.watcher, "_read_state", lambda address: b"" + address)
    assert followed.poll() is None and followed.refused == {"flights@live": True}
    assert "TypeError" in caplog.text


def test_an_unreadable_state_changes_nothing(followed, caplog):
    followed.project.registry.state.close()
    assert followed.poll() is None and followed.refused == {"flights@live": True}
    assert "cannot be read" in caplog.text


class AwayRegistry(ModelRegistry):
    """A registry whose releases or state can be away."""

    away: ClassVar[str] = ""

    def _open(self, name: str, digest: str) -> Bundle:
        if self.away == "blobs":
            raise StoreUnavailable("no answer", role="blobs")
        return super()._open(name, digest)


@pytest.fixture
def remote(followed, monkeypatch):
    """A watcher whose stores are on other machines; the test sets which one is away."""
    fields = {field.name: getattr(followed.project.registry, field.name) for field in dataclasses.fields(ModelRegistry)}
    followed.watcher._register = AwayRegistry(**fields)
    followed.away = {}
    followed.watcher._health = StoreHealth(followed.away)
    followed.set_away = lambda role: monkeypatch.setattr(AwayRegistry, "away", role)
    return followed


@pytest.mark.slow
def test_a_release_that_cannot_be_read_now_is_loaded_once_its_store_is_back(remote):
    remote.set_away("blobs")
    second = rollouts.live(remote.project, rollouts.release(made_at="2"))
    assert remote.poll() is None and remote.poll() is None
    assert remote.away == {"state": False, "blobs": True} and not remote.refused.get("flights@live")
    remote.set_away("")
    splits = [remote.poll() for _ in range(remote.watcher._retry_polls)]
    assert [split.live.digest for split in splits if split] == [second]
    assert remote.away == {"state": False, "blobs": False}


def test_a_state_that_goes_away_within_a_poll_is_read_again_completely(remote, monkeypatch):
    reads = remote.watcher._read_state

    def lost(address: str, known: object) -> None:
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(remote.watcher, "_read_state", lost)
    assert remote.poll() is None and remote.away == {"state": True} and remote.refused == {}
    monkeypatch.setattr(remote.watcher, "_read_state", reads)
    assert remote.poll() is None and remote.away["state"] is False
    assert remote.refused == {"flights@live": False}


@pytest.mark.slow
def test_a_hint_makes_the_watcher_poll_at_once(followed):
    polled = threading.Semaphore(0)
    followed.watcher._poll_s = 3600.0
    followed.watcher.poll = polled.release
    followed.watcher.start({})
    followed.watcher.wake()
    assert polled.acquire(timeout=10)
    followed.watcher.close()
    assert not polled.acquire(blocking=False)


@pytest.mark.slow
def test_a_failed_poll_is_logged_and_the_next_is_made(followed, caplog):
    polls = []

    def poll() -> None:
        polls.append(len(polls))
        if len(polls) == 1:
            raise ZeroDivisionError("a defect")
        followed.watcher._stopping.set()

    followed.watcher.poll = poll
    followed.watcher.start({})
    followed.watcher._thread.join(10)
    assert polls == [0, 1] and "a defect" in caplog.text


def test_a_pointer_other_than_live_is_watched_and_has_no_canary(followed):
    release = followed.watcher._loaded[followed.first]
    followed.watcher._splits = {"flights@staging": TrafficSplit(live=release)}
    made = rollouts.release(made_at="2")
    second = rollouts.publish(followed.project, made)
    reason = rollouts.UpdateReason(who="ann", why="try", verdict=made.verdict)
    followed.project.registry.point("flights@staging", second, reason)
    assert followed.poll().live.digest == second


class Callers:
    """Callers of servers on separate connections, which send one request after another until they are stopped."""

    def __init__(self, ports: list[int]) -> None:
        self.stop = threading.Event()
        self.failed: list[object] = []
        self.last: dict[int, tuple[str, float]] = {}
        self.answers = 0
        self._answered = threading.Condition()
        self._threads = [threading.Thread(target=self._call, args=(port,)) for port in ports for _ in range(2)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self, port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        inputs = [{"name": name, "shape": [1], "datatype": "FP64", "data": [1]} for name in "ab"]
        while not self.stop.is_set():
            key = f"{port}-{self.answers}"
            connection.request(
                "POST", "/v2/models/flights/infer", json.dumps({"inputs": inputs, "parameters": {"key": key}})
            )
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                self.failed.append(body)
                continue
            with self._answered:
                self.answers += 1
                self.last[port] = (json.loads(body)["model_version"], time.monotonic())
                self._answered.notify_all()
        connection.close()

    def until(self, version: str) -> float:
        """Return the seconds until the last answer of every server has a version."""
        began = time.monotonic()
        with self._answered:
            same = self._answered.wait_for(lambda: {answered for answered, _ in self.last.values()} == {version}, 10)
        assert same, self.last
        return time.monotonic() - began

    def until_answered(self, count: int) -> None:
        """Wait until so many requests were answered."""
        with self._answered:
            assert self._answered.wait_for(lambda: self.answers >= count, 10), self.answers


@pytest.mark.slow
def test_a_rollback_acts_on_every_server_process_within_a_second_and_no_request_fails(tmp_path):
    project = rollouts.project(tmp_path)
    online = SqliteOnlineStore(online_folder(project.config.state))
    online.write("t", ["k"], np.ones((1, 1)), np.ones(1, dtype=np.int64))
    online.close()
    first = rollouts.live(project, rollouts.release(made_at="1"))
    second = rollouts.live(
        project, rollouts.release(made_at="2", views=(FeatureView(name="v", table="t", columns=("b",)),))
    )
    processes = [started(tmp_path, "flights@live") for _ in range(2)]
    ports = [int(process.stdout.readline().split()[2].rpartition(":")[2]) for process in processes]
    with Callers(ports) as callers:
        callers.until(version_of(second))
        assert (
            control.roll_back(project, from_release=control.release_to_leave(project), who="ann", why="a test").release
            == first
        )
        took = callers.until(version_of(first))
        callers.until_answered(200)
    for process in processes:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert process.returncode == 0
    assert took < 1 and callers.failed == []
    project.state.close()
    project.registry.state.close()


@pytest.mark.slow
def test_a_server_keeps_the_live_release_if_the_store_was_tampered_with(tmp_path):
    project = rollouts.project(tmp_path)
    rollouts.live(project, rollouts.release(made_at="1"))
    process = started(tmp_path, "flights@live")
    port = int(process.stdout.readline().split()[2].rpartition(":")[2])
    second = rollouts.publish(project, rollouts.release(made_at="2"))
    verdict = rollouts.release().verdict
    project.registry.point("flights@live", second, rollouts.UpdateReason(who="ann", why="x", verdict=verdict))
    (project.registry.folder / "flights" / second.removeprefix("sha256:") / "model.echo").write_bytes(b"evil")
    line = process.stderr.readline()
    while "the previous one stays" not in line and "now serves release" not in line:
        line = process.stderr.readline()
        assert line, "the server ended"
    answered = ask(port, [1, 3], columns="ab").value
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    project.state.close()
    project.registry.state.close()
    assert answered == 2.0


@pytest.mark.slow
def test_an_unloaded_model_is_not_watched_until_it_is_loaded_at_its_pointer(followed):
    followed.watcher.unload("flights@live")
    second = rollouts.live(followed.project, rollouts.release(made_at="2"))
    assert followed.poll() is None and followed.watcher._loaded == {}
    assert followed.watcher.load("flights@live").digest == second
    assert (followed.splits[-1].live.digest, followed.poll()) == (second, None)
    third = rollouts.live(followed.project, rollouts.release(made_at="3"))
    assert followed.poll().live.digest == third


def test_loading_a_release_that_does_not_verify_is_refused(followed):
    followed.watcher.unload("flights@live")
    model_of(followed, followed.first).write_bytes(b"evil")
    with pytest.raises(Refused, match=r"model\.echo"):
        followed.watcher.load("flights@live")
    assert followed.splits == [] and followed.poll() is None


@pytest.mark.slow
def test_an_operator_rolls_a_server_back_and_a_thief_of_that_key_does_not_move_it(followed, tmp_path):
    project = followed.project
    with_operator = dataclasses.replace(
        project.registry, operator_key=tmp_path / "operator.pem", operator_keys=tmp_path / "operator_keys.txt"
    )
    init_operator_keys(
        with_operator.operator_key,
        with_operator.operator_keys,
        trusted_keys=project.registry.trusted_keys,
        comment="bob",
    )
    followed.watcher._register = with_operator
    second = rollouts.live(project, rollouts.release(made_at="2"))
    assert followed.poll().live.digest == second
    with_operator.roll_back("flights@live", who="bob", why="callers complain", key="operator")
    assert followed.poll().live.digest == followed.first and not followed.refused["flights@live"]

    never_live = rollouts.publish(project, rollouts.release(made_at="3"))
    end = project.state.last()
    forged = replace(read(PointerUpdate, end.content), number=4, release=never_live, previous=digest_of(end.content))
    assert project.state.append(load_operator(with_operator.operator_key).sign(write(forged)))
    assert followed.poll() is None and followed.refused["flights@live"]
