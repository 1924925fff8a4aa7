"""Online store in files: one SQLite database per table, looked up in the process of the server."""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np

from headway.core.arrays import Floats, Ints
from headway.core.errors import DataError, StoreError
from headway.features.online_rows import (
    MAX_STRINGS,
    NEVER_US,
    STATES,
    packed_rows,
    require_key,
    require_table_name,
)

_BATCH_KEYS = 500
_SCANNED_ROWS = 1_000
_BUSY_S = 5.0
_LIVE, _STAGED = "newest", "staged"
_ROWS = (
    "CREATE TABLE IF NOT EXISTS {} (key TEXT PRIMARY KEY, at_us INTEGER NOT NULL, content BLOB NOT NULL) WITHOUT ROWID"
)
_TABLES = (
    "CREATE TABLE IF NOT EXISTS form (width INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS progress (of TEXT PRIMARY KEY, content BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS vocabulary (feature TEXT, string TEXT, code INTEGER, PRIMARY KEY (feature, string))"
    " WITHOUT ROWID",
    "CREATE UNIQUE INDEX IF NOT EXISTS code ON vocabulary (feature, code)",
    "CREATE TABLE IF NOT EXISTS next_code (feature TEXT PRIMARY KEY, code INTEGER NOT NULL)",
)
_OTHERS = ("form", "progress", "vocabulary", "next_code")
_PUT = (
    "INSERT INTO {} (key, at_us, content) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE"
    " SET at_us = excluded.at_us, content = excluded.content WHERE excluded.at_us >= at_us"
)


_FIND_ONE = "SELECT at_us, content FROM {} WHERE key = ?"
_FIND = "SELECT at_us, content FROM json_each(?) AS wanted LEFT JOIN {} AS rows ON rows.key = wanted.value"
_Row = tuple[int | None, bytes | None]
_NO_ROW: _Row = (None, None)


