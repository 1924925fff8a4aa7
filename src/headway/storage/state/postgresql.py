"""State in a PostgreSQL database, for the machines of a team."""

from __future__ import annotations

import ipaddress
import os
import socket
import uuid
import weakref
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from psycopg import errors as pg
from sqlalchemy.dialects.postgresql import insert

from headway.core.contracts import Lease, SavedRecord, SavedUpdate, Signed
from headway.core.errors import ConfigError, LeaseHeld, LeaseLost, StoreError, StoreUnavailable
from headway.core.plugins import load_sibling
from headway.core.record import digest_of, read
from headway.core.release import PointerUpdate

ADDRESS = "postgresql://USER@HOST/DATABASE"
FORMAT = "0002"
"""Last migration in `migrations/versions`."""
VERSION_TABLE = "headway_version"
CONNECT_TIMEOUT_S = 10
STATEMENT_TIMEOUT_S = 30
LOCK_TIMEOUT_S = 10
ATTEMPTS = 3
# Advisory locks have two numbers. The first is ours; the second is what is locked, for leases a digest of their name.
_LOCKS = 0x68647779
_UPDATES, _RECORDS, _EVALUATIONS, _MIGRATION = range(1, 5)
_LEASES = 0x6864776C

_tables = sa.MetaData()
UPDATES = sa.Table(
    "headway_pointer_updates",
    _tables,
    sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("pointer", sa.Text, nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("signature", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("name", "pointer", "number"),
)
RECORDS = sa.Table(
    "headway_records",
    _tables,
    sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("kind", "name", "digest"),
)
EVALUATIONS = sa.Table(
    "headway_evaluations",
    _tables,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("dataset", sa.Text, nullable=False),
)
_SAVED = RECORDS.c.place, RECORDS.c.kind, RECORDS.c.name, RECORDS.c.content
_T = TypeVar("_T")


class Postgresql:
    """Pointer updates, records and evaluations in three tables of a database; their names begin with `headway_`.

    Threads share one instance; each process opens its own. A statement that lost its connection runs again on a new
    one. That is safe, because a write recognizes what it has written itself.
    """

    def __init__(self, address: Path | str) -> None:
        url = _parse(str(address))
        self._where = url.set(drivername="postgresql", query={}).render_as_string()
        self._engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args=_connection_settings(url),
            pool_size=2,
            max_overflow=8,
            pool_timeout=CONNECT_TIMEOUT_S,
        )
        sa.event.listen(self._engine, "connect", _limit_times)
        self._reading = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._closing = weakref.finalize(self, self._engine.dispose)
        try:
            if self._format() != FORMAT:
                self._write(_MIGRATION, self._migrate)
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections; an instance that is dropped closes them itself."""
        self._closing()

    def append(self, signed: Signed) -> bool:
        """Append an update if its pointer and the chain are where it expects them; see `State.append`."""
        move = read(PointerUpdate, signed.content)

        def work(db: sa.Connection, *, again: bool) -> bool:
            own = _of(move.name, move.pointer)
            last = _first(db.execute(_ordered(own, last=True)))
            if again and _first(db.execute(_ordered(own).where(UPDATES.c.number == move.number))) == signed:
                return True
            move.expect_after(read(PointerUpdate, last.content) if last else None)
            end = db.execute(
                sa.select(UPDATES.c.place, UPDATES.c.content).order_by(UPDATES.c.place.desc()).limit(1)
            ).first()
            if move.previous != (digest_of(end.content) if end else ""):
                return False
            row = {"place": end.place + 1 if end else 1, "name": move.name, "pointer": move.pointer}
            row |= {"number": move.number, "content": signed.content, "signature": signed.signature}
            db.execute(sa.insert(UPDATES).values(row))
            return True

        return self._write(_UPDATES, work)

    def updates(self, name: str = "", pointer: str = "", *, since: int = 1) -> list[Signed]:
        """Return the pointer updates, oldest first; see `State.updates`."""
        rows = self._rows(_ordered([*_of(name, pointer), UPDATES.c.place >= since]))
        return [Signed(content=row.content, signature=row.signature) for row in rows]

    def last(self, name: str = "", pointer: str = "") -> Signed | None:
        """Return the last of `updates`, found by the index."""
        return _first(self._rows(_ordered(_of(name, pointer), last=True)))

    def recent_updates(
        self, name: str = "", pointer: str = "", *, limit: int = 100, before: int = 0
    ) -> list[SavedUpdate]:
        """Return the last of `updates`, newest first; see `State.recent_updates`."""
        columns = UPDATES.c.place, UPDATES.c.content, UPDATES.c.signature
        rows = self._rows(_newest(UPDATES, columns, _of(name, pointer), limit=limit, before=before))
        return [SavedUpdate(row.place, Signed(content=row.content, signature=row.signature)) for row in rows]

    def save(self, kind: str, content: bytes, *, name: str) -> str:
        """Save the bytes of a record under a name and return their digest; saving them again changes nothing."""
        digest = digest_of(content)

        def work(db: sa.Connection, *, again: bool) -> str:  # noqa: ARG001 - saving again changes nothing anyway
            following = sa.select(sa.func.coalesce(sa.func.max(RECORDS.c.place), 0) + 1).scalar_subquery()
            row = {"place": following, "kind": kind, "name": name, "digest": digest, "content": content}
            db.execute(insert(RECORDS).values(row).on_conflict_do_nothing(index_elements=["kind", "name", "digest"]))
            return digest

        return self._write(_RECORDS, work)

    def records(self, kind: str, *, name: str = "", digest: str = "") -> list[bytes]:
        """Return the records of a kind, oldest first: all, or those of a name, or the one of a digest."""
        query = sa.select(RECORDS.c.content).where(*_equal(RECORDS, kind=kind, name=name, digest=digest))
        return [row.content for row in self._rows(query.order_by(RECORDS.c.place))]

    def latest(self, kind: str, *, name: str) -> bytes | None:
        """Return the last record of a kind and name, or None."""
        query = sa.select(RECORDS.c.content).where(RECORDS.c.kind == kind, RECORDS.c.name == name)
        rows = self._rows(query.order_by(RECORDS.c.place.desc()).limit(1))
        return rows[0].content if rows else None

    def recent(self, kind: str, *, name: str = "", limit: int = 100, before: int = 0) -> list[SavedRecord]:
        """Return the last records of a kind, newest first; see `State.recent`."""
        conditions = _equal(RECORDS, kind=kind, name=name)
        return [
            SavedRecord(*row) for row in self._rows(_newest(RECORDS, _SAVED, conditions, limit=limit, before=before))
        ]

    def count(self, kind: str, *, name: str = "") -> int:
        """Return the number of records of a kind, or of a kind and name."""
        query = sa.select(sa.func.count()).select_from(RECORDS).where(*_equal(RECORDS, kind=kind, name=name))
        return int(self._rows(query)[0][0])

    def count_evaluation(self, name: str, dataset: str) -> int:
        """Count one more evaluation of the `test` period of a dataset; return how many there were."""
        row = {"id": uuid.uuid4(), "name": name, "dataset": dataset}

        def work(db: sa.Connection, *, again: bool) -> int:  # noqa: ARG001 - its id is counted once
            db.execute(insert(EVALUATIONS).values(row).on_conflict_do_nothing())
            return int(db.execute(_count(name, dataset)).scalar_one())

        return self._write(_EVALUATIONS, work)

    def test_evaluations(self, name: str, dataset: str) -> int:
        """Return how often the `test` period of a dataset was evaluated for a name."""
        return int(self._rows(_count(name, dataset))[0][0])

    def all_records(self, *, after: int = 0, limit: int = 100) -> list[SavedRecord]:
        """Return records of every kind and name, oldest first; see `State.all_records`."""
        query = sa.select(*_SAVED).where(RECORDS.c.place > after)
        return [SavedRecord(*row) for row in self._rows(query.order_by(RECORDS.c.place).limit(limit))]

    def all_evaluations(self) -> dict[tuple[str, str], int]:
        """Return the number of evaluations by name and dataset."""
        columns = EVALUATIONS.c.name, EVALUATIONS.c.dataset
        rows = self._rows(sa.select(*columns, sa.func.count()).group_by(*columns))
        return {(name, dataset): count for name, dataset, count in rows}

    @contextmanager
    def lease(self, name: str) -> Iterator[Lease]:
        """Hold the lease of a name by a lock of the database session; see `State.lease`."""
        key = zlib.crc32(name.encode()) - 2**31
        db, acquired = self._try_lock(key)
        with db:
            if not acquired:
                raise LeaseHeld(
                    f"{name} is already being done by {self._holder(key)}",
                    where=self._where,
                    hint="wait until that process ends",
                )
            try:
                yield _SessionLease(db, name, key)
            finally:
                with suppress(sa.exc.SQLAlchemyError):  # a lost connection has released it
                    db.execute(sa.select(sa.func.pg_advisory_unlock(_LEASES, key)))

    def _try_lock(self, key: int) -> tuple[sa.Connection, bool]:
        """Return a connection, and whether its session took the lock of a lease."""
        for attempt in range(1, ATTEMPTS + 1):
            with self._errors(lost=attempt < ATTEMPTS), ExitStack() as stack:
                db = stack.enter_context(self._reading.connect())
                acquired = bool(db.execute(sa.select(sa.func.pg_try_advisory_lock(_LEASES, key))).scalar_one())
                stack.pop_all()
                return db, acquired
        raise AssertionError("unreachable")

    def _holder(self, key: int) -> str:
        """Return the client that holds a lease, as it named itself."""
        rows = self._rows(_holder_of(key))
        return str(rows[0][0]) if rows else "a process that has just ended"

    def _format(self) -> str:
        """Return the last migration of the tables; empty before the first. Raises StoreError for one of the future."""
        there = self._rows(sa.select(sa.func.to_regclass(VERSION_TABLE)))[0][0]
        rows = self._rows(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")) if there else []
        found = str(rows[0][0]) if rows else ""
        if found > FORMAT:
            raise StoreError(
                f"the state has format {found}, this headway reads up to {FORMAT}",
                where=self._where,
                hint="pip install --upgrade headway",
            )
        return found

    def _migrate(self, db: sa.Connection, *, again: bool) -> None:
        load_sibling(__name__, "migrations", reads="the state in PostgreSQL").migrate(db)

    def _rows(self, query: sa.Executable) -> Sequence[Any]:
        """Return the rows of a query, read again on a new connection if the first was lost."""
        for attempt in range(1, ATTEMPTS + 1):
            with self._errors(lost=attempt < ATTEMPTS), self._reading.connect() as db:
                return db.execute(query).all()
        raise AssertionError("unreachable")

    def _write(self, lock: int, work: Callable[..., _T]) -> _T:
        """Run a transaction that no other of its kind overlaps; again on a new connection if the first was lost.

        `work` is called with the connection, and `again=True` if the outcome of the first attempt is unknown. The lock
        makes a second attempt wait for the end of the first.
        """
        for attempt in range(1, ATTEMPTS + 1):
            with self._errors(lost=attempt < ATTEMPTS), self._engine.begin() as db:
                db.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCKS, lock)))
                return work(db, again=attempt > 1)
        raise AssertionError("unreachable")

    @contextmanager
    def _errors(self, *, lost: bool = False) -> Iterator[None]:
        """Raise StoreError for errors of the database; with `lost`, pass over a connection that was lost."""
        try:
            yield
        except sa.exc.DBAPIError as error:
            if not (lost and error.connection_invalidated):
                raise self._error(error.orig, lost=error.connection_invalidated) from error
        except sa.exc.SQLAlchemyError as error:
            raise self._error(error) from error

    def _error(self, error: BaseException | None, *, lost: bool = False) -> StoreError:
        reason = " ".join(str(error).split())
        hint = "look at the log of the database"
        if isinstance(error, pg.LockNotAvailable | pg.QueryCanceled):
            hint = "wait for the other process and try again"
        elif isinstance(error, pg.InsufficientPrivilege):
            hint = (
                "grant this user CREATE on the schema for the first start, and SELECT and INSERT on the headway_ tables"
            )
        elif isinstance(error, pg.ReadOnlySqlTransaction):
            hint = "name the primary server in [store] state, not a standby"
        elif lost or (isinstance(error, pg.OperationalError) and error.sqlstate is None):
            hint = "check [store] state, and the password in PGPASSWORD, PGPASSFILE or ~/.pgpass"
            return StoreUnavailable(f"the database cannot be reached: {reason}", where=self._where, hint=hint)
        return StoreError(f"the state cannot be read or written: {reason}", where=self._where, hint=hint)


class _SessionLease:
    """A lease that ends with the connection that took it."""

    def __init__(self, db: sa.Connection, name: str, key: int) -> None:
        self._db = db
        self._name = name
        self._key = key

    def expect_held(self) -> None:
        """Raise LeaseLost if the connection was lost, and the lease with it."""
        with suppress(sa.exc.SQLAlchemyError):
            if self._db.execute(_holder_of(self._key, own=True)).first():
                return
        raise LeaseLost(
            f"the lease of {self._name} ended with its connection, so that another process may do the same",
            hint="run the command again",
        )


_HOLDER = sa.text(
    "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory'"
    " AND classid = :kind AND objid = :key AND granted AND (NOT :own OR pid = pg_backend_pid())"
)


def _holder_of(key: int, *, own: bool = False) -> sa.TextClause:
    """Return the query for the client that holds a lease; with `own`, only if it is this session."""
    return _HOLDER.bindparams(kind=_LEASES, key=key % 2**32, own=own)


def _parse(address: str) -> sa.URL:
    """Parse an address; raises ConfigError if it names no database."""
    try:
        url = sa.make_url(address)
    except (sa.exc.ArgumentError, ValueError) as error:
        raise ConfigError(f"{address!r} is not an address", where="[store] state", hint=ADDRESS) from error
    if not url.database:
        raise ConfigError(f"{address!r} names no database", where="[store] state", hint=ADDRESS)
    return url


def _connection_settings(url: sa.URL) -> dict[str, object]:
    """Return the settings of libpq beyond the address: limits, and TLS with a verified name off this machine."""
    settings: dict[str, object] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": f"process {os.getpid()} of {socket.gethostname()}",
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": STATEMENT_TIMEOUT_S * 1000,
    }
    if "PGSSLMODE" not in os.environ and not all(map(_is_loopback, _hosts(url))):
        settings["sslmode"] = "verify-full"
    return {name: value for name, value in settings.items() if name not in url.query}


def _hosts(url: sa.URL) -> list[str]:
    """Return the hosts that libpq may connect to; a service in its file may be anywhere."""
    queried = [url.query[name] for name in ("host", "hostaddr", "service") if name in url.query]
    named = [url.host or "", *(host for value in queried for host in ([value] if isinstance(value, str) else value))]
    if any(named):
        return named
    return [os.environ.get(name, "") for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE")]


def _is_loopback(host: str) -> bool:
    """Return whether a host, with or without a port, is this machine: no host and a path are sockets in a folder."""
    name = host.partition(":")[0] if host.count(":") == 1 else host
    if name in {"", "localhost"} or name.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _limit_times(connection: Any, record: object) -> None:  # noqa: ARG001 - the form of the event
    """Limit statements and locks, so that a client that hangs does not block others for long."""
    connection.autocommit, before = True, connection.autocommit
    connection.execute(
        f"SET statement_timeout = '{STATEMENT_TIMEOUT_S}s'; SET lock_timeout = '{LOCK_TIMEOUT_S}s';"
        f" SET idle_in_transaction_session_timeout = '{STATEMENT_TIMEOUT_S}s'"
    )
    connection.autocommit = before


def _equal(table: sa.Table, **columns: str) -> list[sa.ColumnElement[bool]]:
    """Return the conditions for the given columns; an empty value matches any."""
    return [table.c[column] == value for column, value in columns.items() if value]


def _of(name: str, pointer: str) -> list[sa.ColumnElement[bool]]:
    return _equal(UPDATES, name=name, pointer=pointer)


def _ordered(conditions: Sequence[sa.ColumnElement[bool]], *, last: bool = False) -> sa.Select[Any]:
    query = sa.select(UPDATES.c.content, UPDATES.c.signature).where(*conditions)
    return query.order_by(UPDATES.c.place.desc()).limit(1) if last else query.order_by(UPDATES.c.place)


def _newest(
    table: sa.Table,
    columns: Sequence[sa.Column[Any]],
    conditions: Sequence[sa.ColumnElement[bool]],
    *,
    limit: int,
    before: int,
) -> sa.Select[Any]:
    """Return the query for the last rows of a table, newest first."""
    query = sa.select(*columns).where(*conditions, *([table.c.place < before] if before else []))
    return query.order_by(table.c.place.desc()).limit(limit)


def _first(rows: Any) -> Signed | None:
    row = next(iter(rows), None)
    return Signed(content=row.content, signature=row.signature) if row else None


def _count(name: str, dataset: str) -> sa.Select[Any]:
    return sa.select(sa.func.count()).where(EVALUATIONS.c.name == name, EVALUATIONS.c.dataset == dataset)


plugin = Postgresql
