"""Erasure: no byte of the key remains, other rows stay, and the proof records it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.monitoring.rollout.served import Served
from tests.serving.flushed_log import FlushedLog

from headway.core.errors import ConfigError, Refused, StoreError
from headway.data.personal.policy import load_hash_key
from headway.evaluation import explore
from headway.features.online.sqlite import SqliteOnlineStore
from headway.monitoring.erasure import files
from headway.monitoring.erasure.erase import ErasureRequest, erase
from headway.monitoring.erasure.proofs import load_erasures
from headway.monitoring.prediction_log import LabelReader, read_predictions
from headway.registry.project import open_project
from headway.storage import segments, traffic
from headway.storage.addresses import online_folder

pytestmark = pytest.mark.slow

SECRET = "customer-7d1f@example.org"
DAY_NS = 86_400 * 10**9


def no_wait(_: float) -> None:
    """Do not wait: no server runs that could log."""


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
        online = SqliteOnlineStore(online_folder(self.state))
        for at in range(5):  # each leaves the row before it in a free part of a page
            keys = [SECRET, *(f"k{number}" for number in range(300))]
            online.write("history", keys, np.full((301, 3), float(at)), np.full(301, at))
        online.close()

    def plant(self, path: Path, key: str) -> None:
        """Give every third row of a segment this key."""
        table = files.read_segment(path)
        keys = [key if number % 3 == 0 else old for number, old in enumerate(table["key"])]
        others = {column.name: column.to_numpy() for column in table.drop("key")}
        segments.save(path.parent, {"key": keys, **others}, name=path.name)

    def erase_rows_of(self, **order: str):
        """Erase as the command does."""
        return erase(self.project, ErasureRequest(who="ann", why="a test", **order), wait=no_wait)

    def files_with(self, key: str) -> list[str]:
        """Return every file of the project that contains the key."""
        found = subprocess.run(["grep", "-rlaF", key, str(self.state.parent)], capture_output=True, text=True)
        return found.stdout.split()


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.close()


def test_no_byte_of_a_key_remains_in_any_file_and_no_other_key_loses_a_row(world):
    before = read_predictions(world.state, "flights", [world.first, world.second])
    found = world.erase_rows_of(key=SECRET)

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
    with closing(SqliteOnlineStore(online_folder(world.state))) as online:
        ((values, at),) = online.read([("history", [SECRET, "k3"])])
    assert at.tolist() == [-1, 4] and values[1].tolist() == [4.0] * 3


def test_the_search_of_these_tests_finds_the_key_before_it_is_erased(world):
    assert {Path(file).parent.parent.name for file in world.files_with(SECRET)} >= {"labels", "flights"}


def test_the_proof_records_what_was_erased_without_the_key(world):
    found = world.erase_rows_of(key=SECRET)
    (proof,) = load_erasures(world.project)

    assert proof == found
    assert (proof.who, proof.why, proof.number, len(proof.subject)) == ("ann", "a test", 1, 32)
    assert all(part.before != part.after for part in proof.erased)
    assert world.erase_rows_of(key=SECRET).subject == proof.subject
    assert proof.subject != load_hash_key(world.project.config).hash(SECRET)


def test_a_deleted_proof_is_detected(world):
    for _ in range(3):
        world.erase_rows_of(key=SECRET)
    world.project.state._db.execute(
        "DELETE FROM records WHERE place IN (SELECT place FROM records WHERE kind ="
        " 'erasure_proof' ORDER BY place LIMIT 1 OFFSET 1)"
    )
    with pytest.raises(Refused, match="erasure 2 of flights does not follow"):
        load_erasures(world.project)


def test_a_hashed_key_is_erased_by_its_raw_value(world):
    hashed = load_hash_key(world.project.config).hash("Ada Lovelace")
    traffic.save_labels(world.state, "flights", [traffic.Label(hashed, 1.0)], who="ann")
    assert world.erase_rows_of(key="Ada Lovelace").rows == 1
    assert world.files_with(hashed) == []


def test_erasing_a_key_leaves_longer_keys_that_contain_it(world):
    found = world.erase_rows_of(key="k1")
    assert found.rows > 0 and found.is_complete
    assert {residual.location for residual in found.residuals} >= {"online/history"}
    assert "k11" in LabelReader(world.state, "flights").read()["key"].to_list()
    assert "k1" not in LabelReader(world.state, "flights").read()["key"].to_list()


def test_a_signed_release_that_contains_the_key_is_reported(world):
    found = world.erase_rows_of(key="echo")
    assert not found.is_complete
    assert "releases" in {residual.location for residual in found.residuals}
    assert found.message[0].startswith("signed releases made before: 2;")


def test_older_rows_are_erased_and_younger_rows_stay(world):
    folder = traffic.log_folder(world.state, "flights", world.first)
    (young,) = segments.segments(folder)
    rows = len(files.read_segment(young))
    old = folder / f"{time.time_ns() - 3 * DAY_NS:020}-1-0.arrow"
    old.write_bytes(young.read_bytes())

    found = world.erase_rows_of(older="2d")
    assert [(part.location, part.rows, part.files) for part in found.erased] == [("log/flights", rows, 1)]
    assert list(segments.segments(folder)) == [young]
    assert world.erase_rows_of(older="2d").erased == ()


def killed_in(folder: Path, target: str) -> None:
    """Erase SECRET in a process that is killed when it calls `target` for the third time."""
    code = f"""
