"""A PostgreSQL server of its own for the tests: a free port of this machine, gone with its folder at the end."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER, PASSWORD = "ada", "s3cr@t"


def programs() -> Path:
    """Return the folder of its programs; the test fails without them, since it needs a real server."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    assert found or on_path, "no PostgreSQL on this machine\n  try: apt-get install postgresql"
    return Path(on_path or found[-1]).parent


@contextmanager
def server() -> Iterator[str]:
    """The address `127.0.0.1:PORT` of a server that knows one user; it refuses to run as root, who lends it another."""
    owner = {"user": "postgres", "group": "postgres", "extra_groups": ()} if os.geteuid() == 0 else {}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="headway-postgres-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "password").write_text(PASSWORD)
        if owner:
            shutil.chown(folder, "postgres")
            shutil.chown(folder / "password", "postgres")

        def run(program: str, *words: str) -> None:
            command = [str(programs() / program), "-D", str(folder / "data"), *words]
            subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, **owner)

        run("initdb", "-U", USER, "--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--no-sync", "-E", "UTF8")
        settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", settings, "start")
        try:
            yield f"127.0.0.1:{port}"
        finally:
            run("pg_ctl", "-m", "immediate", "stop")
