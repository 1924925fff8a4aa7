"""Forgetting: what goes, what stays, that no byte is left, and that the proof says so."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.monitoring.rollout.served import Served

from headway.core.errors import ConfigError, Refused, StoreError
from headway.data.personal.policy import load_hash_key
from headway.features.online import OnlineTable
from headway.monitoring.erasure import files
from headway.monitoring.erasure.erase import ErasureRequest, erase, load_erasures
from headway.monitoring.prediction_log import LabelReader, read_predictions
from headway.registry.project import open_project
from headway.storage import segments, traffic

pytestmark = pytest.mark.slow

SECRET = "customer-7d1f@example.org"
DAY_NS = 86_400 * 10**9


def no_wait(_: float) -> None:
    """Nothing runs that could log."""


class World(Served):
    """A served project whose log, labels and features hold rows of SECRET and of others."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with (folder / "headway.toml").open("a") as file:
            file.write('[personal]\nkey = "keys/personal.key"\n')
        self.close()
        self.project = open_project(folder)
        self.start()
        self.others = self.serve(20)
        log = traffic.log_folder(self.state, "flights", self.first)
        (path,) = segments.segments(log)
        self.plant(path, SECRET)
        for _ in range(3):
            traffic.save_labels(self.state, "flights", [traffic.Label(SECRET, 1.0)], who="ann")
        traffic.save_labels(self.state, "flights", [traffic.Label(key, 0.0) for key in self.others], who="ann")
        table = OnlineTable(traffic.online_folder(self.state), "history")
        for at in range(5):  # each leaves the row before it in a free part of a page
            keys = [SECRET, *(f"k{number}" for number in range(300))]
            table.put(keys, np.full((301, 3), float(at)), np.full(301, at))
        table.close()

    def plant(self, path: Path, key: str) -> None:
        """Let every third row of a segment be of this key."""
        table = files.read_segment(path)
        keys = [key if number % 3 == 0 else old for number, old in enumerate(table["key"])]
        others = {each.name: each.to_numpy() for each in table.drop("key")}
        segments.save(path.parent, {"key": keys, **others}, name=path.name)

    def forget(self, **order: str):
        """Forget as the command does."""
        return erase(self.project, ErasureRequest(who="ann", why="a test", **order), wait=no_wait)

    def files_with(self, key: str) -> list[str]:
        """Every file under the project in which the bytes are."""
        found = subprocess.run(["grep", "-rlaF", key, str(self.state.parent)], capture_output=True, text=True)
        return found.stdout.split()


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.close()


def test_no_byte_of_a_key_is_left_in_any_file_and_nobody_else_loses_a_row(world):
    before = read_predictions(world.state, "flights", [world.first, world.second])
    found = world.forget(key=SECRET)

    assert world.files_with(SECRET) == []
    after = read_predictions(world.state, "flights", [world.first, world.second])
    assert after.equals(before.filter(pl.col("key") != SECRET))
    assert {part.location: part.rows for part in found.erased} == {
        "labels/flights": 3,
        "log/flights": len(before) - len(after),
        "online/history": 1,
    }
    assert found.is_complete and found.residuals == ()
    labels = LabelReader(world.state, "flights").read()
    assert sorted(labels["key"]) == sorted(world.others)
    table = OnlineTable(traffic.online_folder(world.state), "history")
    values, at = table.get([SECRET, "k3"])
    table.close()
    assert at.tolist() == [-1, 4] and values[1].tolist() == [4.0] * 3


def test_the_grep_of_these_tests_finds_the_key_where_it_was_not_forgotten(world):
    assert {Path(each).parent.parent.name for each in world.files_with(SECRET)} >= {"labels", "flights"}


def test_the_proof_tells_what_went_and_not_who(world):
    found = world.forget(key=SECRET)
    (proof,) = load_erasures(world.project)

    assert proof == found
    assert (proof.who, proof.why, proof.number, len(proof.subject)) == ("ann", "a test", 1, 32)
    assert all(each.before != each.after for each in proof.erased)
    assert world.forget(key=SECRET).subject == proof.subject
    assert proof.subject != load_hash_key(world.project.config).hash(SECRET)


def test_a_proof_that_is_taken_out_is_missed(world):
    for _ in range(3):
        world.forget(key=SECRET)
    world.project.state._db.execute(
        "DELETE FROM records WHERE place IN (SELECT place FROM records WHERE kind ="
        " 'erasure_proof' ORDER BY place LIMIT 1 OFFSET 1)"
    )
    with pytest.raises(Refused, match="erasure 2 of flights does not follow"):
        load_erasures(world.project)


def test_a_key_that_was_hashed_when_data_was_opened_is_forgotten_by_its_raw_value(world):
    hashed = load_hash_key(world.project.config).hash("Ada Lovelace")
    traffic.save_labels(world.state, "flights", [traffic.Label(hashed, 1.0)], who="ann")
    assert world.forget(key="Ada Lovelace").rows == 1
    assert world.files_with(hashed) == []


