"""Rows of the online store: lookups in SQLite and Redis, three views at once, pushes, and killed materialisations.

Planes and features are as many as in the flights. A call looks the rows up and unpacks them, as a server does; p50 and
p99 are of all calls, one after the other on one connection.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from harness import Result, Row, shown
from headway.core.config import Config
from headway.core.contracts import OnlineStore
from headway.core.feature_view import Feature, FeatureSource, FeatureView
from headway.core.sections import ProjectSection, StoreSection
from headway.features.online_rows import MAX_BATCH
from headway.features.push import push_lines
from headway.storage.addresses import open_online
from store_rows import servers

sys.path.append(str(Path(__file__).parents[2]))

from tests.features import test_materialize as killed
from tests.storage.redis_server import PASSWORD

PLANES, FEATURES, CALLS, WARM, EVENTS, KILLS = 4_043, 8, 10_000, 200, 100_000, 100
TINY = {"CALLS": 100, "WARM": 5, "EVENTS": 200, "KILLS": 1}
TABLES = ("plane.v1", "weather.v1", "delay.v1")
FLAT = 1.3
"""Largest ratio of the median of the last tenth of the calls to that of the first."""


def sqlite() -> Result:
    """Look 1 and 100 planes up in a file."""
    with _filled("") as store:
        return [*_lookups(store, "sqlite", {100: 0.25}), *_three(store, "sqlite")], []


def redis() -> Result:
    """Look 1 and 100 planes up in a Redis on this machine, over TCP."""
    with _redis() as address, _filled(address) as store:
        return [*_lookups(store, "redis", {1: 0.08, 100: 0.35}), *_three(store, "redis")], []


def push() -> Result:
    """Push events of 8 numbers as JSON lines, which are checked, computed and stored in batches."""
    rows, draw = [], np.random.default_rng(1)
    numbers = draw.normal(size=(EVENTS, FEATURES)).round(3)
    at = datetime(2024, 1, 1, tzinfo=UTC).isoformat()
    lines = [
        json.dumps({"plane": f"N{number % PLANES}", "at": at, **{f"f{i}": value for i, value in enumerate(values)}})
        for number, values in enumerate(numbers.tolist())
    ]
    view = FeatureView(
        name="plane",
        version=1,
        entities=("plane",),
        source=FeatureSource(location="planes.parquet", event_time="at"),
        features=tuple(Feature(name=f"f{index}") for index in range(FEATURES)),
    )
    with _redis() as address:
        for kind, where in (("sqlite", ""), ("redis", address)):
            with _opened(where) as store:
                began = time.perf_counter()
                done = push_lines(store, view, (line.encode() for line in lines), refuse=lambda _: None)
                took_s = time.perf_counter() - began
            against = f"{kind}, {done.rows:,} events of {FEATURES} numbers, {done.refused} refused, one process"
            rows.append(shown(f"push.{kind}_events_per_s", round(done.rows / took_s), "1/s", against))
    return rows, []


def materialise_killed() -> Result:
    """Kill full and incremental runs after random batches; check what is served, and compare with a clean run."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])  # of the killed process
    rows = _killed("", "sqlite")
    with _redis() as address:
        rows += _killed(address, "redis")
    return rows, []


