"""Servers of several processes for the tests of this folder, and callers that send requests continuously."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from running import started

from headway.storage import segments

PATIENCE_S = 20.0


def until(true: Callable[[], object]) -> None:
    """Wait until a condition is true."""
    ends = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < ends, "it never came"


class Fleet:
    """A server and its processes."""

    def __init__(self, process: subprocess.Popen[str], workers: int) -> None:
        self.process = process
        self.line = process.stdout.readline()
        assert self.line, process.communicate()[1]
        self.port = int(self.line.split()[2].rpartition(":")[2])
        self.workers = self.children[:workers]
        self.log = self.children[workers:]

    @property
    def children(self) -> list[int]:
        """The current child processes of the supervisor, in the order of their start."""
        return [
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def kill(self, pid: int) -> None:
        """Kill a process, and wait until another replaces it in `workers` or `log`."""
        before = set(self.children)
        os.kill(pid, signal.SIGKILL)
        until(lambda: set(self.children) - before)
        (new,) = set(self.children) - before
        for group in (self.workers, self.log):
            group[:] = [new if member == pid else member for member in group]

    def ask(self, path: str, body: object = None, *, key: str = "") -> http.client.HTTPResponse:
        """Send a request on a new connection, and return the response with its body read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        connection.request(
            "GET" if body is None else "POST", path, json.dumps(body) if body is not None else None, headers
        )
        response = connection.getresponse()
        response.text = response.read().decode()
        connection.close()
        return response

    def count(self, name: str) -> int:
        """Return a number of `/metrics` by its name and labels."""
        (found,) = [line for line in self.ask("/metrics").text.splitlines() if line.startswith(f"{name} ")]
        return int(found.split()[-1])

    def shut_down(self) -> str:
        """Stop the server, and return its output."""
        self.process.send_signal(signal.SIGTERM)
        out, error = self.process.communicate(timeout=PATIENCE_S)
        assert (self.process.returncode, out) == (0, ""), error
        return error


@contextmanager
def fleet(folder: Path, *references: str, workers: int = 2) -> Iterator[Fleet]:
    """Start a server with this many workers for the references of a project, by default `flights@live`."""
    os.environ["HEADWAY_SERVE_WORKERS"] = str(workers)
    try:
        process = started(folder, *(references or ("flights@live",)))
    finally:
        del os.environ["HEADWAY_SERVE_WORKERS"]
    try:
        yield Fleet(process, workers)
    finally:
        process.kill()
        process.communicate()


class Callers:
    """Callers on persistent connections, which send one row after another, and reconnect if disconnected."""

    def __init__(self, port: int, count: int = 8, *, columns: str = "abc") -> None:
        self.answered: Counter[str] = Counter()
        self.versions: dict[int, tuple[str, float]] = {}
        self.failed: list[object] = []
        self.reset = 0
        self._port, self._columns = port, columns
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(count)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int = 200) -> None:
        """Wait until this many more requests were answered."""
        now = self.answered.total()
        until(lambda: self.answered.total() > now + count)

    def all_by(self, version: str) -> None:
        """Wait until the last answer of every caller has a version."""
        until(lambda: {last for last, _ in self.versions.copy().values()} == {version})

    def _call(self, caller: int) -> None:
        connection, number = None, 0
        while not self._stop.is_set():
            number += 1
            key = f"{caller}-{number}"
            connection = connection or http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
            inputs = [{"name": name, "shape": [1], "datatype": "FP64", "data": [number]} for name in self._columns]
            try:
                body = json.dumps({"inputs": inputs, "parameters": {"key": key}})
                connection.request("POST", "/v2/models/flights/infer", body)
                response = connection.getresponse()
                answer = json.loads(response.read())
            except (ConnectionError, http.client.HTTPException):
                connection.close()
                connection, self.reset = None, self.reset + 1
                continue
            if response.status != 200 or answer["outputs"][0]["data"] != [number]:
                self.failed.append((key, answer))
            self.answered[key] += 1
            self.versions[caller] = answer.get("model_version", ""), time.monotonic()
        if connection:
            connection.close()


def logged(state: Path) -> Counter[str]:
    """Return how often each key is in the log of `flights`, over all releases."""
    found: Counter[str] = Counter()
    for folder in (state / "log" / "flights").iterdir():
        for path in segments.segments(folder):
            table = pl.read_ipc_stream(path)
            assert (table["out.0"] == table["in.b"]).all()
            found.update(table["key"].to_list())
    return found