def test_a_key_that_is_part_of_another_leaves_that_one_alone(world):
    found = world.forget(key="k1")
    assert found.rows > 0 and found.is_complete
    assert {residual.location for residual in found.residuals} >= {"online/history"}
    assert "k11" in LabelReader(world.state, "flights").read()["key"].to_list()
    assert "k1" not in LabelReader(world.state, "flights").read()["key"].to_list()


def test_what_a_signed_release_holds_of_a_key_is_said(world):
    found = world.forget(key="echo")
    assert not found.is_complete
    assert "releases" in {residual.location for residual in found.residuals}
    assert found.message[0].startswith("2 signed releases were made before")


def test_what_is_older_goes_and_what_is_younger_stays(world):
    folder = traffic.log_folder(world.state, "flights", world.first)
    (young,) = segments.segments(folder)
    rows = len(files.read_segment(young))
    old = folder / f"{time.time_ns() - 3 * DAY_NS:020}-1-0.arrow"
    old.write_bytes(young.read_bytes())

    found = world.forget(older="2d")
    assert [(part.location, part.rows, part.files) for part in found.erased] == [("log/flights", rows, 1)]
    assert list(segments.segments(folder)) == [young]
    assert world.forget(older="2d").erased == ()


def killed_in(folder: Path, place: str) -> None:
    """A process that forgets SECRET, and is killed where it calls `place` for the third time."""
    code = f"""
import os, signal
from pathlib import Path
from headway.registry.project import open_project
from headway.monitoring.erasure import erase as erasing
from headway.monitoring.erasure import files
from headway.storage import segments
owner, name = {place}
calls, real = [], getattr(owner, name)
def dies(*given, **named):
    calls.append(1)
    if len(calls) == LAST:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*given, **named)
setattr(owner, name, dies)
order = erasing.ErasureRequest(key={SECRET!r}, who="ann", why="a test")
erasing.erase(open_project(Path({str(folder)!r})), order, wait=lambda _: None)
"""
    last = "1" if "save_proof" in place or "Journal, 'end'" in place or "Online" in place else "3"
    run = subprocess.run([sys.executable, "-c", code.replace("LAST", last)], capture_output=True, text=True)
    assert run.returncode == -9, run.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "place",
    [
        "(files, 'erase_rows')",
        "(erasing.ErasureJournal, 'note')",
        "(segments, 'save')",
        "(erasing, 'save_proof')",
        "(erasing.ErasureJournal, 'end')",
    ],
)
def test_a_process_that_is_killed_loses_nobody_elses_rows_and_the_next_one_finishes(world, tmp_path, place):
    before = read_predictions(world.state, "flights", [world.first, world.second])
    killed_in(tmp_path, place)
    found = world.forget(key=SECRET)

    assert world.files_with(SECRET) == []
    after = read_predictions(world.state, "flights", [world.first, world.second])
    assert after.equals(before.filter(pl.col("key") != SECRET))
    first = load_erasures(world.project)[0]
    assert first.rows == 3 + 1 + len(before) - len(after)
    assert found == load_erasures(world.project)[-1]


def test_an_erasure_that_is_not_done_is_finished_before_another(world, monkeypatch):
    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(files, "erase_rows", full)
        with pytest.raises(StoreError, match="the disk is full"):
            world.forget(key=SECRET)
    with pytest.raises(StoreError, match="of another key, was started at"):
        world.forget(key="k1")
    assert world.forget(key=SECRET).rows > 4


def test_two_erasures_do_not_run_at_once(world):
    def second(_: float) -> None:
        with pytest.raises(StoreError, match="another process is erasing"):
            world.forget(key="k1")

    erase(world.project, ErasureRequest(key=SECRET, who="ann"), wait=second)


def test_what_is_logged_while_it_waits_is_found_too(world):
    def more(_: float) -> None:
        traffic.save_labels(world.state, "flights", [traffic.Label(SECRET, 0.0)], who="bob")

    found = erase(world.project, ErasureRequest(key=SECRET, who="ann"), wait=more)
    assert {each.location: each.rows for each in found.erased}["labels/flights"] == 4
    assert world.files_with(SECRET) == []


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ({}, "give either a key or an age"),
        ({"key": "a", "older": "1d"}, "give either a key or an age"),
        ({"older": "soon"}, "'soon' is not a duration"),
        ({"older": "999999999d"}, "the age is out of range"),
        ({"older": "99999999999999d"}, "too long a duration is counted"),
    ],
)
def test_an_order_that_says_nothing_clear_is_refused(world, order, message):
    with pytest.raises(ConfigError, match=message):
        world.forget(**order)


def test_without_the_publishers_key_nothing_is_touched(world):
    os.unlink(world.project.registry.publisher_key)
    with pytest.raises(ConfigError, match="no publisher key"):
        world.forget(key=SECRET)
    assert world.files_with(SECRET)
