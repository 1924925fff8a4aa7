"""State in PostgreSQL: what goes beyond the contract of state stores, against a real server."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.script import ScriptDirectory
from tests.storage import postgres
from tests.storage.postgres import PASSWORD, Postgres

from headway.core.contracts import Signed
from headway.core.errors import ConfigError, LeaseLost, StoreError
from headway.core.record import digest_of, write
from headway.core.release import PointerUpdate
from headway.storage.state import _migrations
from headway.storage.state import postgresql as module
from headway.storage.state.postgresql import EVALUATIONS, FORMAT, RECORDS, UPDATES, Postgresql

pytestmark = [pytest.mark.services, pytest.mark.slow]


def move(number: int, previous: str) -> Signed:
    made = PointerUpdate(
        name="f", pointer="live", number=number, release="r", previous=previous, at="t", who="a", why="b"
    )
    return Signed(content=write(made), signature=b"s")


FIRST, SECOND = move(1, ""), move(2, digest_of(move(1, "").content))


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Postgres]:
    """A server that the test may stop, which writes to disk as in production."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with postgres.server(fsync=True) as started:
        yield started


@pytest.fixture
def state(postgresql: str) -> Iterator[Postgresql]:
    with closing(Postgresql(postgresql)) as opened:
        opened.append(FIRST)
        opened.save("rollout", b"one", name="f")
        opened.count_evaluation("f", "d")
        yield opened


# Each operation with its answer, where it is run once in the state above.
OPERATIONS: dict[str, tuple[str, Callable[[Postgresql], object], object]] = {
    "append": (UPDATES.name, lambda state: state.append(SECOND), True),
    "updates": (UPDATES.name, lambda state: state.updates("f"), [FIRST]),
    "last": (UPDATES.name, lambda state: state.last("f", "live"), FIRST),
    "save": (RECORDS.name, lambda state: state.save("rollout", b"two", name="f"), digest_of(b"two")),
    "records": (RECORDS.name, lambda state: state.records("rollout"), [b"one"]),
    "latest": (RECORDS.name, lambda state: state.latest("rollout", name="f"), b"one"),
    "recent_updates": (UPDATES.name, lambda state: state.recent_updates("f", "live"), [(1, FIRST)]),
    "recent": (RECORDS.name, lambda state: [saved.content for saved in state.recent("rollout")], [b"one"]),
    "count": (RECORDS.name, lambda state: state.count("rollout"), 1),
    "all_records": (RECORDS.name, lambda state: [record.content for record in state.all_records()], [b"one"]),
    "count_evaluation": (EVALUATIONS.name, lambda state: state.count_evaluation("f", "d"), 2),
    "test_evaluations": (EVALUATIONS.name, lambda state: state.test_evaluations("f", "d"), 1),
    "all_evaluations": (EVALUATIONS.name, lambda state: state.all_evaluations(), {("f", "d"): 1}),
}
WRITTEN = {"append": ([FIRST, SECOND], [b"one"], 1), "save": ([FIRST], [b"one", b"two"], 1)}
WRITTEN["count_evaluation"] = ([FIRST], [b"one"], 2)


def expect_written_once(state: Postgresql, operation: str) -> None:
    """Expect that an operation changed what it had to change, once, and nothing else."""
    found = state.updates(), state.records("rollout"), state.test_evaluations("f", "d")
    assert found == WRITTEN.get(operation, ([FIRST], [b"one"], 1))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_whose_connection_is_ended_in_the_middle_is_done_once(
    state: Postgresql, postgresql: str, postgres_server: Postgres, operation: str
) -> None:
    table, run, answer = OPERATIONS[operation]
    with postgres_server.connect(postgresql.rpartition("/")[2]) as other, ThreadPoolExecutor(1) as pool:
        with other.transaction():
            other.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            result = pool.submit(run, state)
            _end_what_waits(other)
        assert result.result(timeout=60) == answer
    expect_written_once(state, operation)


def _end_what_waits(other: psycopg.Connection[Any]) -> None:
    """End the connection that waits for a lock, as soon as there is one."""
    deadline = time.monotonic() + 60
    ended = 0
    while not ended:
        assert time.monotonic() < deadline, "the operation did not wait for the lock"
        query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()"
        row = other.execute(f"{query} AND wait_event_type = 'Lock'").fetchone()
        assert row is not None
        ended = row[0]


class LossyProxy:
    """Passes bytes to a server; with `lose` it closes a connection instead of passing the answer to the next COMMIT."""

    def __init__(self, server: str) -> None:
        host, _, port = server.partition(":")
        self._server = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.lose = False
        self.lost = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._server) as server:
            threading.Thread(target=self._answers, args=(server, client), daemon=True).start()
            while request := client.recv(1 << 16):
                if b"COMMIT" in request and self.lose:
                    self.lose = False
                    client.shutdown(socket.SHUT_WR)  # no answer arrives, although the server commits
                    server.sendall(request)
                    self.lost += 1
                    return
                server.sendall(request)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        try:
            while answer := server.recv(1 << 16):
                client.sendall(answer)
        except OSError:
            return


