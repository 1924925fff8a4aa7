"""Servers in separate processes on one core: started, measured, and ended with all their children."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO

from cache import Absent

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]
READY = b"GET /v2/health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n"
STARTS_WITHIN_S, ENDS_WITHIN_S = 60, 20
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that answers, and the seconds from its start to its first answer."""

    process: subprocess.Popen[str]
    port: int
    start_s: float

    def processes(self) -> list[int]:
        """Return its processes: the first, and all descendants."""
        parents = {int(stat[0]): int(stat[3]) for stat in _stats()}
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    @property
    def cpu_s(self) -> float:
        """Return the CPU time of its processes, user and system."""
        mine = set(self.processes())
        ticks = sum(int(stat[13]) + int(stat[14]) for stat in _stats() if int(stat[0]) in mine)
        return ticks / TICKS_PER_S

    def cpu_of(self, pid: int) -> float:
        """Return the CPU time of one of its processes, 0 if it has ended."""
        return sum(int(stat[13]) + int(stat[14]) for stat in _stats() if int(stat[0]) == pid) / TICKS_PER_S

    @property
    def memory_mb(self) -> float:
        """Return the memory of its processes: pages shared among them count once, those shared with others in full.

        It is the sum of PSS as if nothing else ran on the machine: PSS itself is smaller the more other processes run.
        """
        files: dict[str, int] = {}
        own = 0
        for pid in self.processes():
            for name, (resident, share) in _mappings(pid).items():
                if name.startswith("/"):
                    files[name] = max(files.get(name, 0), resident)
                else:
                    own += share
        return (own + sum(files.values())) / 1024


def _mappings(pid: int) -> dict[str, tuple[int, int]]:
    """Return the resident kB of each mapped file, and its share of them (PSS); memory without a file is one entry."""
    found: dict[str, tuple[int, int]] = {}
    name, resident = "", 0
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            name = " ".join(rest[4:])
        elif first == "Rss:":
            resident = int(rest[0])
        elif first == "Pss:":
            before = found.get(name, (0, 0))
            found[name] = (before[0] + resident, before[1] + int(rest[0]))
    return found


def _stats() -> Iterator[list[str]]:
    """Yield the fields of /proc/PID/stat of every process, without the second, its name."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            before, _, after = file.read_text().rpartition(")")
            yield [before.partition(" ")[0], "", *after.split()]


@contextmanager
def started(
    command: Sequence[str],
    *,
    asks: bytes = b"",
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    core: int | str = SERVER_CORE,
) -> Iterator[Server]:
    """Start a server on a core, or on a list of cores as of taskset; wait until it answers `asks` with 200, or listens.

    `{port}` is replaced by a free port.

    Raises Absent with its last output if it does not come up.
    """
    port, began = free_port(), time.perf_counter()
    words = ["taskset", "-c", str(core), *(word.replace("{port}", str(port)) for word in command)]
    variables = {key: value.replace("{port}", str(port)) for key, value in (environment or {}).items()}
    around = {**os.environ, **ONE_THREAD, **variables, "PORT": str(port)}
    around.pop("PYTHONDONTWRITEBYTECODE", None)  # installed servers have compiled modules, ours in a checkout as well
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            words, env=around, cwd=folder, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, text=True
        )
        server = Server(process=process, port=port, start_s=0.0)
        try:
            while not _answers(port, asks):
                _expect_up(process, output, began)
            yield Server(process=process, port=port, start_s=time.perf_counter() - began)
        finally:
            _end(server)


def ours(folder: Path, *names: str) -> Sequence[str]:
    """Return the command that serves these models of a project as `headway serve` does."""
    references = [f"{name}@live" for name in names]
    return [sys.executable, "-m", "headway.cli", "serve", *references, "--project", str(folder), "--port", "{port}"]


def _answers(port: int, asks: bytes) -> bool:
    with suppress(OSError, HTTPException), socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        if not asks:
            return True
        line.sendall(asks)
        answer = HTTPResponse(line)
        answer.begin()
        return answer.status == 200
    time.sleep(0.005)
    return False


def free_port() -> int:
    """Return a free TCP port."""
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        port: int = line.getsockname()[1]
        return port


def _expect_up(process: subprocess.Popen[str], output: IO[str], began: float) -> None:
    if process.poll() is None and time.perf_counter() - began < STARTS_WITHIN_S:
        return
    output.seek(0)
    lines = [line.strip() for line in output if line.strip()]
    raise Absent(f"it did not come up: {lines[-1][:300] if lines else 'no word'}")


def _end(server: Server) -> None:
    """Terminate a server, and kill its remaining processes."""
    remaining = server.processes()
    server.process.terminate()
    with suppress(subprocess.TimeoutExpired):
        server.process.wait(ENDS_WITHIN_S)
    for pid in remaining:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    server.process.wait()
