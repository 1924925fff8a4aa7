"""The rows `pointer.seconds` and `serve.outage_failed`: servers that share their stores.

`pointer.seconds` is the time from the call that moves a pointer to the last of the servers' first answers by the new
release. In the outage PostgreSQL, S3 and Redis are killed under load, and started again; `log.lost` counts answered
requests that are not in the log afterwards, `log.twice` those that are there more than once, and `log.out_of_order` the
segments that left a server for S3 before an earlier one.
"""

from __future__ import annotations

import http.client
import itertools
import json
import shutil
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import numpy as np
import polars as pl
from msgspec.structs import replace

from harness import Result, Row, shown
from headway.core import config
from headway.core.release import version_of
from headway.registry.model_registry import ModelRegistry
from headway.storage import segments, traffic
from headway.storage.addresses import log_root, open_logs
from serving.models import FEATURES, by_trees, new_caller, point, project, publish, rows_of, v2
from serving.processes import CORES, READY, ours, started
from store_rows import servers

NAME = "bench"
SERVERS, MOVES, TREES, PATIENCE_S = 4, 100, 200, 20.0
OUTAGE_S, AROUND_S, PAUSE_S, SAMPLE_S = 60.0, 5.0, 0.01, 0.02
SHIPPED_WITHIN_S = 300.0
TINY = {"SERVERS": 2, "MOVES": 2, "TREES": 5, "OUTAGE_S": 1.0, "AROUND_S": 0.5}