@pytest.mark.parametrize("operation", WRITTEN)
def test_a_write_whose_acknowledgement_is_lost_is_recognized_and_not_done_twice(
    state: Postgresql, postgresql: str, postgres_server: Postgres, operation: str
) -> None:
    with closing(LossyProxy(postgres_server.address)) as proxy:
        address = postgresql.replace(postgres_server.address, f"127.0.0.1:{proxy.port}")
        with closing(Postgresql(address)) as behind:
            _, run, answer = OPERATIONS[operation]
            proxy.lose = True
            assert run(behind) == answer
            assert proxy.lost == 1
    expect_written_once(state, operation)


def test_without_its_server_each_operation_says_so_and_goes_on_once_it_is_back(own_server: Postgres) -> None:
    with closing(Postgresql(own_server.create_database())) as state:
        state.append(FIRST)
        state.save("rollout", b"one", name="f")
        state.count_evaluation("f", "d")
        for stop in (lambda: own_server.stop("fast"), own_server.kill):
            stop()
            for operation in OPERATIONS:
                expect_unreachable(state, operation, own_server.address)
            own_server.start()
            expect_written_once(state, "nothing")
        for operation in ("updates", *WRITTEN):
            _, run, answer = OPERATIONS[operation]
            assert run(state) == answer
        assert (state.updates(), state.test_evaluations("f", "d")) == ([FIRST, SECOND], 2)


def expect_unreachable(state: Postgresql, operation: str, address: str) -> None:
    _, run, _ = OPERATIONS[operation]
    with pytest.raises(StoreError, match="the database cannot be reached") as caught:
        run(state)
    assert address in caught.value.where


def test_a_lease_that_was_lost_with_its_connection_is_noticed(
    state: Postgresql, postgresql: str, postgres_server: Postgres
) -> None:
    with state.lease("f.watch") as lease:
        assert postgres_server.end_connections(postgresql)
        other = Postgresql(postgresql)
        with other.lease("f.watch"), pytest.raises(LeaseLost, match="ended with its connection") as caught:
            lease.expect_held()
        other.close()
    assert caught.value.hint


APPENDER = """
import sys
from headway.core.contracts import Signed
from headway.core.record import digest_of, write
from headway.core.release import PointerUpdate
from headway.storage.state.postgresql import Postgresql
state, previous = Postgresql(sys.argv[1]), ""
number = len(state.updates())
previous = digest_of(state.last().content) if number else ""
while True:
    number += 1
    move = PointerUpdate(
        name="f", pointer="live", number=number, release="r", previous=previous, at="t", who="a", why="b"
    )
    assert state.append(Signed(content=write(move), signature=b"s"))
    state.save("rollout", b"%d" % number, name="f")
    previous = digest_of(write(move))
    print(number, flush=True)
"""


@pytest.mark.parametrize("kills", [6, pytest.param(200, marks=pytest.mark.long)])
def test_no_acknowledged_record_is_lost_when_client_or_server_are_killed(own_server: Postgres, kills: int) -> None:
    address = own_server.create_database()
    with closing(Postgresql(address)) as state:
        for kill in range(kills):
            acknowledged = _kill_while_it_writes(own_server, address, of_server=kill % 2 == 1)
            numbers = [int(content) for content in state.records("rollout")]
            assert set(acknowledged) <= set(numbers)
            assert len(state.updates()) - numbers[-1] in {0, 1}
            assert len(numbers) == len(set(numbers))


def _kill_while_it_writes(server: Postgres, address: str, *, of_server: bool) -> list[int]:
    """Kill the client or the server after some writes; return all that were acknowledged."""
    command = [sys.executable, "-c", APPENDER, address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(5)]
        if of_server:
            server.kill()
        process.kill()
        acknowledged += [int(line) for line in process.stdout.read().splitlines()]
    if of_server:
        server.start()
    return acknowledged


