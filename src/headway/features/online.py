"""Online store of a feature view: the newest values of each key, looked up during a request."""

from __future__ import annotations

import re
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from headway.core.arrays import Floats, Ints
from headway.core.errors import DataError, StoreError

NEVER_US = -1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_BATCH_KEYS = 500
_BUSY_S = 5.0
_PUT = (
    "INSERT INTO newest (key, at_us, content) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE"
    " SET at_us = excluded.at_us, content = excluded.content WHERE excluded.at_us >= at_us"
)


class OnlineTable:
    """`<folder>/<name>.sqlite`: a row of numbers per key, with the time at which they became known.

    Many processes may read while one writes. Threads take turns. The file is created by the first `put`.
    """

    def __init__(self, folder: Path, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise DataError(f"invalid table name {name!r}", hint="letters, digits, _ . and -")
        self._path = folder / f"{name}.sqlite"
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close the file; the next call reopens it."""
        with self._lock:
            if self._db is not None:
                self._closing()
                self._db = None

    def put(self, keys: Sequence[str], values: Floats, times_us: Ints) -> None:
        """Store a row of values per key, all or nothing; an older row never replaces a newer one.

        Parameters
        ----------
        keys : sequence of str
            The keys.
        values : ndarray of shape (n, d)
            The features.
        times_us : ndarray of shape (n,)
            When the values became known, in microseconds since 1970.

        Raises
        ------
        DataError
            If the lengths differ, or the table has another number of columns.
        """
        if not len(keys) == len(values) == len(times_us):
            raise DataError(f"{len(keys)} keys, {len(values)} rows and {len(times_us)} times differ in number")
        rows = np.ascontiguousarray(values, dtype=np.float64)
        new_rows = ((key, int(at), row.tobytes()) for key, at, row in zip(keys, times_us, rows, strict=True))
        with self._opened(make=True) as db, db:
            _make(db)
            db.execute("BEGIN IMMEDIATE")
            self._expect_width(db, rows.shape[1])
            db.executemany(_PUT, new_rows)

    def get(self, keys: Sequence[str]) -> tuple[Floats, Ints]:
        """Look up keys.

        Returns
        -------
        values : ndarray of shape (n, d)
            NaN for unknown keys.
        times_us : ndarray of shape (n,)
            When the values became known, in microseconds; `NEVER_US` for unknown keys.

        Raises
        ------
        StoreError
            If the table does not exist.
        """
        with self._opened(make=False) as db:
            width = int(db.execute("SELECT width FROM form").fetchone()[0])
            found: dict[str, tuple[int, bytes]] = {}
            distinct = list(dict.fromkeys(keys))
            for start in range(0, len(distinct), _BATCH_KEYS):
                part = distinct[start : start + _BATCH_KEYS]
                query = f"SELECT key, at_us, content FROM newest WHERE key IN ({','.join('?' * len(part))})"
                found.update((key, (at_us, content)) for key, at_us, content in db.execute(query, part))
        return _arrays(keys, found, width)

    def delete(self, keys: Sequence[str]) -> int:
        """Delete keys, and every byte of them in the file and its journal; return the number of deleted rows.

        Raises
        ------
        StoreError
            If bytes remain because other processes keep the file open; the call can be repeated.
        """
        with self._opened(make=False) as db:
            db.execute("PRAGMA secure_delete = ON")
            marks = ",".join("?" * len(keys))
            count = db.execute(f"DELETE FROM newest WHERE key IN ({marks})", list(keys)).rowcount
            db.execute("VACUUM")  # an update leaves the old row in the free part of its page
            if db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                hint = "wait until other processes have finished reading, and try again"
                raise StoreError("the journal of the online table is in use", where=str(self._path), hint=hint)
        return int(count)

    def _expect_width(self, db: sqlite3.Connection, width: int) -> None:
        known = db.execute("SELECT width FROM form").fetchone()
        if known is None:
            db.execute("INSERT INTO form (width) VALUES (?)", (width,))
        elif known[0] != width:
            raise DataError(f"the table has {known[0]} columns, got {width}", where=str(self._path))

    def _open(self, *, make: bool) -> sqlite3.Connection:
        if make:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        elif not self._path.is_file():
            hint = "store features first: OnlineTable.put"
            raise StoreError("the online table does not exist", where=str(self._path), hint=hint)
        self._db = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        self._closing = weakref.finalize(self, self._db.close)
        return self._db

    @contextmanager
    def _opened(self, *, make: bool) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                yield self._db or self._open(make=make)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"the online table cannot be read or written: {error}", where=str(self._path)) from error


def online_tables(folder: Path) -> list[str]:
    """Return the names of the online tables in a folder."""
    return sorted(path.stem for path in folder.glob("*.sqlite"))


def _make(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("CREATE TABLE IF NOT EXISTS form (width INTEGER NOT NULL)")
    db.execute(
        "CREATE TABLE IF NOT EXISTS newest (key TEXT PRIMARY KEY, at_us INTEGER NOT NULL, content BLOB NOT NULL)"
        " WITHOUT ROWID"
    )


def _arrays(keys: Sequence[str], found: dict[str, tuple[int, bytes]], width: int) -> tuple[Floats, Ints]:
    absent = (NEVER_US, np.full(width, np.nan).tobytes())
    rows = [found.get(key, absent) for key in keys]
    values = np.frombuffer(b"".join(content for _, content in rows), dtype=np.float64).reshape(len(rows), width)
    return values, np.array([at_us for at_us, _ in rows], dtype=np.int64)