class Caller:
    """Sends one row after another to a server on one connection, and notes the version of the last answer."""

    def __init__(self, port: int, header: str) -> None:
        self._port = port
        self._headers = {"Content-Type": "application/json", "Authorization": header}
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._last = ("", 0.0)  # the version of the last answer, and when it answered first
        self.answered: list[str] = []  # by key
        self.failed = 0
        self._thread = threading.Thread(target=self._call)
        self._thread.start()

    def first_answer_by(self, version: str) -> float:
        """Wait until a version answers, and return when it did first."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._last[0] == version, PATIENCE_S), "the move was not followed"
            return self._last[1]

    def close(self) -> None:
        """End the connection."""
        self._stopping.set()
        self._thread.join()

    def _call(self) -> None:
        body, connection = v2(rows_of(1, FEATURES), "FP64"), http.client.HTTPConnection("127.0.0.1", self._port)
        for number in itertools.count():
            if self._stopping.wait(PAUSE_S):
                break
            key = f"{self._port}-{number}"
            try:
                keyed = b'{"parameters":{"key":"%b"},%b' % (key.encode(), body[1:])
                connection.request("POST", f"/v2/models/{NAME}/infer", keyed, self._headers)
                response = connection.getresponse()
                answer = response.read()
            except (OSError, http.client.HTTPException):
                self.failed += 1
                connection.close()
                continue
            if response.status != 200:
                self.failed += 1
                continue
            self.answered.append(key)
            version = json.loads(answer)["model_version"]
            with self._changed:
                if version != self._last[0]:
                    self._last = version, time.perf_counter()
                    self._changed.notify_all()
        connection.close()


@contextmanager
def fleet(
    folder: Path, stores: Mapping[str, str], *, count: int
) -> Iterator[tuple[ModelRegistry, list[str], list[Caller]]]:
    """Start servers with these stores, of which the first of two releases is live, and a caller of each.

    Servers whose releases are shared have folders of their own, as on machines of their own.
    """
    project(folder, {}).state.close()
    section = "".join(f'{role} = "{address}"\n' for role, address in stores.items())
    with (folder / "headway.toml").open("a") as file:
        file.write(f"[store]\n{section}[serve]\nport = 0\nworkers = 1\n")
    header = f"Bearer {new_caller(folder)}"
    register = ModelRegistry.from_config(config.load(folder))
    with ExitStack() as stack:
        stack.callback(register.state.close)
        first = publish(register, NAME, by_trees(TREES))
        release = register.resolve(f"{NAME}@{first.removeprefix('sha256:')}")
        second = register.publish(replace(release.release, made_at="again"), dict(release.files))
        point(register, NAME, first)
        cores = ",".join(map(str, CORES))
        folders = [_copied(folder, number) if "blobs" in stores else folder for number in range(count)]
        ports = [stack.enter_context(started(ours(at, NAME), asks=READY, core=cores)).port for at in folders]
        callers = [Caller(port, header) for port in ports]
        for caller in callers:
            stack.callback(caller.close)
            caller.first_answer_by(version_of(first))
        yield register, [first, second], callers


def _copied(folder: Path, number: int) -> Path:
    """Return a folder with what a server needs of a project."""
    made = folder / f"server-{number}"
    made.mkdir()
    for name in ("headway.toml", "trusted_keys.txt", "keys.toml"):
        shutil.copy(folder / name, made)
    return made


def pointer_seconds() -> Result:
    """Move a pointer back and forth under four servers, on each state, with and without Redis."""
    rows = []
    with servers.postgresql() as database, servers.redis() as feed:
        for name, with_feed in itertools.product(("sqlite", "file", "postgresql"), (False, True)):
            with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as shared:
                address = database.create_database() if name == "postgresql" else f"file://{shared}"
                stores = {"state": "" if name == "sqlite" else address, "feed": feed.address if with_feed else ""}
                seconds = _moved(Path(folder), stores)
            p99 = float(np.quantile(seconds, 0.99))
            rows.append(
                Row(
                    name=f"pointer.seconds.{name}{'.redis' if with_feed else ''}",
                    measured=p99,
                    unit="s",
                    target="p99 <= 1",
                    ok=p99 <= 1,
                    against=f"{MOVES} moves, {SERVERS} servers; median {statistics.median(seconds):.3f} s",
                )
            )
    return rows, []


def _moved(folder: Path, stores: Mapping[str, str]) -> list[float]:
    """Return the seconds of each move."""
    seconds = []
    with fleet(folder, stores, count=SERVERS) as (register, releases, callers):
        for move in range(1, MOVES + 1):
            release, began = releases[move % 2], time.perf_counter()
            point(register, NAME, release)
            seconds.append(max(caller.first_answer_by(version_of(release)) for caller in callers) - began)
    return seconds


class Shipping:
    """Watches the segments that wait on the disks of servers, and counts those that leave before an earlier one."""

    def __init__(self, machines: Sequence[Path]) -> None:
        self._machines = machines
        self._stopping = threading.Event()
        self.waiting = dict.fromkeys(machines, 0)  # the most that waited at once
        self.gone, self.out_of_order = 0, 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        """End the watch."""
        self._stopping.set()
        self._thread.join()

    def until_shipped(self, before_ns: int) -> None:
        """Wait until the segments that were written before a time have left."""
        ends = time.monotonic() + SHIPPED_WITHIN_S
        while any(segments.written_ns(path) < before_ns for machine in self._machines for path in _waiting(machine)):
            assert time.monotonic() < ends, "the segments of the outage were not shipped"
            time.sleep(SAMPLE_S)

    def _run(self) -> None:
        known: dict[Path, set[Path]] = {machine: set() for machine in self._machines}
        while not self._stopping.wait(SAMPLE_S):
            for machine in self._machines:
                now = _waiting(machine)
                gone = known[machine] - now
                first = min(now, key=segments.written_ns, default=None)
                later = [path for path in gone if first and segments.written_ns(path) > segments.written_ns(first)]
                if first and first.exists():  # otherwise it left while they were listed
                    self.out_of_order += len(later)
                self.gone += len(gone)
                self.waiting[machine] = max(self.waiting[machine], len(now))
                known[machine] = now


def _waiting(machine: Path) -> set[Path]:
    return set(traffic.all_segments(machine / ".headway"))


def outage() -> Result:
    """Kill all stores under two servers with load, start them again, and move the pointer."""
    with (
        servers.postgresql() as database,
        servers.redis() as feed,
        servers.s3() as bucket,
        tempfile.TemporaryDirectory() as folder,
    ):
        bucket.create_bucket("bench")
        stores = {"state": database.create_database(), "feed": feed.address}
        stores |= {"blobs": "s3://bench/releases", "logs": "s3://bench/logs"}
        machines = [Path(folder) / f"server-{number}" for number in range(2)]
        with (
            fleet(Path(folder), stores, count=2) as (register, releases, callers),
            closing(Shipping(machines)) as shipping,
        ):
            time.sleep(AROUND_S)
            before = sum(len(caller.answered) for caller in callers)
            database.kill()
            bucket.kill()
            feed.stop()
            time.sleep(OUTAGE_S)
            within = sum(len(caller.answered) for caller in callers) - before
            database.start()
            bucket.start()
            feed.start()
            returned_ns, began = time.time_ns(), time.perf_counter()
            point(register, NAME, releases[1])
            back = max(caller.first_answer_by(version_of(releases[1])) for caller in callers) - began
            shipping.until_shipped(returned_ns)
            shipped = (time.time_ns() - returned_ns) / 1e9
            failed = sum(caller.failed for caller in callers)
        logged = _logged_keys(Path(folder), machines)
    answered = {key for caller in callers for key in caller.answered}
    lost, twice = len(answered - logged.keys()), sum(count > 1 for count in logged.values())
    against = f"{within:,} answered in {OUTAGE_S:g} s without PostgreSQL, S3 and Redis; 2 servers"
    return [
        Row(name="serve.outage_failed", measured=failed, unit="", target="0", ok=failed == 0, against=against),
        Row(name="log.lost", measured=lost, unit="", target="0", ok=lost == 0, against=f"{len(answered):,} answered"),
        Row(name="log.twice", measured=twice, unit="", target="0", ok=twice == 0),
        Row(
            name="log.out_of_order",
            measured=shipping.out_of_order,
            unit="",
            target="0",
            ok=shipping.out_of_order == 0,
            against=f"{shipping.gone:,} segments shipped; up to {sum(shipping.waiting.values()):,} waited at once",
        ),
        shown("log.shipped", shipped, "s", "from the return of S3 until the segments of the outage are there"),
        shown("serve.outage_back", back, "s", "from a move after their return to the last server's answer"),
    ], []


def _logged_keys(folder: Path, machines: Sequence[Path]) -> Counter[str]:
    """Ship what the servers had not shipped when they ended; return how often each key is in the shared log."""
    for machine in machines:
        logs = open_logs(config.load(machine))
        if logs:
            logs.ship()
    folders = traffic.log_folders(log_root(config.load(folder), NAME), NAME)
    paths = [path for release in folders for path in segments.segments(release)]
    return Counter(key for path in paths for key in pl.read_ipc_stream(path)["key"])
