"""State in one SQLite file, for the processes of one machine."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from headway.core.contracts import Lease, SavedRecord, SavedUpdate, Signed
from headway.core.errors import StoreError
from headway.core.record import digest_of, read
from headway.core.release import PointerUpdate
from headway.storage import atomic
from headway.storage.state import _leases

FILE = "state.sqlite"
BUSY_TIMEOUT_S = 10.0
_LOCKED, _DAMAGED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED), (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_NEEDED_BYTES = 64 * 1024  # its index of the write-ahead log takes half of this


def m001_moves(db: sqlite3.Connection) -> None:
    """Create the table of pointer updates, in the order of their chain."""
    db.execute(
        "CREATE TABLE moves (place INTEGER PRIMARY KEY, name TEXT NOT NULL, pointer TEXT NOT NULL,"
        " number INTEGER NOT NULL, content BLOB NOT NULL, signature BLOB NOT NULL, UNIQUE (name, pointer, number))"
    )
    db.execute("CREATE INDEX moves_of_pointer ON moves (name, pointer, place)")


def m002_records_and_looks(db: sqlite3.Connection) -> None:
    """Create the tables of records by kind, name and digest, and of evaluations on `test` by name and dataset."""
    db.execute(
        "CREATE TABLE records (place INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL,"
        " digest TEXT NOT NULL, content BLOB NOT NULL, UNIQUE (kind, name, digest))"
    )
    db.execute(
        "CREATE TABLE looks (name TEXT NOT NULL, dataset TEXT NOT NULL, count INTEGER NOT NULL,"
        " PRIMARY KEY (name, dataset))"
    )


def m003_kinds(db: sqlite3.Connection) -> None:
    """Find records by the names that their classes have today; their bytes stay as they are."""
    kinds = {
        "frontier": "search_result",
        "watch": "monitoring_report",
        "sent": "lineage_delivery",
        "learningcurve": "learning_curve",
        "erasureproof": "erasure_proof",
    }
    for old, new in kinds.items():
        db.execute("UPDATE records SET kind = ? WHERE kind = ?", (new, old))


def m004_records_of_name(db: sqlite3.Connection) -> None:
    """Find the last records of a kind and name without sorting all of them."""
    db.execute("CREATE INDEX records_of_name ON records (kind, name, place)")


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    m001_moves,
    m002_records_and_looks,
    m003_kinds,
    m004_records_of_name,
)


class Sqlite:
    """`<folder>/state.sqlite` in WAL mode: readers never wait, and what was acknowledged is on disk.

    Threads may share one instance (a lock serializes them); each process opens its own. A writer waits at most
    `BUSY_TIMEOUT_S` for another process, then raises StoreError.
    """

    def __init__(self, address: Path | str) -> None:
        folder = Path(address)
        self._path = folder / FILE
        self._lock = threading.RLock()
        atomic.sweep(folder)
        with self._translate_errors():
            if not self._path.exists():
                _create(self._path)
            self._db = sqlite3.connect(
                self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
        self._closing = weakref.finalize(self, self._db.close)
        try:
            self._open()
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; an instance that is dropped closes itself."""
        self._closing()

    def append(self, signed: Signed) -> bool:
        """Append an update if its pointer and the chain are where it expects them; see `State.append`."""
        move = read(PointerUpdate, signed.content)
        with self._transaction():
            last = self.last(move.name, move.pointer)
            move.expect_after(read(PointerUpdate, last.content) if last else None)
            end = self.last()
            if move.previous != (digest_of(end.content) if end else ""):
                return False
            self._db.execute(
                "INSERT INTO moves (name, pointer, number, content, signature) VALUES (?, ?, ?, ?, ?)",
                (move.name, move.pointer, move.number, signed.content, signed.signature),
            )
        return True

    def updates(self, name: str = "", pointer: str = "", *, since: int = 1) -> list[Signed]:
        """Return the pointer updates, oldest first; see `State.updates`."""
        where, values = _where("place >= ?" if since > 1 else "", since, name=name, pointer=pointer)
        rows = self._rows(f"SELECT content, signature FROM moves {where} ORDER BY place", values)
        return [Signed(content=self._blob(content), signature=self._blob(signature)) for content, signature in rows]

    def last(self, name: str = "", pointer: str = "") -> Signed | None:
        """Return the last of `updates`, found by the index."""
        found = self.recent_updates(name, pointer, limit=1)
        return found[0].signed if found else None

    def recent_updates(
        self, name: str = "", pointer: str = "", *, limit: int = 100, before: int = 0
    ) -> list[SavedUpdate]:
        """Return the last of `updates`, newest first; see `State.recent_updates`."""
        where, values = _where("place < ?" if before else "", before, name=name, pointer=pointer)
        query = f"SELECT place, content, signature FROM moves {where} ORDER BY place DESC LIMIT ?"
        rows = self._rows(query, (*values, limit))
        return [
            SavedUpdate(position, Signed(content=self._blob(content), signature=self._blob(signature)))
            for position, content, signature in rows
        ]

    def save(self, kind: str, content: bytes, *, name: str) -> str:
        """Save the bytes of a record under a name and return their digest; saving them again changes nothing."""
        digest = digest_of(content)
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO records (kind, name, digest, content) VALUES (?, ?, ?, ?)",
                (kind, name, digest, content),
            )
        return digest

    def records(self, kind: str, *, name: str = "", digest: str = "") -> list[bytes]:
        """Return the records of a kind, oldest first: all, or those of a name, or the one of a digest."""
        where, values = _where(kind=kind, name=name, digest=digest)
        return [self._blob(row[0]) for row in self._rows(f"SELECT content FROM records {where} ORDER BY place", values)]

    def latest(self, kind: str, *, name: str) -> bytes | None:
        """Return the last record of a kind and name, or None."""
        query = "SELECT content FROM records WHERE kind = ? AND name = ? ORDER BY place DESC LIMIT 1"
        rows = self._rows(query, (kind, name))
        return self._blob(rows[0][0]) if rows else None

    def recent(self, kind: str, *, name: str = "", limit: int = 100, before: int = 0) -> list[SavedRecord]:
        """Return the last records of a kind, newest first; see `State.recent`."""
        where, values = _where("place < ?" if before else "", before, kind=kind, name=name)
        query = f"SELECT place, kind, name, content FROM records {where} ORDER BY place DESC LIMIT ?"
        return self._saved(query, (*values, limit))

    def count(self, kind: str, *, name: str = "") -> int:
        """Return the number of records of a kind, or of a kind and name."""
        where, values = _where(kind=kind, name=name)
        return int(self._rows(f"SELECT COUNT(*) FROM records {where}", values)[0][0])

    def count_evaluation(self, name: str, dataset: str) -> int:
        """Count one more evaluation of the `test` period of a dataset; return how many there were."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO looks (name, dataset, count) VALUES (?, ?, 1)"
                " ON CONFLICT (name, dataset) DO UPDATE SET count = count + 1",
                (name, dataset),
            )
            return self.test_evaluations(name, dataset)

    def test_evaluations(self, name: str, dataset: str) -> int:
        """Return how often the `test` period of a dataset was evaluated for a name."""
        rows = self._rows("SELECT count FROM looks WHERE name = ? AND dataset = ?", (name, dataset))
        return int(rows[0][0]) if rows else 0

    def all_records(self, *, after: int = 0, limit: int = 100) -> list[SavedRecord]:
        """Return records of every kind and name, oldest first; see `State.all_records`."""
        query = "SELECT place, kind, name, content FROM records WHERE place > ? ORDER BY place LIMIT ?"
        return self._saved(query, (after, limit))

    def all_evaluations(self) -> dict[tuple[str, str], int]:
        """Return the number of evaluations by name and dataset."""
        return {(name, dataset): count for name, dataset, count in self._rows("SELECT name, dataset, count FROM looks")}

    def lease(self, name: str) -> AbstractContextManager[Lease]:
        """Hold the lease of a name by the lock of a file; see `State.lease`."""
        return _leases.file_lease(self._path.parent, name)

    def _saved(self, query: str, values: tuple[object, ...]) -> list[SavedRecord]:
        rows = self._rows(query, values)
        return [SavedRecord(position, kind, name, self._blob(content)) for position, kind, name, content in rows]

    def _blob(self, value: object) -> bytes:
        """Return the bytes of a column; raises StoreError for another type, which SQLite accepts in any column."""
        if not isinstance(value, bytes):
            what = f"the state holds {'text' if isinstance(value, str) else 'no bytes'} where bytes belong"
            raise StoreError(what, where=str(self._path), hint="restore it from a backup")
        return value

    def _open(self) -> None:
        with self._translate_errors():
            self._db.execute("PRAGMA synchronous = FULL")
        if self._format() != len(MIGRATIONS):
            with self._transaction():
                self._migrate()

    def _migrate(self) -> None:
        """Migrate the tables; the format is read under the lock, because another process may migrate first."""
        for number in range(self._format(), len(MIGRATIONS)):
            MIGRATIONS[number](self._db)
            self._db.execute(f"PRAGMA user_version = {number + 1}")

    def _format(self) -> int:
        found = int(self._rows("PRAGMA user_version")[0][0])
        if found > len(MIGRATIONS):
            raise StoreError(
                f"the state has format {found}, this headway reads up to {len(MIGRATIONS)}",
                where=str(self._path),
                hint="pip install --upgrade headway",
            )
        return found

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock, self._translate_errors():
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Run one write transaction: all of it is saved, or nothing."""
        with self._lock, self._translate_errors(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"the state cannot be read or written: {error}", where=str(self._path), hint=_hint(error, self._path)
            ) from error


