"""Rows of blobs: files, and S3 by SeaweedFS."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from harness import Result, Row
from headway.core.contracts import Blobs
from headway.core.errors import StoreError
from headway.core.plugins import load_blobs
from headway.core.record import digest_of

sys.path.append(str(Path(__file__).parents[2]))

from tests.storage import seaweed

WRITERS, ROUNDS, SIDE_BY_SIDE = 32, 200, 10
KILLS, WRITES_BEFORE_KILL, BLOB_BYTES = 200, 3, 1 << 18
TINY = {"WRITERS": 4, "ROUNDS": 2, "KILLS": 2}
BACKENDS = ("files", "s3")


def winners() -> Result:
    """Let many writers create the same blob at once, round after round, and count who was the one that stored it.

    Rounds run side by side, because SeaweedFS makes the writers of one key wait up to a second for each other.
    """
    rows = []
    for backend in BACKENDS:
        with _address(backend) as (address, _), ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            clients = [load_blobs(backend)(address) for _ in range(WRITERS)]
            results = list(pool.map(lambda number, clients=clients: _race(clients, number), range(ROUNDS)))
        worst = next((count for count, _ in results if count != 1), 1)
        median = statistics.median(milliseconds for _, milliseconds in results)
        against = f"{WRITERS} writers x {ROUNDS} rounds, {SIDE_BY_SIDE} side by side; {median:.0f} ms a round"
        rows.append(
            Row(name=f"create.winners.{backend}", measured=worst, unit="", target="1", ok=worst == 1, against=against)
        )
    return rows, []


def _race(clients: list[Blobs], number: int) -> tuple[int, float]:
    """Return the number of winners of a round, whose blob must be there, and its time in ms."""
    gate, content = threading.Barrier(len(clients)), b"round %d" % number

    def create(client: Blobs) -> bool:
        gate.wait()
        return client.create(content)

    start = time.perf_counter()
    with ThreadPoolExecutor(len(clients)) as pool:
        won = sum(pool.map(create, clients))
    elapsed = (time.perf_counter() - start) * 1000
    return won if clients[0].get(digest_of(content)) == content else 0, elapsed


def lost() -> Result:
    """Kill the client, or the server, while it stores blobs; count the acknowledged ones that are gone or damaged."""
    rows = []
    for backend in BACKENDS:
        with _address(backend) as (address, server):
            missing, acknowledged = _kill_often(backend, address, server)
        killed = "client and server in turn" if server else "client"
        against = f"{KILLS} kills of the {killed}; {acknowledged:,} acknowledged blobs of {BLOB_BYTES >> 10} KiB"
        name = f"kill9.lost.blobs.{backend}"
        rows.append(Row(name=name, measured=missing, unit="", target="0", ok=missing == 0, against=against))
    return rows, []


def _kill_often(backend: str, address: str, server: seaweed.Seaweed | None) -> tuple[int, int]:
    """Return the numbers of acknowledged blobs that were lost, or do not have their bytes, and of all of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, f"headway.storage.blobs.{backend}"])
    acknowledged: set[str] = set()
    for kill in range(KILLS):
        receiver, sender = context.Pipe(duplex=False)
        environment = server.environment if server else {}
        writer = context.Process(target=write_until_killed, args=(backend, address, environment, kill, sender))
        writer.start()
        sender.close()
        acknowledged |= {receiver.recv() for _ in range(WRITES_BEFORE_KILL)}
        if server and kill % 2:
            server.kill()
        writer.kill()
        writer.join()
        with suppress(EOFError, OSError):  # its last message may be cut off
            while True:
                acknowledged.add(receiver.recv())
        if server and kill % 2:
            server.start()
    blobs = load_blobs(backend)(address)
    return sum(not _is_there(blobs, digest) for digest in acknowledged), len(acknowledged)


def _is_there(blobs: Blobs, digest: str) -> bool:
    try:
        return digest_of(blobs.get(digest)) == digest
    except StoreError:
        return False


def write_until_killed(backend: str, address: str, environment: dict[str, str], kill: int, sender: Connection) -> None:
    """Store blobs, and send the digest of each once it is acknowledged."""
    os.environ.update(environment)
    blobs = load_blobs(backend)(address)
    for number in itertools.count():
        sender.send(blobs.put(b"%d %d " % (kill, number) + os.urandom(BLOB_BYTES)))


@contextmanager
def _address(backend: str) -> Iterator[tuple[str, Any]]:
    """Yield the address of an empty store, and its server, if it has one."""
    if backend == "files":
        with tempfile.TemporaryDirectory() as folder:
            yield folder, None
        return
    with seaweed.server() as server:
        os.environ.update(server.environment)
        server.create_bucket("bench")
        yield "s3://bench/stores", server