def test_tables_of_the_first_format_are_brought_to_todays_with_their_rows(postgresql: str) -> None:
    engine = module.sa.create_engine(postgresql.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as db:
        _migrations.migrate(db, to="0001")
        row = {"place": 1, "name": "f", "pointer": "live", "number": 1, "content": FIRST.content, "signature": b"s"}
        db.execute(UPDATES.insert().values(row))
    engine.dispose()
    with closing(Postgresql(postgresql)) as state:
        assert state.updates() == [FIRST]
        assert state.append(SECOND)
        assert state.count_evaluation("f", "d") == 1


def test_the_format_is_the_last_migration() -> None:
    assert ScriptDirectory.from_config(_migrations.configuration()).get_current_head() == FORMAT


def test_tables_of_a_newer_format_are_refused_with_a_hint(postgresql: str, postgres_server: Postgres) -> None:
    Postgresql(postgresql).close()
    with postgres_server.connect(postgresql.rpartition("/")[2]) as other:
        other.execute("UPDATE headway_version SET version_num = '9999'")
    with pytest.raises(StoreError, match=f"the state has format 9999, this headway reads up to {FORMAT}") as caught:
        Postgresql(postgresql)
    assert caught.value.hint == "pip install --upgrade headway"
    assert caught.value.where == postgresql


def test_a_migration_that_fails_changes_nothing(postgresql: str, postgres_server: Postgres) -> None:
    with postgres_server.connect(postgresql.rpartition("/")[2]) as other:
        other.execute("CREATE TABLE headway_records (place int)")
        with pytest.raises(StoreError, match="headway_records"):
            Postgresql(postgresql)
        other.execute("DROP TABLE headway_records")
        tables = other.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert tables == []
    with closing(Postgresql(postgresql)) as state:
        assert state.append(FIRST)


def test_a_user_who_may_not_create_tables_reads_what_to_grant(
    postgresql: str, postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres_server.connect() as other:
        other.execute("DROP ROLE IF EXISTS eve")
        other.execute("CREATE ROLE eve LOGIN PASSWORD 'w0rd'")
        monkeypatch.setenv("PGPASSWORD", "w0rd")
        with pytest.raises(StoreError, match="permission denied") as caught:
            Postgresql(postgresql.replace("ada@", "eve@"))
    assert "grant this user CREATE" in caught.value.hint


def test_a_user_who_may_only_read_and_add_rows_can_use_the_tables_of_another(
    state: Postgresql, postgresql: str, postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres_server.connect(postgresql.rpartition("/")[2]) as other:
        other.execute("CREATE ROLE bob LOGIN PASSWORD 'w0rd'")
        other.execute("GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO bob")
        monkeypatch.setenv("PGPASSWORD", "w0rd")
        with closing(Postgresql(postgresql.replace("ada@", "bob@"))) as of_another:
            for operation in WRITTEN:
                _, run, answer = OPERATIONS[operation]
                assert run(of_another) == answer
            with of_another.lease("f.watch") as lease:
                lease.expect_held()


def test_a_wrong_password_is_refused_without_showing_it(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "wr0ng-one")
    with pytest.raises(StoreError, match="password authentication failed") as caught:
        Postgresql(postgresql)
    assert caught.value.where == postgresql
    assert "PGPASSWORD" in caught.value.hint
    assert "wr0ng-one" not in f"{caught.value}"


def test_off_this_machine_the_name_of_the_server_is_verified_by_default(
    postgresql: str, postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {"HOME": str(tmp_path), "PGSSLROOTCERT": str(tmp_path / "none.crt")}.items():
        monkeypatch.setenv(name, value)
    elsewhere = postgresql.replace("127.0.0.1", "db.example") + "?hostaddr=127.0.0.1"
    with pytest.raises(StoreError, match=r"(?i)certificate|SSL"):
        Postgresql(elsewhere)
    with closing(Postgresql(f"{elsewhere}&sslmode=disable")) as state:  # only where the address says so
        assert state.append(FIRST)
    monkeypatch.setenv("PGSSLMODE", "disable")
    with closing(Postgresql(elsewhere)) as state:
        assert state.updates() == [FIRST]


@pytest.mark.parametrize(
    ("address", "environment", "verified"),
    [
        ("postgresql://ada@db.example/f", {}, True),
        ("postgresql://ada@10.0.0.7/f", {}, True),
        ("postgresql:///f?host=db1.example:5432&host=db2.example:5432", {}, True),
        ("postgresql:///f?service=team", {}, True),
        ("postgresql:///f", {"PGHOST": "db.example"}, True),
        ("postgresql:///f", {"PGSERVICE": "team"}, True),
        ("postgresql:///f", {}, False),
        ("postgresql://ada@localhost:5433/f", {"PGHOST": "db.example"}, False),
        ("postgresql://ada@[::1]/f", {}, False),
        ("postgresql:///f?host=/run/postgresql", {}, False),
        ("postgresql:///f?host=localhost:5432&host=127.0.0.1:5433", {}, False),
    ],
)
def test_the_server_is_verified_unless_every_host_is_this_machine(
    monkeypatch: pytest.MonkeyPatch, address: str, environment: dict[str, str], verified: bool
) -> None:
    for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGSSLMODE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = module._connection_settings(module._parse(address))
    assert settings.get("sslmode") == ("verify-full" if verified else None)


@pytest.mark.parametrize(
    ("address", "what"),
    [("postgresql://ada@db.example", "names no database"), ("postgresql://ada@db.example:port/f", "not an address")],
)
def test_an_address_that_is_incomplete_is_refused_with_its_form(address: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        Postgresql(address)
    assert caught.value.hint == module.ADDRESS


def test_a_writer_that_waited_too_long_is_asked_to_try_again(
    postgresql: str, postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_TIMEOUT_S", 1)
    with closing(Postgresql(postgresql)) as state:
        with postgres_server.connect(postgresql.rpartition("/")[2]) as other, other.transaction():
            other.execute(f"LOCK TABLE {EVALUATIONS.name} IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(StoreError, match="lock timeout") as caught:
                state.count_evaluation("f", "d")
        assert "try again" in caught.value.hint
        assert state.count_evaluation("f", "d") == 1