import os, signal
from pathlib import Path
from headway.registry.project import open_project
from headway.monitoring.erasure import erase as erasing
from headway.monitoring.erasure import files
from headway.storage import segments
owner, name = {target}
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
    last = "1" if "save_proof" in target or "Journal, 'end'" in target or "Online" in target else "3"
    run = subprocess.run([sys.executable, "-c", code.replace("LAST", last)], capture_output=True, text=True)
    assert run.returncode == -9, run.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "target",
    [
        "(files, 'erase_rows')",
        "(erasing.ErasureJournal, 'note')",
        "(segments, 'save')",
        "(erasing, 'save_proof')",
        "(erasing.ErasureJournal, 'end')",
    ],
)
def test_a_killed_erasure_loses_no_other_rows_and_the_next_one_finishes(world, tmp_path, target):
    before = read_predictions(world.state, "flights", [world.first, world.second])
    killed_in(tmp_path, target)
    found = world.erase_rows_of(key=SECRET)

    assert world.files_with(SECRET) == []
    after = read_predictions(world.state, "flights", [world.first, world.second])
    assert after.equals(before.filter(pl.col("key") != SECRET))
    first = load_erasures(world.project)[0]
    assert first.rows == 3 + 1 + len(before) - len(after)
    assert found == load_erasures(world.project)[-1]


def test_an_unfinished_erasure_is_completed_before_another(world, monkeypatch):
    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(files, "erase_rows", full)
        with pytest.raises(StoreError, match="the disk is full"):
            world.erase_rows_of(key=SECRET)
    with pytest.raises(StoreError, match="of another key, was started at"):
        world.erase_rows_of(key="k1")
    assert world.erase_rows_of(key=SECRET).rows > 4


def test_two_erasures_do_not_run_at_once(world):
    def second(_: float) -> None:
        with pytest.raises(StoreError, match="erase of flights is already being done by process"):
            world.erase_rows_of(key="k1")

    erase(world.project, ErasureRequest(key=SECRET, who="ann"), wait=second)


def test_rows_logged_while_it_waits_are_erased(world):
    def more(_: float) -> None:
        traffic.save_labels(world.state, "flights", [traffic.Label(SECRET, 0.0)], who="bob")

    found = erase(world.project, ErasureRequest(key=SECRET, who="ann"), wait=more)
    assert {part.location: part.rows for part in found.erased}["labels/flights"] == 4
    assert world.files_with(SECRET) == []


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ({}, "give either a key or an age"),
        ({"key": "a", "older": "1d"}, "give either a key or an age"),
        ({"older": "soon"}, "'soon' is not a duration"),
        ({"older": "999999999d"}, "the age is out of range"),
        ({"older": "99999999999999d"}, "is too long a duration"),
    ],
)
def test_an_ambiguous_request_is_rejected(world, order, message):
    with pytest.raises(ConfigError, match=message):
        world.erase_rows_of(**order)


def test_without_the_publisher_key_nothing_is_erased(world):
    os.unlink(world.project.registry.publisher_key)
    with pytest.raises(ConfigError, match="no publisher key"):
        world.erase_rows_of(key=SECRET)
    assert world.files_with(SECRET)


def test_counts_of_rows_are_deleted_with_a_key_and_with_age_only_if_they_are_old(world):
    tables = explore.tables_file(world.state, "sha256:1")
    tables.parent.mkdir()
    for order, stays in (({"older": "90d"}, True), ({"key": SECRET}, False), ({"key": SECRET}, False)):
        if stays or order.get("older"):
            tables.write_bytes(b"counts")
        found = world.erase_rows_of(**order)
        assert tables.exists() == stays and found.is_complete
    tables.write_bytes(b"counts")
    os.utime(tables, (0, 0))
    (part,) = [part for part in world.erase_rows_of(older="90d").erased if part.location == "explore"]
    assert not tables.exists() and (part.files, part.rows) == (1, 0)


def test_a_key_that_is_stored_once_for_many_rows_or_put_aside_is_erased_everywhere(world):
    log = FlushedLog(world.state)
    rows = np.arange(40.0).reshape(20, 2)
    entry = world.entry(0, 1, SECRET, 0.5, stage=0, paired=0, answered=1)._replace(
        requests=np.array([1, 2]), keys=[SECRET, "other"], sizes=[15, 5], rows=rows, answers=rows[:, :1]
    )
    log.add(entry._replace(latency_ns=np.array([1, 2])))
    log.close()
    aside = traffic.aside_folder(world.state, "flights") / f"{time.time_ns():020}-1-0-abc"
    aside.parent.mkdir()
    aside.write_bytes(b"\0\0" + SECRET.encode() + b"\0")
    found = world.erase_rows_of(key=SECRET)
    assert world.files_with(SECRET) == [] and not aside.exists() and found.is_complete
    left = read_predictions(world.state, "flights", [world.first]).filter(pl.col("request") == 2)
    assert left["key"].to_list() == ["other"] * 5
    again = world.erase_rows_of(key="other")
    assert [part.rows for part in again.erased] == [5]
