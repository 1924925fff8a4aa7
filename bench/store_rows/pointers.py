"""Rows of pointers and records: SQLite, files in a folder, and PostgreSQL."""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from typing import Any

from harness import Result, Row
from headway.core.contracts import Signed, State
from headway.core.errors import PointerMoved
from headway.core.plugins import load_state
from headway.core.record import digest_of, write
from headway.core.release import PointerUpdate
from store_rows import servers

WRITERS, ROUNDS = 32, 200
KILLS, WRITES_BEFORE_KILL = 200, 5
READS, WARM_UP, UPDATES = 5000, 200, 1000
TINY = {"WRITERS": 4, "ROUNDS": 2, "KILLS": 2, "READS": 20, "WARM_UP": 2, "UPDATES": 5}
READ_MS_LIMIT = 2.0
BACKENDS = ("sqlite", "file", "postgresql")


def update(number: int, previous: str, *, release: str = "sha256:r") -> Signed:
    """Return an update of `flights@live`; the store compares bytes, and does not verify the signature."""
    made = PointerUpdate(
        name="flights",
        pointer="live",
        number=number,
        release=release,
        previous=previous,
        at="2026-11-28T00:00:00.000+00:00",
        who="bench",
        why="bench/stores.py",
    )
    return Signed(content=write(made), signature=b"signature")


def winners() -> Result:
    """Let many writers append the same update at once, round after round, and count who was acknowledged."""
    rows = []
    for backend in BACKENDS:
        with _address(backend) as (address, _):
            counts, times_ms = _race(backend, address)
        worst = next((count for count in counts if count != 1), 1)
        against = f"{WRITERS} writers x {ROUNDS} rounds, each with its own connection; {_median(times_ms)} ms a round"
        rows.append(
            Row(name=f"cas.winners.{backend}", measured=worst, unit="", target="1", ok=worst == 1, against=against)
        )
    return rows, []


def _race(backend: str, address: str) -> tuple[list[int], list[float]]:
    """Return the number of winners and the time of each round; the store must hold exactly the winner's update."""
    writers = [load_state(backend)(address) for _ in range(WRITERS)]
    counts, times_ms, previous = [], [], ""
    with ThreadPoolExecutor(WRITERS) as pool:
        for number in range(1, ROUNDS + 1):
            signed = [update(number, previous, release=f"sha256:{writer}") for writer in range(WRITERS)]
            gate = threading.Barrier(WRITERS)
            start = time.perf_counter()
            won = list(pool.map(_append, writers, signed, [gate] * WRITERS))
            times_ms.append((time.perf_counter() - start) * 1000)
            last, length = writers[0].last(), len(writers[0].updates())
            is_winners = last == signed[won.index(True)] and length == number if any(won) else False
            counts.append(sum(won) if is_winners else 0)
            previous = digest_of(last.content) if last else ""
    for writer in writers:
        writer.close()
    return counts, times_ms


def _append(state: State, signed: Signed, gate: threading.Barrier) -> bool:
    gate.wait()
    try:
        return state.append(signed)
    except PointerMoved:
        return False


def lost() -> Result:
    """Kill the client, or the server, while it writes; count the acknowledged updates and records that are gone."""
    rows = []
    for backend in BACKENDS:
        with _address(backend) as (address, server):
            missing, acknowledged = _kill_often(backend, address, server)
        killed = "client and server in turn" if server else "client"
        against = f"{KILLS} kills of the {killed}; {acknowledged:,} acknowledged updates, each with a record"
        rows.append(
            Row(name=f"kill9.lost.{backend}", measured=missing, unit="", target="0", ok=missing == 0, against=against)
        )
    return rows, []