def _hint(error: sqlite3.Error | OSError, path: Path) -> str:
    """Return what to do about an error; only a damaged file is restored, because a backup lacks the latest records."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _LOCKED:
        return "wait for the other process and try again"
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "name a folder"
    if code in _DAMAGED:
        return "restore it from a backup"
    if code == sqlite3.SQLITE_FULL or getattr(error, "errno", 0) == errno.ENOSPC or _is_full(path.parent):
        return "free space on this disk; saved records are intact"
    if code == sqlite3.SQLITE_READONLY or not os.access(path.parent, os.W_OK):
        return (
            "give this user the right to write in this folder; SQLite needs it to read, too; saved records are intact"
        )
    return "check this disk first: a backup lacks the latest records"


def _is_full(folder: Path) -> bool:
    """Return whether a disk lacks the space that SQLite needs even to read."""
    try:
        return shutil.disk_usage(folder).free < _NEEDED_BYTES
    except OSError:
        return False


def _create(path: Path) -> None:
    """Create an empty file in WAL mode elsewhere first: SQLite fails if two processes switch a file to WAL at once."""
    atomic.make_folder(path.parent)
    with atomic.aside(path.parent) as new:
        with closing(sqlite3.connect(new / FILE)) as db:
            db.execute("PRAGMA journal_mode = WAL")
        with suppress(FileExistsError):
            os.link(new / FILE, path)
    atomic.sync(path.parent)


def _where(limit: str = "", minimum: int = 0, **columns: str) -> tuple[str, tuple[object, ...]]:
    """Build the WHERE clause for the given columns, and a limit of places; an empty value or limit matches any."""
    wanted: dict[str, object] = {f"{column} = ?": value for column, value in columns.items() if value}
    if limit:
        wanted[limit] = minimum
    return (f"WHERE {' AND '.join(wanted)}" if wanted else ""), tuple(wanted.values())


plugin = Sqlite
