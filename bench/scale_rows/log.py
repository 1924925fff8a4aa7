"""The prediction log by the row: bytes, CPU to write, read and watch it, and what a segment costs on S3.

Rows are those of `bench/serve.py`: 25 inputs, one output, a key of 12 characters. CPU seconds are those of all threads,
so that other work on the machine hardly matters; rates on S3 are by the clock, with a SeaweedFS on the same cores.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from harness import Result, Row, shown
from headway.monitoring.prediction_log import LOG_COLUMNS, SegmentReader
from headway.serving.telemetry.prediction_log import LogEntry, LogSource, decode_entries, encode_entry
from headway.serving.workers.log_writer import in_order_of_time, segment_columns
from headway.storage import segments, traffic
from headway.storage._shared_logs import SharedLogs
from serving.models import FEATURES, by_trees, point, project, rows_of
from store_rows import servers

ROWS, RUNS = 100_000, 5
SEGMENTS, SEGMENT_ROWS = 240, 500
WATCHED, DAYS = (100_000, 1_000_000), 30
TINY = {"ROWS": 400, "RUNS": 1, "SEGMENTS": 16, "SEGMENT_ROWS": 5, "WATCHED": (100, 200)}
DAY_US = 86_400_000_000
NAME, DIGEST = "bench", "sha256:" + "ab" * 32
BEGINS = "2026-01-01T00:00:00+00:00"
_SOURCE = msgspec.json.encode(LogSource(NAME, DIGEST, tuple(f"x{number}" for number in range(FEATURES)), ()))
SOURCE = _SOURCE + b" " * (-len(_SOURCE) % 8)
RELEASE: Any = SimpleNamespace(features=SimpleNamespace(logged_texts=()))  # a release without views


def rows() -> Result:
    """Return the bytes of a row on disk, and the rows that one core writes and reads in a second."""
    found = []
    for each in (1, 32):
        records = _records(ROWS // each * each, each)
        written, read = [], []
        for _ in range(RUNS):
            with tempfile.TemporaryDirectory() as folder:
                written.append(_cpu_s(lambda folder=folder, records=records: _write(Path(folder) / "log", records)))
                reader = SegmentReader(Path(folder) / "log", LOG_COLUMNS)
                read.append(_cpu_s(reader.read))
                size = sum(path.stat().st_size for path in Path(folder, "log").iterdir())
        n, how = ROWS // each * each, f"{each} rows a request; median of {RUNS} runs of {ROWS:,} rows"
        found += [
            shown(f"log.row_bytes.{each}", size / n, "B", f"{FEATURES} inputs, 1 output, a key of 12 characters"),
            _rate(f"log.written_per_s.{each}", n, written, f"rows decoded, written and flushed; {how}"),
            _rate(f"log.read_per_s.{each}", n, read, f"as watch reads them; {how}"),
        ]
    return found, []


def _rate(name: str, n: int, seconds: Sequence[float], how: str) -> Row:
    rates = sorted(n / each for each in seconds)
    spread = f"{rates[0]:,.0f} to {rates[-1]:,.0f}"
    return shown(name, statistics.median(rates), "rows/CPU s", f"{how}, {spread}")


def _cpu_s(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def _records(n: int, each: int) -> list[bytes]:
    """Return records of a ring, one for each request, as workers write them."""
    inputs, answers = rows_of(n), np.random.default_rng(2).random((n, 1))
    begin_us = time.time_ns() // 1000
    return [
        b"".join(
            encode_entry(
                LogEntry(
                    release=RELEASE,
                    at_us=begin_us + 30 * request,
                    requests=np.array([request]),
                    keys=[f"{request:012}"],
                    sizes=[each],
                    latency_ns=np.array([500_000]),
                    role=traffic.LIVE,
                    answered=1,
                    stage=traffic.ALONE,
                    paired=0,
                    rows=inputs[each * request : each * (request + 1)],
                    answers=answers[each * request : each * (request + 1)],
                    seen=(),
                ),
                SOURCE,
            )
        )
        for request in range(n // each)
    ]


def _write(folder: Path, records: Sequence[bytes]) -> None:
    """Write records as segments of what a busy server collects in one pass, 2 MB."""
    a_pass = max(1, (2 << 20) // len(records[0]))
    for start in range(0, len(records), a_pass):
        part = decode_entries(records[start : start + a_pass])
        segments.save(folder, in_order_of_time(segment_columns(part)))


def on_s3() -> Result:
    """Ship, merge and copy segments on a SeaweedFS; count the requests, and the segments in a second."""
    with servers.s3() as bucket, tempfile.TemporaryDirectory() as folder:
        bucket.create_bucket("bench")
        state = Path(folder)
        logs = SharedLogs("s3://bench/log", state)
        log = traffic.log_folder(state, NAME, DIGEST)
        part = segment_columns(decode_entries(_records(SEGMENT_ROWS, 1)))
        for _ in range(SEGMENTS):
            segments.save(log, part)
        size = sum(path.stat().st_size for path in log.iterdir()) / SEGMENTS
        found = [_step("ship", logs.ship, logs, f"{size / 1000:.0f} kB each")]
        found += [_step("copy", logs.refresh, logs, "by a reader without copies, 8 at a time")]
        late = {"before_ns": time.time_ns(), "span_ns": 1 << 62, "part": traffic.MERGED}
        found += [_step("merge", lambda: logs.merge(**late), logs, "into segments of 8 MB, by one machine")]
        left = sum(1 for _ in logs.paths())
    return [*found, shown("log.merged_segments", left, "", f"of {SEGMENTS} on S3")], []


def _step(name: str, run: Callable[[], object], logs: SharedLogs, how: str) -> Row:
    """Run a step over all segments; return how many it did in a second, and its requests for each."""
    with _requests(logs) as counts:
        began, cpu = time.perf_counter(), time.process_time()
        run()
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    listed = ", ".join(f"{count / SEGMENTS:.2f} {method}" for method, count in sorted(counts.items()))
    against = f"{SEGMENTS} segments, {how}; {listed} a segment; {1000 * cpu_s / SEGMENTS:.1f} ms of our CPU"
    return shown(f"log.{name}_per_s", SEGMENTS / seconds, "segments/s", against)


@contextmanager
def _requests(logs: SharedLogs) -> Iterator[Counter[str]]:
    """Count the requests of the client of S3 by method."""
    counts: Counter[str] = Counter()
    events = logs._bucket._client.meta.events  # requests as they are sent, repeated ones too

    def count(request: object, **_: object) -> None:
        counts[request.method] += 1

    events.register("before-send.s3", count)
    try:
        yield counts
    finally:
        events.unregister("before-send.s3", count)


def watch() -> Result:
    """Run `headway watch` on logs of two sizes, each in a process of its own; their difference is the cost of rows."""
    with tempfile.TemporaryDirectory() as folder:
        register = project(Path(folder), {NAME: by_trees()})
        bundle = register.resolve(f"{NAME}@live")
        digest = register.publish(replace(bundle.release, made_at=BEGINS), dict(bundle.files))
        point(register, NAME, digest)
        register.state.close()
        costs = [_watched(Path(folder), digest, n) for n in WATCHED]
    (few_s, few_mb, _), (many_s, many_mb, size_mb) = costs
    more = WATCHED[1] - WATCHED[0]
    against = f"{WATCHED[1]:,} rows of {DAYS} days against {WATCHED[0]:,}: {many_s:.1f} and {few_s:.1f} CPU s"
    return [
        shown("watch.log_us_per_row", 1e6 * (many_s - few_s) / more, "us", f"{against}; no labels"),
        shown(
            "watch.log_bytes_per_row", 1e6 * (many_mb - few_mb) / more, "B", f"memory: {many_mb:.0f}, {few_mb:.0f} MB"
        ),
        shown("watch.log_mb", size_mb, "MB", f"read for {WATCHED[1]:,} rows: all of the live release's log"),
    ], []


def _watched(folder: Path, digest: str, n: int) -> tuple[float, float, float]:
    """Return CPU seconds and peak memory in MB of a watch of the log of n rows, and its size in MB."""
    log = traffic.log_folder(folder / ".headway", NAME, digest)
    shutil.rmtree(log, ignore_errors=True)
    begins_us = int(np.datetime64(BEGINS[:19], "us").astype(np.int64))
    columns = dict(segment_columns(decode_entries(_records(n, 1))))
    columns["at_us"] = begins_us + np.arange(n, dtype=np.int64) * DAYS * DAY_US // n
    step = max(1, n // DAYS)
    for start in range(0, n, step):
        segments.save(log, {name: values[start : start + step] for name, values in columns.items()})
    size = sum(path.stat().st_size for path in log.iterdir())
    command = [sys.executable, "-m", "headway.cli", "watch", "--source", "log", "--project", str(folder), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in (0, 1, 3), f"headway watch ended with {process.returncode}"
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6, size / 1e6
