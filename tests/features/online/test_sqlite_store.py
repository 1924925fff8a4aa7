"""SQLite as the online store: tables of earlier versions, files that are none, and files that another process keeps."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from headway.core.errors import StoreError
from headway.features.online.sqlite import SqliteOnlineStore


def old_table(folder: Path, name: str) -> Path:
    """Write a table as 0.1 before feature views with definitions did, with `anna` of two features."""
    folder.mkdir(exist_ok=True)
    with closing(sqlite3.connect(folder / f"{name}.sqlite")) as db, db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE form (width INTEGER NOT NULL)")
        db.execute(
            "CREATE TABLE newest (key TEXT PRIMARY KEY, at_us INTEGER NOT NULL, content BLOB NOT NULL) WITHOUT ROWID"
        )
        db.execute("INSERT INTO form (width) VALUES (2)")
        row = np.array([1.5, np.nan]).tobytes()
        db.execute("INSERT INTO newest (key, at_us, content) VALUES ('anna', 10, ?)", (row,))
    return folder / f"{name}.sqlite"


@pytest.fixture
def store(tmp_path):
    with closing(SqliteOnlineStore(tmp_path)) as opened:
        yield opened


def test_a_table_of_an_earlier_version_is_served_listed_and_scanned(store, tmp_path):
    before = old_table(tmp_path, "schedule").read_bytes()
    ((values, times),) = store.read([("schedule", ["anna", "eve"])])
    np.testing.assert_array_equal(values, [[1.5, np.nan], [np.nan, np.nan]])
    assert times.tolist() == [10, -1] and store.tables() == {"schedule": 2}
    assert [keys for keys, _, _ in store.scan("schedule")] == [["anna"]]
    assert store.progress("schedule") == b"" and store.strings("schedule", "x", [0]) == [None]
    assert (tmp_path / "schedule.sqlite").read_bytes() == before, "reading changes nothing"


def test_a_table_of_an_earlier_version_is_written_replaced_and_erased(store, tmp_path):
    old_table(tmp_path, "schedule")
    old_table(tmp_path, "other")
    assert store.delete("other", ["anna"]) == 1
    assert store.write("schedule", ["anna", "bob"], np.zeros((2, 2)), np.array([9, 9]), progress=b"1") == 1
    assert store.read([("schedule", ["anna"])])[0][1].tolist() == [10]
    store.write("schedule", ["eve"], np.ones((1, 2)), np.array([1]), staged=True)
    store.publish("schedule")
    assert store.read([("schedule", ["anna", "eve"])])[0][1].tolist() == [-1, 1]


def test_keys_that_json_cannot_carry_are_found_in_their_order(store):
    keys = ["a", "a\0b", "\0", 'a"\\u0000', "\x1fa", "", "null", "5"]
    store.write("t", keys, np.arange(8.0)[:, None], np.arange(8))
    wanted = ["5", "a\0", "a\0b", "a", "\ud800", "a", "\0", "", 'a"\\u0000', "\x1fa", "\ud800\0", "null", "None"]
    ((values, times),) = store.read([("t", wanted)])
    assert times.tolist() == [7, -1, 1, 0, -1, 0, 2, 5, 3, 4, -1, 6, -1]
    np.testing.assert_array_equal(values[:, 0], np.where(times < 0, np.nan, times))


def test_a_file_that_is_not_a_table_is_an_error(store, tmp_path):
    (tmp_path / "schedule.sqlite").write_bytes(b"not a database, but long enough to be read as one" * 30)
    for call in (lambda: store.read([("schedule", ["anna"])]), store.tables, lambda: store.progress("schedule")):
        with pytest.raises(StoreError, match="cannot be read"):
            call()


def test_an_empty_database_has_no_table(store, tmp_path):
    sqlite3.connect(tmp_path / "schedule.sqlite").close()
    (tmp_path / "schedule.sqlite").touch()
    with pytest.raises(StoreError, match="does not exist"):
        store.read([("schedule", ["anna"])])


def test_a_deletion_while_another_process_reads_is_an_error_that_can_be_repeated(store, tmp_path):
    store.write("t", ["a", "b"], np.ones((2, 1)), np.ones(2, dtype=np.int64))
    with closing(sqlite3.connect(tmp_path / "t.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM newest").fetchall()
        with pytest.raises(StoreError, match=r"in use|locked"):
            store.delete("t", ["a"])
        other.execute("COMMIT")
    assert store.delete("t", ["a"]) == 0
    assert b"a" not in (tmp_path / "t.sqlite-wal").read_bytes()
