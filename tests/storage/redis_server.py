"""A Redis or Valkey server of its own for the tests, on a free port of this machine; it can be stopped and started."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port

PASSWORD = "s3cr@t"
_PATIENCE_S = 20.0


def path_of(program: str) -> str:
    """Return the path of a server; the test fails without it, since it needs a real one."""
    found = shutil.which(program)
    assert found, f"no {program} on this machine\n  try: apt-get install {program}"
    return found


class RedisServer:
    """A server in memory that knows one password."""

    def __init__(self, program: str, folder: str, port: int, certificate: Path | None = None) -> None:
        self.folder = Path(folder)
        self.address = f"redis://127.0.0.1:{port}/0"
        self._port = port
        self._command = [path_of(program), "--port", str(port), "--bind", "127.0.0.1", "--requirepass", PASSWORD]
        self._command += ["--save", "", "--appendonly", "no", "--dir", folder, "--rdbcompression", "no"]
        if certificate is not None:
            self._command[1:3] = ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"]
            self._command += ["--tls-cert-file", str(certificate), "--tls-key-file", str(certificate)]
            self._command += ["--tls-ca-cert-file", str(certificate)]
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        ends = time.monotonic() + _PATIENCE_S
        while True:
            assert self._process.poll() is None and time.monotonic() < ends, "the server did not start"
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
            except OSError:
                continue
            return

    def stop(self) -> None:
        """Kill it; what it held is gone."""
        self._process.kill()
        self._process.wait()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let it answer nothing for a while, on connections that stay open."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


@contextmanager
def redis_server(program: str = "redis-server", *, certificate: Path | None = None) -> Iterator[RedisServer]:
    """Run a server of Redis, or of Valkey (`valkey-server`); over TLS if a file has its certificate and key."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="headway-redis-") as folder:
        server = RedisServer(program, folder, port, certificate)
        try:
            yield server
        finally:
            server.stop()