def _killed(address: str, kind: str) -> list[Row]:
    draw, partial, different, resumed = np.random.default_rng(21), 0, 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        old = killed.source_of(folder / "old.parquet", 1.0, 1)
        new = killed.source_of(folder / "new.parquet", 2.0, 3)
        before, after = ([[value, f"s{value}", 1.0]] for value in (1.0, 2.0))
        for number in range(KILLS):
            state, full = folder / f"state{number}", number % 2 == 0
            with closing(open_online(_config(state, address))) as store:
                store.drop(killed.VIEW.online_table)
                killed.run(store, pl.read_parquet(old))
                killed.kill_after(int(draw.integers(1, 18)), state, new, full=full, address=address)
                rows = killed.served(store, *killed.KEYS)
                whole = rows in (before * len(rows), after * len(rows))
                partial += not (whole if full else all(row in (before[0], after[0]) for row in rows))
                done = killed.run(store, pl.read_parquet(new), full=full)
                resumed += done.resumed > 0
                different += killed.served(store, *killed.KEYS) != after * len(rows)
    against = f"{KILLS} kills of a process, half of them full runs; {resumed} went on where it was, the others again"
    return [
        Row(
            name=f"materialise.{kind}_partial_views",
            measured=partial,
            unit="kills",
            target="0",
            ok=not partial,
            against=against,
        ),
        Row(
            name=f"materialise.{kind}_differs_from_clean",
            measured=different,
            unit="kills",
            target="0",
            ok=not different,
            against="served values after the next run",
        ),
    ]


def _lookups(store: OnlineStore, kind: str, targets: dict[int, float]) -> list[Row]:
    rows = []
    for count in (1, 100):
        times = _timed(store, TABLES[:1], count)
        p50, p99 = np.percentile(times, (50, 99))
        parts = np.array_split(np.array(times), 10)
        drift = float(np.median(parts[-1]) / np.median(parts[0]))
        target = targets.get(count)
        against = f"p99 {p99:.3f} ms; {len(times):,} calls, last tenth at {drift:.2f} of the first"
        rows.append(
            Row(
                name=f"online.{kind}_{count}_ms",
                measured=round(float(p50), 4),
                unit="ms",
                target=f"<= {target}" if target else "shown",
                ok=target is None or bool(p50 <= target),
                against=against,
            )
        )
        rows.append(
            Row(
                name=f"online.{kind}_{count}_drift",
                measured=round(drift, 3),
                unit="ratio",
                target=f"<= {FLAT}",
                ok=drift <= FLAT,
                against="median of the last tenth of the calls to that of the first",
            )
        )
    return rows


def _three(store: OnlineStore, kind: str) -> list[Row]:
    p50, p99 = np.percentile(_timed(store, TABLES, 100), (50, 99))
    against = f"p99 {p99:.3f} ms; three views of 100 planes in one call"
    return [shown(f"online.{kind}_three_views_ms", round(float(p50), 4), "ms", against)]


def _timed(store: OnlineStore, tables: Sequence[str], count: int) -> list[float]:
    """Return the time of each call in milliseconds; each looks other planes up."""
    draw, times = np.random.default_rng(7), list[float]()
    for call in range(CALLS + WARM):
        keys = [f"N{number}" for number in draw.integers(0, PLANES, count).tolist()]
        began = time.perf_counter()
        store.read([(table, keys) for table in tables])
        if call >= WARM:
            times.append((time.perf_counter() - began) * 1e3)
    return times


@contextmanager
def _filled(address: str) -> Iterator[OnlineStore]:
    keys, at_us = [f"N{number}" for number in range(PLANES)], np.full(PLANES, 1_700_000_000_000_000)
    values = np.random.default_rng(3).normal(size=(PLANES, FEATURES))
    with _opened(address) as store:
        for table in TABLES:
            for start in range(0, PLANES, MAX_BATCH):
                part = slice(start, start + MAX_BATCH)
                store.write(table, keys[part], values[part], at_us[part])
        yield store


@contextmanager
def _opened(address: str) -> Iterator[OnlineStore]:
    with tempfile.TemporaryDirectory() as folder, closing(open_online(_config(Path(folder), address))) as store:
        yield store


@contextmanager
def _redis() -> Iterator[str]:
    os.environ["HEADWAY_STORE_ONLINE_PASSWORD"] = PASSWORD
    with servers.redis() as server:
        yield server.address


def _config(folder: Path, address: str) -> Config:
    return Config(project=ProjectSection(state=str(folder)), store=StoreSection(online=address))
