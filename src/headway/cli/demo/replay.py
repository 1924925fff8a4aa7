"""Send a month of flights to a running server over HTTP and compare every answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from headway.core.arrays import Floats
from headway.core.errors import StoreError
from headway.core.evidence import Measurement
from headway.evaluation.context import Comparison
from headway.reporting.report_data import Replay
from headway.serving.client import Client

TOLERANCE = 1e-9
SERVER_LOG = "server.log"


class _Announcement(msgspec.Struct):
    addresses: list[str]


@contextmanager
def server(folder: Path, reference: str) -> Iterator[str]:
    """Run a server process on a free loopback port, yield its address, and stop it at the end.

    Its log is appended to `server.log` in the folder of the project, so that it does not mix with the caller's output.
    Ctrl-C, which a terminal sends to both processes, is handled by the parent, which stops the server cleanly.
    """
    options = ["--project", str(folder), "--port", "0", "--json"]
    command = [sys.executable, "-m", "headway.cli", "serve", reference, *options]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with ExitStack() as ended:
        with _without_interrupts():
            with (folder / SERVER_LOG).open("ab") as log:
                process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
            ended.callback(_stop, process)
        yield _address(process, folder / SERVER_LOG)


def replay(
    address: str,
    name: str,
    table: pl.DataFrame,
    comparison: Comparison,
    *,
    columns: Sequence[str],
    before: Callable[[int], object] = lambda _: None,
) -> Replay:
    """Send these columns of each row as a request and compare its answer with the release and the baseline.

    `comparison` holds the answers computed in process on the same rows, in the same order. `before` is called with the
    index of each row, and is not part of the times.
    """
    sent = {column: table[column].to_list() for column in columns}
    answers = np.full(len(table), np.nan)
    times_ms = np.empty(len(table))
    failures = 0
    with Client(address) as client:
        for row in range(len(table)):
            before(row)
            start = time.perf_counter_ns()
            try:
                answers[row] = client.infer(name, {key: values[row : row + 1] for key, values in sent.items()})[0, 0]
            except StoreError:
                failures += 1
            times_ms[row] = (time.perf_counter_ns() - start) / 1e6
    answered = ~np.isnan(answers)
    return Replay(
        period=str(table["date"][0])[:7],
        requests=len(table),
        rows=len(table),
        mismatches=int((np.abs(answers - comparison.scores[:, 0]) > TOLERANCE)[answered].sum()),
        failures=failures,
        largest_difference=float(np.abs(answers - comparison.reference_scores[:, 0])[answered].max()),
        seconds=float(times_ms.sum() / 1e3),
        p50=_quantile(times_ms, 0.5),
        p99=_quantile(times_ms, 0.99),
    )


def _quantile(times_ms: Floats, share: float) -> Measurement:
    """Return a quantile of request times with the distribution-free interval of its order statistics."""
    ordered, n = np.sort(times_ms), len(times_ms)
    spread = 1.96 * (n * share * (1 - share)) ** 0.5
    low, high = (int(np.clip(n * share + sign * spread, 0, n - 1)) for sign in (-1, 1))
    return Measurement(
        name=f"request.p{share * 100:.0f}",
        value=float(np.quantile(ordered, share)),
        low=float(ordered[low]),
        high=float(ordered[high]),
        method="order statistics, requests one after the other",
        n_rows=n,
        unit="ms",
    )


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Defer Ctrl-C until the end; a process started within inherits the mask and ignores it."""
    received: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
    if received:
        signal.raise_signal(signal.SIGINT)


def _stop(process: subprocess.Popen[str]) -> None:
    """Terminate the process, or kill it after 20 s."""
    process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def _address(process: subprocess.Popen[str], log: Path) -> str:
    """Return the address that the server announces; raise StoreError if it did not start."""
    line = process.stdout.readline() if process.stdout else ""
    try:
        return msgspec.json.decode(line, type=_Announcement).addresses[0]
    except msgspec.DecodeError as error:
        where = line.strip() or "it printed no line"
        raise StoreError("the server did not start", where=where, hint=f"see the end of {log}") from error
