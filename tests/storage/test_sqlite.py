"""State in SQLite: what goes beyond the contract of state stores."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from headway.core.contracts import Signed
from headway.core.errors import StoreError
from headway.core.record import digest_of, write
from headway.core.release import PointerUpdate
from headway.storage.state import sqlite
from headway.storage.state.sqlite import FILE, MIGRATIONS, Sqlite


def move(number: int, previous: str) -> Signed:
    made = PointerUpdate(
        name="f", pointer="live", number=number, release="r", previous=previous, at="t", who="a", why="b"
    )
    return Signed(content=write(made), signature=b"s")


def test_a_state_of_the_first_format_is_brought_to_todays_with_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "MIGRATIONS", MIGRATIONS[:1])
        old = Sqlite(tmp_path)
        old.append(move(1, ""))
        with pytest.raises(StoreError, match="no such table: looks"):
            old.count_evaluation("f", "sha256:a")
        old.close()
    new = Sqlite(tmp_path)
    assert new.updates() == [move(1, "")]
    assert new.append(move(2, digest_of(move(1, "").content)))
    assert new.count_evaluation("f", "sha256:a") == 1
    new.close()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(db: sqlite3.Connection) -> None:
        db.execute("DROP TABLE moves")
        db.execute("no such words")

    saved = Sqlite(tmp_path)
    saved.append(move(1, ""))
    saved.close()
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "MIGRATIONS", (*MIGRATIONS, broken))
        with pytest.raises(StoreError, match="syntax error"):
            Sqlite(tmp_path)
    again = Sqlite(tmp_path)
    assert again.updates() == [move(1, "")]
    again.close()


def test_a_state_of_a_newer_format_is_refused_with_a_hint(tmp_path: Path) -> None:
    Sqlite(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(
        StoreError, match=f"the state has format 99, this headway reads up to {len(MIGRATIONS)}"
    ) as caught:
        Sqlite(tmp_path)
    assert caught.value.hint == "pip install --upgrade headway"
    assert caught.value.where == str(tmp_path / FILE)


@pytest.mark.parametrize("columns", [{"kind": "rollout", "name": "f"}, {"name": "f", "pointer": "live"}])
def test_a_page_is_found_by_an_index_without_sorting(tmp_path: Path, columns: dict[str, str]) -> None:
    state = Sqlite(tmp_path)
    where, values = sqlite._where("place < ?", 9, **columns)
    table = "records" if "kind" in columns else "moves"
    plan = state._rows(f"EXPLAIN QUERY PLAN SELECT content FROM {table} {where} ORDER BY place DESC LIMIT 9", values)
    state.close()
    (step,) = [row[-1] for row in plan]
    assert step.startswith(f"SEARCH {table} USING INDEX {table}_of_") and step.endswith("AND place<?)")


def test_the_file_is_in_wal_mode_and_every_answer_is_on_disk(tmp_path: Path) -> None:
    state = Sqlite(tmp_path)
    assert state._rows("PRAGMA journal_mode") == [("wal",)]
    assert state._rows("PRAGMA synchronous") == [(2,)]
    state.close()


def test_a_file_that_is_not_a_database_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database, but long enough to be read as one" * 10)
    with pytest.raises(StoreError, match="file is not a database") as caught:
        Sqlite(tmp_path)
    assert caught.value.where == str(tmp_path / FILE)


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="the state cannot be read or written") as caught:
        Sqlite(tmp_path / "file")
    assert caught.value.hint == "name a folder"


def test_a_writer_that_waited_too_long_is_asked_to_try_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.01)
    state = Sqlite(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="database is locked") as caught:
            state.count_evaluation("f", "sha256:a")
    assert "try again" in caught.value.hint
    assert state.count_evaluation("f", "sha256:a") == 1
    state.close()


@pytest.mark.parametrize(
    ("pragma", "hint"), [("max_page_count = 1", "free space on this disk"), ("query_only = 1", "the right to write")]
)
def test_a_full_disk_or_a_missing_right_never_suggests_a_backup(tmp_path: Path, pragma: str, hint: str) -> None:
    state = Sqlite(tmp_path)
    state._rows(f"PRAGMA {pragma}")
    with pytest.raises(StoreError) as caught:
        state.save("rollout", bytes(100_000), name="f")
    assert hint in caught.value.hint and "backup" not in caught.value.hint
    state.close()


def test_a_disk_without_room_to_read_is_named_as_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
    assert "free space" in sqlite._hint(sqlite3.OperationalError("disk I/O error"), tmp_path / FILE)


@pytest.mark.parametrize("value", ["'text'", "1"])
def test_a_record_or_an_update_that_is_not_bytes_is_refused(tmp_path: Path, value: str) -> None:
    saved = Sqlite(tmp_path)
    saved.append(move(1, ""))
    saved.save("rollout", b"{}", name="f")
    with closing(sqlite3.connect(tmp_path / FILE)) as db, db:
        db.execute(f"UPDATE moves SET content = {value}")
        db.execute(f"UPDATE records SET content = {value}")
    for read in (
        saved.updates,
        saved.last,
        saved.recent_updates,
        lambda: saved.records("rollout"),
        lambda: saved.recent("rollout"),
        lambda: saved.latest("rollout", name="f"),
    ):
        with pytest.raises(StoreError, match="where bytes belong"):
            read()
    saved.close()