class SqliteOnlineStore:
    """Tables `<folder>/<name>.sqlite`. Many processes may read while one writes; threads take turns on a table."""

    is_remote: ClassVar[bool] = False

    def __init__(self, address: Path | str) -> None:
        self._folder = Path(address)
        self._opened: dict[str, _OnlineTable] = {}
        self._lock = threading.Lock()

    def read(self, requests: Sequence[tuple[str, Sequence[str]]]) -> list[tuple[Floats, Ints]]:
        """Look up the keys of each table; see `OnlineStore.read`."""
        return [self._table(table).get(keys) for table, keys in requests]

    def read_with_states(
        self, requests: Sequence[tuple[str, Sequence[str]]], states: Sequence[tuple[str, Sequence[str]]]
    ) -> tuple[list[tuple[Floats, Ints]], list[list[bytes | None]]]:
        """Look up rows and states; see `OnlineStore.read_with_states`."""
        found = [[content for _, content in self._table(table).rows_of(keys)[1]] for table, keys in states]
        return self.read(requests), found

    def replace_states(
        self,
        table: str,
        before: Mapping[str, bytes | None],
        after: Mapping[str, bytes | None],
        *,
        staged: bool = False,
        progress: bytes | None = None,
    ) -> Mapping[str, bytes | None] | None:
        """Store states in one transaction; see `OnlineStore.replace_states`."""
        for key in (*before, *after):
            require_key(table, key)
        with self._table(table).changing(make=True) as db:
            _expect_width(db, table, STATES)
            target = _STAGED if staged else _LIVE
            db.execute(_ROWS.format(target))
            found = _rows_of(db, list(before), target)
            stored = {key: content for key, (_, content) in zip(before, found, strict=True)}
            if stored != before:
                return stored
            for key, content in after.items():
                if content is None:
                    db.execute(f"DELETE FROM {target} WHERE key = ?", (key,))
                else:
                    db.execute(
                        f"INSERT OR REPLACE INTO {target} (key, at_us, content) VALUES (?, 0, ?)", (key, content)
                    )
            if progress is not None:
                db.execute("INSERT OR REPLACE INTO progress (of, content) VALUES (?, ?)", (target, progress))
        return None

    def write(
        self,
        table: str,
        keys: Sequence[str],
        values: Floats,
        event_us: Ints,
        *,
        staged: bool = False,
        progress: bytes | None = None,
    ) -> int:
        """Store a batch in one transaction; see `OnlineStore.write`."""
        rows, width = packed_rows(table, keys, values, event_us), values.shape[1]
        with self._table(table).changing(make=True) as db:
            _expect_width(db, table, width)
            target = _STAGED if staged else _LIVE
            db.execute(_ROWS.format(target))
            stored = db.executemany(_PUT.format(target), rows).rowcount if rows else 0
            if not staged and _exists(db, _STAGED):
                db.executemany(_PUT.format(_STAGED), rows)
            if progress is not None:
                db.execute("INSERT OR REPLACE INTO progress (of, content) VALUES (?, ?)", (target, progress))
        return stored

    def progress(self, table: str, *, staged: bool = False) -> bytes:
        """Return the last `progress`; see `OnlineStore.progress`."""
        target = _STAGED if staged else _LIVE
        with self._table(table).reading() as db:
            found = None
            if db is not None and _exists(db, target) and _exists(db, "progress"):
                found = db.execute("SELECT content FROM progress WHERE of = ?", (target,)).fetchone()
        return b"" if found is None else bytes(found[0])

    def publish(self, table: str) -> None:
        """Put the staged table in place of a table, in one transaction."""
        with self._table(table).changing(make=False) as db:
            if not _exists(db, _STAGED):
                raise StoreError("nothing is staged for this table", where=f"online table {table}")
            db.execute(f"DROP TABLE IF EXISTS {_LIVE}")
            db.execute(f"ALTER TABLE {_STAGED} RENAME TO {_LIVE}")
            db.execute("DELETE FROM progress WHERE of = ?", (_LIVE,))
            db.execute("UPDATE progress SET of = ? WHERE of = ?", (_LIVE, _STAGED))

    def discard_staged(self, table: str) -> None:
        """Delete the staged table, if there is one."""
        if self._table(table).path.is_file():
            with self._table(table).changing(make=True) as db:
                db.execute(f"DROP TABLE IF EXISTS {_STAGED}")
                db.execute("DELETE FROM progress WHERE of = ?", (_STAGED,))

    def tables(self, *, staged: bool = False) -> dict[str, int]:
        """Return the number of columns of each table; see `OnlineStore.tables`."""
        widths = {}
        for path in sorted(self._folder.glob("*.sqlite")):
            with self._table(path.stem).reading() as db:
                if db is not None and _exists(db, _STAGED if staged else _LIVE):
                    widths[path.stem] = int(db.execute("SELECT width FROM form").fetchone()[0])
        return widths

    def scan(self, table: str, *, staged: bool = False) -> Iterator[tuple[list[str], Floats, Ints]]:
        """Yield all rows of a table, in the order of their keys; see `OnlineStore.scan`."""
        after: list[str] = []
        rows = _STAGED if staged else _LIVE
        while True:
            with self._table(table).reading() as db:
                if db is None or not _exists(db, rows):
                    return
                where = "WHERE key > ?" if after else ""
                query = f"SELECT key, at_us, content FROM {rows} {where} ORDER BY key LIMIT {_SCANNED_ROWS}"
                found = db.execute(query, after).fetchall()
                width = int(db.execute("SELECT width FROM form").fetchone()[0])
            if not found:
                return
            keys = [key for key, _, _ in found]
            yield keys, *_arrays([row[1:] for row in found], width)
            after = keys[-1:]

    def delete(self, table: str, keys: Sequence[str]) -> int:
        """Delete keys and strings, and every byte of them in the file and its journal; see `OnlineStore.delete`.

        Raises
        ------
        StoreError
            If bytes remain because other processes keep the file open; the call can be repeated.
        """
        count, keys = 0, [key for key in keys if _is_text(key)]
        with self._table(table).changing(make=False) as db:
            kinds = [("key", name) for name in (_LIVE, _STAGED)] + [("string", "vocabulary")]
            for column, name in kinds:
                for part in _parts(keys) if _exists(db, name) else ():
                    deleted = db.execute(f"DELETE FROM {name} WHERE {column} IN ({_marks(part)})", part).rowcount
                    count += deleted if name == _LIVE else 0
        self._table(table).compact()
        return count

    def drop(self, table: str) -> None:
        """Delete a table and its file."""
        self._table(table).drop()

    def codes(self, table: str, feature: str, strings: Sequence[str]) -> Ints:
        """Return the code of each string, and append new ones; see `OnlineStore.codes`."""
        distinct = list(dict.fromkeys(strings))
        for string in distinct:
            require_key(table, string)
        known: dict[str, int] = {}
        with self._table(table).changing(make=True) as db:
            for part in _parts(distinct):
                query = f"SELECT string, code FROM vocabulary WHERE feature = ? AND string IN ({_marks(part)})"
                known.update(db.execute(query, [feature, *part]).fetchall())
            new = [string for string in distinct if string not in known]
            found = db.execute("SELECT code FROM next_code WHERE feature = ?", (feature,)).fetchone()
            first = int(found[0]) if found else 0
            if first + len(new) > MAX_STRINGS:
                raise DataError(f"feature '{feature}' has more than {MAX_STRINGS:,} different strings", where=table)
            rows = [(feature, string, first + index) for index, string in enumerate(new)]
            db.executemany("INSERT INTO vocabulary (feature, string, code) VALUES (?, ?, ?)", rows)
            db.execute("INSERT OR REPLACE INTO next_code (feature, code) VALUES (?, ?)", (feature, first + len(new)))
        known.update((string, code) for _, string, code in rows)
        return np.array([known[string] for string in strings], dtype=np.int64)

    def strings(self, table: str, feature: str, codes: Sequence[int]) -> list[str | None]:
        """Return the string of each code; see `OnlineStore.strings`."""
        found: dict[int, str] = {}
        with self._table(table).reading() as db:
            if db is not None and _exists(db, "vocabulary"):
                for part in _parts(list(dict.fromkeys(codes))):
                    query = f"SELECT code, string FROM vocabulary WHERE feature = ? AND code IN ({_marks(part)})"
                    found.update(db.execute(query, [feature, *part]).fetchall())
        return [found.get(code) for code in codes]

    def close(self) -> None:
        """Close the files; the next call reopens them."""
        for table in list(self._opened.values()):
            table.close()

    def _table(self, name: str) -> _OnlineTable:
        found = self._opened.get(name)
        if found is None:
            require_table_name(name)
            with self._lock:
                found = self._opened.setdefault(name, _OnlineTable(self._folder / f"{name}.sqlite"))
        return found


