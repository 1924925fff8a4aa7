"""Rows of the online store: lookups in SQLite and Redis, three views at once, pushes, and killed materialisations.

Planes and features are as many as in the flights. A call looks the rows up and unpacks them, as a server does; p50 and
p99 are of all calls, one after the other on one connection. Feast reads the same rows in turns with such calls, and
with those of `headway.FeatureStore`, which has Feast's arguments and returns the same columns.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import polars as pl

from cache import Absent, environment
from feature_rows.joins import FEAST
from harness import Result, Row, shown
from headway.api.feature_store import FeatureStore
from headway.core.arrays import Floats
from headway.core.config import Config
from headway.core.contracts import OnlineStore
from headway.core.feature_view import (
    DAY_S,
    Aggregation,
    AggregationFunction,
    Feature,
    FeatureSource,
    FeatureView,
)
from headway.core.settings.project import ProjectSection
from headway.core.settings.store import StoreSection
from headway.evaluation.statistics.percentiles import median_interval
from headway.features import catalog
from headway.features.online_rows import MAX_BATCH
from headway.features.push import push_lines
from headway.features.window_state import WindowPlan, merge_events
from headway.registry.project import open_project
from headway.storage.addresses import open_online
from store_rows import servers

sys.path.append(str(Path(__file__).parents[2]))

from tests.features import test_materialize as killed
from tests.storage.redis_server import PASSWORD

PLANES, FEATURES, CALLS, WARM, EVENTS, KILLS, OF_PLANE = 4_043, 8, 10_000, 200, 100_000, 100, 50
SCRIPT = Path(__file__).parents[1] / "peers/of_feast_online.py"
TURNS, TURN_CALLS = 21, 50
TINY = {"CALLS": 100, "WARM": 5, "EVENTS": 200, "KILLS": 1, "TURNS": 11, "TURN_CALLS": 3}
AT_US = 1_700_000_000_000_000
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


def feast() -> Result:
    """Read the rows of 1 and 100 planes in turns with Feast, from SQLite and from one Redis."""
    rows, short = list[Row](), list[str]()
    with _redis() as address:
        for kind, where in (("sqlite", ""), ("redis", address)):
            with _filled(where) as store, _feature_store(where) as calls, ExitStack() as stack:
                peer = _open_feast(where, stack, short)
                rows += [row for count in (1, 100) for row in _in_turns(kind, count, store, calls, peer)]
    return rows, short


def windows() -> Result:
    """Look the windows of 1 and 100 planes up and aggregate them, in a file and in a Redis on this machine."""
    functions: tuple[AggregationFunction, ...] = ("count", "sum", "mean", "min", "max", "last", "distinct")
    view = FeatureView(
        name="plane",
        version=1,
        entities=("plane",),
        source=FeatureSource(location="planes.parquet", event_time="at"),
        features=tuple(
            Feature(name=one, aggregation=Aggregation(function=one, window_s=30 * DAY_S, column="v"))
            for one in functions
        ),
    )
    plan, draw, rows = WindowPlan.of_view(view), np.random.default_rng(5), []
    now_us = time.time_ns() // 1000
    times = now_us - draw.integers(0, 30 * DAY_S * 1_000_000, (PLANES, OF_PLANE))
    values = draw.normal(size=(PLANES, OF_PLANE)).round(2)
    events = {f"N{number}": plan.events(times[number], {"v": values[number]}) for number in range(PLANES)}
    with _redis() as address:
        for kind, where in (("sqlite", ""), ("redis", address)):
            with _opened(where) as store:
                merge_events(store, view, events, now_us=now_us)
                found = {count: np.percentile(_windows_timed(store, view, plan, count), (50, 99)) for count in (1, 100)}
            for count, (p50, p99) in found.items():
                of = f"{len(functions)} windows of 30 days over {OF_PLANE} events of a plane"
                against = f"p99 {p99:.3f} ms; {CALLS:,} calls; {of}"
                rows.append(shown(f"windows.{kind}_{count}_ms", round(float(p50), 4), "ms", against))
    return rows, []


def _windows_timed(store: OnlineStore, view: FeatureView, plan: WindowPlan, count: int) -> list[float]:
    """Return the time of each call in milliseconds, from keys to numbers; each looks other planes up."""
    draw, times = np.random.default_rng(7), list[float]()
    for call in range(CALLS + WARM):
        keys = [f"N{number}" for number in draw.integers(0, PLANES, count).tolist()]
        began = time.perf_counter()
        at_us = time.time_ns() // 1000
        wanted = [part for key in keys for part in plan.keys_at(key, at_us)]
        [states] = store.read_with_states([], [(view.states_table, wanted)])[1]
        plan.answers(keys, states, at_us)
        if call >= WARM:
            times.append((time.perf_counter() - began) * 1e3)
    return times


def push() -> Result:
    """Push events of 8 numbers as JSON lines, which are checked, computed and stored in batches."""
    rows, draw = [], np.random.default_rng(1)
    numbers = draw.normal(size=(EVENTS, FEATURES)).round(3)
    at = datetime(2024, 1, 1, tzinfo=UTC).isoformat()
    lines = [
        json.dumps({"plane": f"N{number % PLANES}", "at": at, **{f"f{i}": value for i, value in enumerate(values)}})
        for number, values in enumerate(numbers.tolist())
    ]
    view = _view()
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


def _timed(store: OnlineStore, tables: Sequence[str], count: int, *, calls: int = 0) -> list[float]:
    """Return the time of each call in milliseconds; each looks other planes up."""
    draw, times = np.random.default_rng(7), list[float]()
    warm = 0 if calls else WARM
    for call in range((calls or CALLS) + warm):
        keys = [f"N{number}" for number in draw.integers(0, PLANES, count).tolist()]
        began = time.perf_counter()
        store.read([(table, keys) for table in tables])
        if call >= warm:
            times.append((time.perf_counter() - began) * 1e3)
    return times


class _Feast:
    """Feast in an environment and a process of its own, which times its calls when it is asked to."""

    def __init__(self, address: str) -> None:
        found = urlsplit(address)
        self._online = {"type": "redis", "connection_string": f"{found.hostname}:{found.port},password={PASSWORD}"}
        self.services = ("plain", "precomputed") if address else ("plain",)
        self._address = address
        self._python = environment("feast", FEAST)

    def __enter__(self) -> _Feast:
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            names = {f"f{index}": values for index, values in enumerate(_values().T)}
            at = datetime.fromtimestamp(AT_US / 1e6, UTC)
            pl.DataFrame({"plane": _planes(), **names}).with_columns(at=pl.lit(at)).write_parquet(
                Path(folder) / "planes.parquet"
            )
            online = self._online if self._address else {"type": "sqlite", "path": f"{folder}/online.db"}
            command = [str(self._python), "-W", "ignore", str(SCRIPT), folder, json.dumps(online)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            self._process = stack.enter_context(subprocess.Popen(command, text=True, **pipes))
            stack.callback(self._process.kill)
            self.version = self._answer()["version"]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def times(self, service: str, count: int, calls: int) -> list[float]:
        """Return the milliseconds of each call; the values of the last one are those of the table."""
        self._process.stdin.write(f"{service} {count} {calls}\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        said = self._answer()
        expected = [_values()[_planes().index(plane), 0] for plane in said["planes"]]
        assert said["values"] == expected, "Feast reads other values"
        return list(said["ms"])

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise Absent("Feast ended without an answer")
        return dict(json.loads(line))


def _open_feast(address: str, stack: ExitStack, short: list[str]) -> _Feast | None:
    """Return Feast over a store; None, and a line in `short`, if it cannot be installed."""
    try:
        return stack.enter_context(_Feast(address))
    except Absent as error:
        short.append(f"Feast was not measured: {error}")
        return None


def _in_turns(kind: str, count: int, store: OnlineStore, calls: FeatureStore, peer: _Feast | None) -> list[Row]:
    """Return the times of each way to read rows, and the ratios of Feast to ours, by the medians of each turn."""
    features = [f"plane:f{index}" for index in range(FEATURES)]
    ways: dict[str, Callable[[], list[float]]] = {
        "lookup": lambda: _timed(store, TABLES[:1], count, calls=TURN_CALLS),
        "feature_store": lambda: _called(calls, features, count),
    }
    for service in peer.services if peer else ():
        ways[f"feast_{service}"] = partial(peer.times, service, count, TURN_CALLS)
    found: dict[str, list[list[float]]] = {way: [] for way in ways}
    for turn in range(TURNS + 1):
        for way in list(ways) if turn % 2 else list(ways)[::-1]:
            times = ways[way]()
            if turn:  # the first turn warms up
                found[way].append(times)
    medians = {way: np.median(turns, axis=1) for way, turns in found.items()}
    version, rows = peer.version if peer else "", []
    for way, turns in found.items():
        p50, p99 = np.percentile(turns, (50, 99))
        about = f"Feast {version}, service {way.removeprefix('feast_')}; " if way.startswith("feast") else ""
        against = f"{about}p99 {p99:.3f} ms; {TURNS} turns of {TURN_CALLS} calls"
        rows.append(shown(f"online.{way}_{kind}_{count}_ms", round(float(p50), 4), "ms", against))
    for way in ways:
        for ours in ("lookup", "feature_store") if way.startswith("feast") else ():
            ratio = median_interval("online.ratio", medians[way] / medians[ours], of="turns")
            against = f"over {ours}, 95 % {ratio.low:.1f} to {ratio.high:.1f}, medians of {TURNS} turns"
            rows.append(shown(f"online.{way}_{kind}_{count}_over_{ours}", round(ratio.value, 2), "x", against))
    return rows


def _called(store: FeatureStore, features: Sequence[str], count: int) -> list[float]:
    """Return the milliseconds of each call in Feast's shape."""
    draw, times = np.random.default_rng(7), list[float]()
    for _ in range(TURN_CALLS):
        rows = [{"plane": f"N{number}"} for number in draw.integers(0, PLANES, count).tolist()]
        began = time.perf_counter()
        store.get_online_features(features, rows, full_feature_names=True)
        times.append((time.perf_counter() - began) * 1e3)
    return times


