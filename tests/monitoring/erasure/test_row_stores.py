"""The stores of rows of a key: the proof says which were searched, and access and erasure go through the same ones."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from tests.monitoring.erasure.test_erase import SECRET, World
from tests.monitoring.erasure.test_online_erasure import made
from tests.ports import free_port
from tests.storage.redis_server import PASSWORD, redis_server
from tests.storage.small_s3 import SmallS3, small_s3

from headway.cli import main as cli
from headway.core.config import Config
from headway.core.errors import DataError, Refused
from headway.core.support import CustomerMessage
from headway.data.settings.personal import PersonalSection
from headway.evaluation import explore
from headway.features.online_rows import entity_key
from headway.monitoring.assessment.changes import encode_sample
from headway.monitoring.erasure.access import read_kept_rows
from headway.monitoring.erasure.proofs import load_erasures
from headway.monitoring.task_runs import tasks_left_out
from headway.registry.project import open_project
from headway.registry.retention import max_log_age
from headway.registry.settings.record import RecordSection
from headway.registry.stores import migrate_store
from headway.storage import traffic
from headway.storage.addresses import open_logs, open_online
from headway.storage.messages import add_message

pytestmark = pytest.mark.slow


@pytest.fixture
def world(tmp_path):
    made_world = World(tmp_path)
    yield made_world
    made_world.close()


def reopen(world: World, toml: str) -> None:
    """Add settings to a world, and open its project again."""
    folder = world.state.parent
    with (folder / "headway.toml").open("a") as file:
        file.write(toml)
    world.project.state.close()
    world.project = open_project(folder)


def plant_everywhere(world: World) -> None:
    """Put the key into quarantine, messages, staged features, files put aside and tables of counts."""
    quarantine = world.state / traffic.QUARANTINE / "flights"
    quarantine.mkdir(parents=True)
    pl.DataFrame({"customer": [SECRET, "bob"], "x": [1.0, 2.0]}).write_parquet(quarantine / "1.parquet")
    with closing(open_online(world.project.config)) as store:
        keys = [entity_key([SECRET, "JFK"]), "bob"]
        store.write("staged.v1", keys, np.ones((2, 1)), np.ones(2, dtype=np.int64), staged=True)
    aside = traffic.aside_folder(world.state, "flights") / "1-1-0-abc"
    aside.parent.mkdir()
    aside.write_bytes(b"\0" + SECRET.encode() + b"\0")
    explore.tables_file(world.state, "sha256:1").parent.mkdir()
    explore.tables_file(world.state, "sha256:1").write_bytes(b"counts")


def test_access_and_erasure_count_the_same_rows_at_each_location(world):
    plant_everywhere(world)
    kept = {part.location: len(part.rows) for part in read_kept_rows(world.project, SECRET).rows}
    erased = {part.location: part.rows for part in world.erase_rows_of(key=SECRET).erased}

    assert kept == {location: rows for location, rows in erased.items() if rows}
    assert kept.keys() >= {"log/flights", "labels/flights", "quarantine/flights", "online/history", "online/staged.v1"}
    assert read_kept_rows(world.project, SECRET).n_rows == 0 and world.files_with(SECRET) == []


def test_access_has_the_rows_as_they_are_stored_and_changes_nothing(world):
    before = sorted(world.files_with(SECRET))
    found = read_kept_rows(world.project, SECRET)
    rows = {part.location: part.rows for part in found.rows}

    assert {row["key"] for row in rows["log/flights"]} == {SECRET}
    assert [row["label"] for row in rows["labels/flights"]] == [1.0] * 3
    assert rows["online/history"] == ({"entity": SECRET, "values": [4.0] * 3, "event_us": 4, "is_staged": False},)
    assert sorted(world.files_with(SECRET)) == before and found.is_complete
    assert not any(key in json.dumps([part.rows for part in found.rows], default=str) for key in world.others)


def test_a_message_of_a_customer_is_read_and_erased(world):
    message = CustomerMessage(
        key="m-1", source="webhook", text="where is my parcel", received_at="2026-11-01T00:00:00+00:00"
    )
    add_message(world.state, "flights", message)

    (part,) = read_kept_rows(world.project, "m-1").rows
    assert part.location == "messages/flights" and part.rows[0]["text"] == "where is my parcel"
    assert [(part.location, part.rows) for part in world.erase_rows_of(key="m-1").erased] == [("messages/flights", 1)]


def test_the_proof_says_which_places_were_searched_and_how_much_was_read(world):
    found = world.erase_rows_of(key=SECRET)

    (folder,) = found.searched
    assert (folder.name, folder.is_reached) == ("folder", True)
    assert folder.n_searched >= len([path for path in world.state.rglob("*") if path.is_file()]) - 1
    assert load_erasures(world.project)[-1].searched == found.searched


def test_a_store_that_does_not_answer_is_named_and_nothing_is_called_erased(world, capsys):
    reopen(world, f'[store]\nonline = "redis://127.0.0.1:{free_port()}/0"\n')
    found = world.erase_rows_of(key=SECRET)

    assert [place.name for place in found.searched if not place.is_reached] == ["online"]
    assert not found.is_complete and found.rows > 0
    assert not load_erasures(world.project)[-1].is_complete
    assert not read_kept_rows(world.project, SECRET).is_complete
    for words in (["erase", SECRET], ["access", SECRET, "--out", str(world.state.parent / "a.json")]):
        with pytest.raises(SystemExit) as ended:
            cli.main([*words, "--project", str(world.state.parent)])
        assert ended.value.code == cli.UNDECIDED
        out = capsys.readouterr().out
        assert "NOT REACHED online: " in out and "none contains the key" not in out


@contextmanager
def shipped_log(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallS3]:
    """Ship the log of a world to S3, which answers until the block ends."""
    with small_s3() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        reopen(world, '[store]\nlogs = "s3://bucket/team"\n')
        assert open_logs(world.project.config).ship() > 0
        yield server


def no_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the address of S3 be one at which nothing answers."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{free_port()}")


def test_a_log_on_s3_that_does_not_answer_is_named(world, monkeypatch):
    with shipped_log(world, monkeypatch):
        (kept,) = [part for part in read_kept_rows(world.project, SECRET).rows if part.location == "log/flights"]
    no_s3(monkeypatch)
    found = world.erase_rows_of(key=SECRET)

    assert len(kept.rows) > 0
    assert [(place.name, place.is_reached) for place in found.searched] == [("logs", False), ("folder", True)]
    assert not found.is_complete and SECRET not in str(found)


def test_rows_of_a_store_that_stops_answering_are_not_counted_as_erased(world, monkeypatch):
    with shipped_log(world, monkeypatch) as server:
        server.fault = lambda request: request.command == "PUT" and request.path.endswith(".arrow")
        found = world.erase_rows_of(key=SECRET)
        server.fault = lambda _: False
        again = world.erase_rows_of(key=SECRET)

    assert [place.name for place in found.searched if not place.is_reached] == ["logs"]
    assert {part.location for part in found.erased} == {"online/history"}
    assert {part.location for part in again.erased} == {"log/flights", "labels/flights"} and again.is_complete


def test_a_mention_has_the_location_and_the_reason_of_its_folder(world):
    plant_everywhere(world)
    message = CustomerMessage(
        key="m-1", source="webhook", text=f"I am {SECRET}", received_at="2026-11-01T00:00:00+00:00"
    )
    add_message(world.state, "flights", message)

    (mention,) = read_kept_rows(world.project, SECRET).mentions
    assert mention.location == "messages/flights" and mention.why.startswith("a message with another key contains it")
    assert read_kept_rows(world.project, "m-1").mentions == ()


def test_copies_of_a_shared_log_are_no_mention_next_to_its_rows(world, monkeypatch):
    with shipped_log(world, monkeypatch):
        found = read_kept_rows(world.project, SECRET)

    assert {part.location for part in found.rows} >= {"log/flights", "labels/flights"} and found.mentions == ()


def test_a_folder_behind_a_link_is_searched_once(world, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/notes.txt").write_text(SECRET)
    (world.state / "linked").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/back").symlink_to(world.state)

    (world.state / "a-link").symlink_to(world.state / "files")
    (world.state / "files").mkdir()
    (world.state / "files/notes.txt").write_text(SECRET)

    residuals = world.erase_rows_of(key=SECRET).residuals
    assert {(found.location, found.times) for found in residuals} == {("linked", 1), ("files", 1)}


def test_the_compressed_sample_of_an_assessment_is_searched(world):
    keys = [f"{number:x}@example.org" for number in range(2_000)]
    content = encode_sample(pl.DataFrame({"customer": keys}))
    world.project.blobs.put(content)
    assert keys[1_234].encode() not in content

    (residual,) = world.erase_rows_of(key=keys[1_234]).residuals
    assert (residual.location, residual.times, residual.is_other) == ("blobs", 1, False)


@pytest.mark.parametrize(("content", "is_other"), [(b"xk1y", True), (b"a k1 b", False)])
def test_a_key_within_longer_words_of_a_shared_model_is_not_left(world, monkeypatch, content, is_other):
    with small_s3() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        reopen(world, '[store]\nblobs = "s3://bucket/team"\n')
        world.project.blobs.put(content)
        found = world.erase_rows_of(key="k1")

    (residual,) = [one for one in found.residuals if one.location == "blobs"]
    assert (residual.times, residual.is_other) == (1, is_other)


def test_by_age_a_store_that_does_not_answer_is_named_too(world, monkeypatch, capsys):
    with small_s3() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        reopen(world, '[store]\nlogs = "s3://bucket/team"\n')
        assert world.erase_rows_of(older="90d").searched == ()
    no_s3(monkeypatch)
    found = world.erase_rows_of(older="90d")

    assert [place.name for place in found.searched] == ["logs"] and not found.is_complete


def test_a_legal_hold_stops_erasure_retention_and_the_task(world):
    reopen(world, '[record]\nlegal_hold = "case 7"\n')
    with pytest.raises(Refused, match="a legal hold is declared: case 7"):
        world.erase_rows_of(key=SECRET)
    with pytest.raises(Refused, match="a legal hold"):
        world.erase_rows_of(older="1d")
    assert world.files_with(SECRET)
    kept = Config(PersonalSection(retention="90d"))
    held = kept.having(RecordSection(legal_hold="case 7"))
    assert (max_log_age(kept), max_log_age(held), max_log_age(Config())) == (timedelta(days=90), None, None)
    assert tasks_left_out(held)["erase"] == "[record] legal_hold forbids to delete anything"
    assert tasks_left_out(Config())["erase"] == "[personal] retention is empty" and "erase" not in tasks_left_out(kept)


def test_the_command_writes_a_file_for_its_owner_alone_with_what_is_declared(world, capsys):
    reopen(world, '[record]\npurpose = "plan crews"\n')
    out = world.state.parent / "access.json"
    with pytest.raises(SystemExit) as ended:
        cli.main(["access", SECRET, "--out", str(out), "--project", str(world.state.parent)])
    shown = capsys.readouterr().out

    assert ended.value.code == cli.PASS and stat.S_IMODE(os.stat(out).st_mode) == 0o600
    written = json.loads(out.read_text())
    assert written["key"] == SECRET and written["information"] == {"purpose": "plan crews"}
    assert "recipients" in written["not_declared"] and "not declared, so not in the file" in shown
    with pytest.raises(SystemExit) as ended:
        cli.main(["access", "never-seen", "--out", str(out), "--project", str(world.state.parent)])
    assert ended.value.code == cli.FAIL
    with pytest.raises(SystemExit):
        cli.main(["access", "--project", str(world.state.parent)])
    assert "no key is given" in capsys.readouterr().err
    with pytest.raises(DataError, match="a key of spaces"):
        read_kept_rows(world.project, "  ")


@pytest.mark.services
@pytest.mark.parametrize("program", ["redis-server", "valkey-server"])
def test_staged_rows_on_a_server_are_read_and_erased(tmp_path, program, monkeypatch):
    monkeypatch.setenv("HEADWAY_STORE_ONLINE_PASSWORD", PASSWORD)
    with redis_server(program) as server:
        monkeypatch.setenv("HEADWAY_STORE_ONLINE", server.address)
        world = made(tmp_path)
        plant_everywhere(world)
        kept = {part.location: len(part.rows) for part in read_kept_rows(world.project, SECRET).rows}
        found = world.erase_rows_of(key=SECRET)
        erased = {part.location: part.rows for part in found.erased}
        world.close()

    assert kept == {location: rows for location, rows in erased.items() if rows}
    assert kept["online/staged.v1"] == 1 and kept["online/views.v1"] == 3
    assert [(place.name, place.is_reached) for place in found.searched] == [("folder", True), ("online", True)]


@pytest.mark.services
def test_the_records_in_postgresql_are_searched_and_counted(tmp_path, postgresql):
    world = World(tmp_path)
    migrate_store(world.project.config, str(world.state), postgresql)
    reopen(world, f'[store]\nstate = "{postgresql}"\n')
    world.project.state.save("note", f"as it is: {SECRET}".encode(), name="flights")
    (mention,) = read_kept_rows(world.project, SECRET).mentions
    found = world.erase_rows_of(key=SECRET)
    world.close()

    assert (mention.location, mention.times) == ("database", 1)
    database = next(place for place in found.searched if place.name == "database")
    assert database.n_searched > 2 and not found.is_complete
