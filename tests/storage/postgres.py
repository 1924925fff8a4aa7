"""A PostgreSQL server of its own for the tests: a free port of this machine, gone with its folder at the end."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from tests.ports import free_port

USER, PASSWORD = "ada", "s3cr@t"


def programs() -> Path:
    """Return the folder of its programs; the test fails without them, since it needs a real server."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    assert found or on_path, "no PostgreSQL on this machine\n  try: apt-get install postgresql"
    return Path(on_path or found[-1]).parent


class Postgres:
    """A server that knows one user; it can be stopped, killed and started again on its port."""

    def __init__(self, folder: Path, *, fsync: bool) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._folder = folder
        # It refuses to run as root, who lends it another user.
        self._owner: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": ()}
        if os.geteuid() != 0:
            self._owner = {}
        self._settings = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
            f" -c fsync={'on' if fsync else 'off'} -c max_connections=200"
        )
        (folder / "password").write_text(PASSWORD)
        if self._owner:
            shutil.chown(folder, "postgres")
            shutil.chown(folder / "password", "postgres")
        words = ("-U", USER, "--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--no-sync", "-E", "UTF8")
        self._run("initdb", *words)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._run("pg_ctl", "-w", "-t", "120", "-l", str(self._folder / "log"), "-o", self._settings, "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop it: `fast` ends its connections, `immediate` ends it as a crash does."""
        self._run("pg_ctl", "-m", mode, "stop")

    def kill(self) -> None:
        """Kill all its processes at once, as a machine that stops."""
        postmaster = int((self._folder / "data/postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for process in (postmaster, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while any(map(_is_alive, (postmaster, *map(int, children)))):
            assert time.monotonic() < deadline, "PostgreSQL did not end"
            time.sleep(0.01)
        # Where nothing reaps the processes of others, as in some containers, they stay zombies, which pg_ctl takes for
        # a server that runs.
        (self._folder / "data/postmaster.pid").unlink()

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """Return a connection of its user, each statement in a transaction of its own."""
        return psycopg.connect(
            f"postgresql://{USER}@{self.address}/{database}", password=PASSWORD, autocommit=True, connect_timeout=10
        )

    def create_database(self) -> str:
        """Create an empty database, and return its address without the password."""
        name = f"headway_{secrets.token_hex(6)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql://{USER}@{self.address}/{name}"

    def end_connections(self, address: str) -> int:
        """End all connections to the database of an address, and return how many there were."""
        with self.connect() as connection:
            query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s"
            row = connection.execute(query, (address.rpartition("/")[2],)).fetchone()
        assert row is not None
        return int(row[0])

    def _run(self, program: str, *words: str) -> None:
        command = [str(programs() / program), "-D", str(self._folder / "data"), *words]
        subprocess.run(
            command, check=True, cwd=self._folder, stdout=subprocess.DEVNULL, start_new_session=True, **self._owner
        )


def _is_alive(process: int) -> bool:
    """Return whether a process runs, and is not a zombie of another parent."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def server(*, fsync: bool = False) -> Iterator[Postgres]:
    """Run a server of one's own; without `fsync` it loses what it wrote if the machine stops, and is faster."""
    with tempfile.TemporaryDirectory(prefix="headway-postgres-", ignore_cleanup_errors=True) as name:
        started = Postgres(Path(name), fsync=fsync)
        started.start()
        try:
            yield started
        finally:
            started.stop()