class _OnlineTable:
    """The file of a table, and one connection to it, on which threads take turns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None

    def get(self, keys: Sequence[str]) -> tuple[Floats, Ints]:
        width, found = self.rows_of(keys)
        return _arrays(found, width)

    def rows_of(self, keys: Sequence[str]) -> tuple[int, list[_Row]]:
        """Return the number of columns, and event time and content of each key."""
        with self.reading() as db:
            if db is None:
                raise self._absent()
            try:
                width = int(db.execute("SELECT width FROM form").fetchone()[0])
                found = _rows_of(db, keys)
            except sqlite3.OperationalError as error:
                if _exists(db, _LIVE):
                    raise
                self._close()  # the file may be another one by now
                raise self._absent() from error
        return width, found

    def close(self) -> None:
        with self._lock:
            self._close()

    def drop(self) -> None:
        if not self.path.is_file():
            return
        with self.changing(make=False) as db:  # others may keep the file open
            for name in (_LIVE, _STAGED, *_OTHERS):
                db.execute(f"DROP TABLE IF EXISTS {name}")
        with self._lock:
            self._close()
            for suffix in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def compact(self) -> None:
        """Rewrite the file without the free parts of its pages, and empty its journal."""
        with self._opened(make=False) as db:
            db.execute("VACUUM")
            if db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                hint = "wait until other processes have finished reading, and try again"
                raise StoreError("the journal of the online table is in use", where=str(self.path), hint=hint)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection | None]:
        """Give the connection; None without a file."""
        if self._db is None and not self.path.is_file():
            yield None
        else:
            with self._opened(make=False) as db:
                yield db

    @contextmanager
    def changing(self, *, make: bool) -> Iterator[sqlite3.Connection]:
        """Give the connection in a transaction that no other process writes in; `make` makes what is absent."""
        with self._opened(make=make) as db:
            if make:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = NORMAL")
            db.execute("BEGIN IMMEDIATE")
            try:
                for statement in _TABLES if make else ():
                    db.execute(statement)
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    @contextmanager
    def _opened(self, *, make: bool) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                yield self._db or self._open(make=make)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"the online table cannot be read or written: {error}", where=str(self.path)) from error

    def _open(self, *, make: bool) -> sqlite3.Connection:
        if make:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        elif not self.path.is_file():
            raise self._absent()
        self._db = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        self._closing = weakref.finalize(self, self._db.close)
        return self._db

    def _close(self) -> None:
        if self._db is not None:
            self._closing()
            self._db = None

    def _absent(self) -> StoreError:
        hint = f"headway features materialize {self.path.stem.rpartition('.v')[0] or self.path.stem}"
        return StoreError("the online table does not exist", where=str(self.path), hint=hint)


def _exists(db: sqlite3.Connection, table: str) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is not None


def _expect_width(db: sqlite3.Connection, table: str, width: int) -> None:
    known = db.execute("SELECT width FROM form").fetchone()
    if known is None:
        db.execute("INSERT INTO form (width) VALUES (?)", (width,))
    elif known[0] != width:
        raise DataError(f"the table has {known[0]} columns, got {width}", where=f"online table {table}")


def _rows_of(db: sqlite3.Connection, keys: Sequence[str], table: str = _LIVE) -> list[_Row]:
    """Return event time and content of each key, None and None for one that is not there.

    The keys are one parameter, whatever their number: SQLite takes longer to read and to sort those of
    `IN (?, ?, ...)` than to search for their rows. The array is the outer loop, so rows come in the order of the keys.
    """
    try:
        text = msgspec.json.encode(keys).decode()
    except UnicodeEncodeError:
        text = msgspec.json.encode([key if _is_text(key) else None for key in keys]).decode()
    rows = db.execute(_FIND.format(table), (text,)).fetchall()
    if "\\u0000" in text:  # SQLite ends a string of JSON there
        for index in [index for index, key in enumerate(keys) if "\0" in key and _is_text(key)]:
            rows[index] = db.execute(_FIND_ONE.format(table), (keys[index],)).fetchone() or _NO_ROW
    return rows


def _parts(values: list[Any]) -> Iterator[list[Any]]:
    return (values[start : start + _BATCH_KEYS] for start in range(0, len(values), _BATCH_KEYS))


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _is_text(key: str) -> bool:
    """Return whether a string has no lone surrogates; one that has was never stored."""
    return key.isascii() or not any("\ud800" <= character <= "\udfff" for character in key)


def _arrays(rows: Sequence[_Row], width: int) -> tuple[Floats, Ints]:
    if width == STATES:
        return np.empty((len(rows), 0)), np.array([NEVER_US if at is None else at for at, _ in rows], dtype=np.int64)
    if _NO_ROW in rows:
        absent = (NEVER_US, np.full(width, np.nan, dtype="<f8").tobytes())
        rows = [absent if row == _NO_ROW else row for row in rows]
    times, contents = zip(*rows, strict=True) if rows else ((), ())
    values = np.frombuffer(b"".join(contents), dtype="<f8").reshape(len(rows), width)
    return values, np.array(times, dtype=np.int64)


plugin = SqliteOnlineStore