def _kill_often(backend: str, address: str, server: Any) -> tuple[int, int]:
    """Return the numbers of acknowledged writes that were lost, and of all acknowledged ones."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, f"headway.storage.state.{backend}"])
    acknowledged: set[int] = set()
    for kill in range(KILLS):
        receiver, sender = context.Pipe(duplex=False)
        writer = context.Process(target=write_until_killed, args=(backend, address, sender))
        writer.start()
        sender.close()
        acknowledged |= {receiver.recv() for _ in range(WRITES_BEFORE_KILL)}
        if server and kill % 2:
            server.kill()
        writer.kill()
        writer.join()
        acknowledged |= set(_rest(receiver))
        if server and kill % 2:
            server.start()
    with closing(load_state(backend)(address)) as state:
        saved = {int(content) for content in state.records("bench")}
        numbers = set(range(1, len(state.updates()) + 1))
    return len(acknowledged - (saved & numbers)), len(acknowledged)


def _rest(receiver: Connection) -> Iterator[int]:
    """Yield what a process had sent before it was killed; its last message may be cut off."""
    try:
        while True:
            yield receiver.recv()
    except (EOFError, OSError):
        return


def write_until_killed(backend: str, address: str, sender: Connection) -> None:
    """Append updates with a record each, and send the number of each pair once both are acknowledged."""
    state = load_state(backend)(address)
    number, last = len(state.updates()), state.last()
    previous = digest_of(last.content) if last else ""
    while True:
        number += 1
        signed = update(number, previous)
        state.append(signed)
        state.save("bench", b"%d" % number, name="flights")
        previous = digest_of(signed.content)
        sender.send(number)


def reads() -> Result:
    """Read the last update of a pointer, as a server does twice a second, from a chain of many."""
    rows = []
    for backend in BACKENDS:
        with _address(backend) as (address, _), closing(load_state(backend)(address)) as state:
            previous = ""
            for number in range(1, UPDATES + 1):
                signed = update(number, previous)
                state.append(signed)
                previous = digest_of(signed.content)
            times_ms = _times_ms(lambda opened=state: opened.last("flights", "live"))
        limit = READ_MS_LIMIT if backend == "postgresql" else None
        median = statistics.median(times_ms)
        rows.append(
            Row(
                name=f"pointer.read_ms.{backend}",
                measured=median,
                unit="ms",
                target=f"<= {limit:g}" if limit else "shown",
                ok=limit is None or median <= limit,
                against=f"median of {READS:,} reads over loopback, p99 {_p99(times_ms):.2f} ms; {UPDATES:,} updates",
            )
        )
    mlflow, short = _mlflow_reads()
    return [*rows, *mlflow], short


def _mlflow_reads() -> Result:
    """Read a model version by its alias from MLflow's registry on the same kind of server."""
    try:
        from mlflow import MlflowClient  # noqa: PLC0415 - only where it is installed
    except ModuleNotFoundError:
        return [], ["pointer.read_ms.mlflow was not measured: MLflow is not installed"]
    with servers.postgresql() as server:
        address = server.create_database().replace("postgresql:", "postgresql+psycopg:")
        client = MlflowClient(tracking_uri=address, registry_uri=address)
        client.create_registered_model("flights")
        client.create_model_version("flights", source="s3://models/flights")
        client.set_registered_model_alias("flights", "live", "1")
        times_ms = _times_ms(lambda: client.get_model_version_by_alias("flights", "live"))
    against = f"MlflowClient.get_model_version_by_alias on PostgreSQL, median of {READS:,}, p99 {_p99(times_ms):.2f} ms"
    median = statistics.median(times_ms)
    return [
        Row(name="pointer.read_ms.mlflow", measured=median, unit="ms", target="shown", ok=True, against=against)
    ], []


def _times_ms(read: Callable[[], object]) -> list[float]:
    """Return the time of each read, after reads that are not counted."""
    for _ in range(WARM_UP):
        read()
    times_ms = []
    for _ in range(READS):
        start = time.perf_counter()
        read()
        times_ms.append((time.perf_counter() - start) * 1000)
    return times_ms


@contextmanager
def _address(backend: str) -> Iterator[tuple[str, Any]]:
    """Yield the address of an empty store, and its server, if it has one."""
    if backend != "postgresql":
        with tempfile.TemporaryDirectory() as folder:
            yield f"file://{folder}" if backend == "file" else folder, None
    else:
        with servers.postgresql() as server:
            yield server.create_database(), server


def _median(times_ms: list[float]) -> str:
    return f"{statistics.median(times_ms):.0f}"


def _p99(times_ms: list[float]) -> float:
    return sorted(times_ms)[int(0.99 * len(times_ms))]