@contextmanager
def _feature_store(address: str) -> Iterator[FeatureStore]:
    """Open a project whose view `plane` has the rows of `_filled` in the same store."""
    with tempfile.TemporaryDirectory() as folder:
        section = f'[store]\nonline = "{address}"\n' if address else ""
        Path(folder, "headway.toml").write_text(f'[project]\nname = "bench"\n{section}')
        project = open_project(Path(folder))
        with closing(project.state):
            catalog.apply(project.state, [_view()], who="bench")
        with closing(open_online(project.config)) as store:
            if not address:
                store.write(TABLES[0], _planes(), _values(), np.full(PLANES, AT_US))
        with FeatureStore(folder) as calls:
            yield calls


def _view() -> FeatureView:
    return FeatureView(
        name="plane",
        version=1,
        entities=("plane",),
        source=FeatureSource(location="planes.parquet", event_time="at"),
        features=tuple(Feature(name=f"f{index}") for index in range(FEATURES)),
    )


def _planes() -> list[str]:
    return [f"N{number}" for number in range(PLANES)]


@cache
def _values() -> Floats:
    return np.random.default_rng(3).normal(size=(PLANES, FEATURES))


@contextmanager
def _filled(address: str) -> Iterator[OnlineStore]:
    keys, at_us, values = _planes(), np.full(PLANES, AT_US), _values()
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
    return Config(ProjectSection(state=str(folder)), StoreSection(online=address))
