"""Serve features by name: requests with an entity, of rows or windows, against the same requests with ready columns."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np

from harness import Result, Row, shown
from headway.core import config
from headway.core.arrays import Floats
from headway.core.contracts import OnlineStore
from headway.core.feature_view import DAY_S, Aggregation, Feature, FeatureSource, FeatureView
from headway.features import catalog
from headway.features.window_state import WindowPlan, merge_events
from headway.registry.project import open_project
from headway.serving.auth.keys import create_key, keys_file
from headway.serving.client import Client
from headway.storage.addresses import open_online
from serving.load import Case, Plan, measure
from serving.models import Model, by_trees, new_caller, point, posted, project, publish, question
from serving.processes import LOAD_CORE, Server, ours, started

sys.path.append(str(Path(__file__).parents[2]))

from tests.storage.redis_server import PASSWORD, redis_server

ROUNDS, SECONDS, KEYS, LOOKED_UP = 9, 0.75, 10_000, 8
PUSHES = ((1_000, 50), (1, 200))
TINY = {"ROUNDS": 1, "SECONDS": 0.2, "KEYS": 100, "PUSHES": ((10, 1), (1, 1))}
AT_LEAST = {"sqlite": 0.6, "redis": 0.4}
_PASSWORD_VARIABLE = "HEADWAY_STORE_ONLINE_PASSWORD"
_NAMES = [f"x{number}" for number in range(25)]
EVENTS = 20
_WINDOWS = [(one, days) for days in (30, 7) for one in ("last", "max", "min", "last")]


def served() -> Result:
    """Compare the rate of requests of one row with an entity, whose 8 features are looked up, with ready columns."""
    rows = []
    with redis_server() as redis:
        for store, address in (("sqlite", ""), ("redis", redis.address)):
            share, words = _compared(_ratios(address, {_PASSWORD_VARIABLE: PASSWORD}, _with_rows))
            limit = AT_LEAST[store]
            rows.append(
                Row(
                    name=f"serve.with_features.{store}",
                    measured=share,
                    unit="share",
                    target=f">= {limit}",
                    ok=share >= limit,
                    against=words,
                )
            )
    return rows, []


def pushed() -> Result:
    """Push rows of 8 numbers over HTTP to one worker, from one caller: requests of 1,000 rows, and of one."""
    with redis_server() as redis:
        return [*_pushed("sqlite", "", {}), *_pushed("redis", redis.address, {_PASSWORD_VARIABLE: PASSWORD})], []


def _pushed(store: str, address: str, environment: Mapping[str, str]) -> list[Row]:
    os.environ.update(environment)
    model = by_trees()
    asked = question(model, 1)
    with _project(model, asked.rows, address, _with_rows) as (folder, key):
        with closing(open_project(folder).state) as state:
            catalog.apply(state, [_rows_view()], who="bench")
        body = json.dumps(_ready(0, asked.rows[0])).encode()
        request = posted("/v2/models/ready/infer", body, [f"Authorization: Bearer {key}"])
        pusher = create_key(keys_file(config.load(folder, environment={})), "pusher", ["push"])
        with (
            started(ours(folder, "ready", "looked_up"), asks=request) as server,
            Client(f"http://127.0.0.1:{server.port}", api_key=pusher) as client,
        ):
            return [_push_rate(client, store, count, calls) for count, calls in PUSHES]


def _push_rate(client: Client, store: str, count: int, calls: int) -> Row:
    at = datetime(2024, 1, 1, tzinfo=UTC).isoformat()
    rows = [
        {"entity": f"pushed-{number}", "at": at, **dict.fromkeys(_NAMES[-LOOKED_UP:], 1.5)} for number in range(count)
    ]
    client.push("view", rows)
    began = time.perf_counter()
    done = [client.push("view", rows) for _ in range(calls)]
    took_s = time.perf_counter() - began
    assert not any(push.refused for push in done)
    against = f"{store}, {calls} requests of {count:,} rows of {LOOKED_UP} numbers, one connection, one worker"
    return shown(f"push.http_{store}_{count}_rows_per_s", round(calls * count / took_s), "1/s", against)


def windowed() -> Result:
    """Compare the rate of the same requests if the features are windows over the events of the entity."""
    rows = []
    with redis_server() as redis:
        for store, address in (("sqlite", ""), ("redis", redis.address)):
            share, words = _compared(_ratios(address, {_PASSWORD_VARIABLE: PASSWORD}, _with_windows))
            against = f"{words}; last, max and min of 7 and 30 days over {EVENTS} events of an entity"
            rows.append(shown(f"serve.with_windows.{store}", share, "share", against))
    return rows, []


def _compared(turns: Sequence[tuple[float, float]]) -> tuple[float, str]:
    """Return the median of the ratios, and what it is of."""
    ratios = [looked_up / ready for ready, looked_up in turns]
    ready, looked_up = (median(rates) for rates in zip(*turns, strict=True))
    words = (
        f"{min(ratios):.2f} to {max(ratios):.2f}, {len(turns)} turns; {looked_up:,.0f} against {ready:,.0f} a second"
    )
    return median(ratios), f"{words}; {LOOKED_UP} of {len(_NAMES)} columns, {KEYS:,} entities, 32 connections"


def _ratios(
    address: str, environment: Mapping[str, str], fill: Callable[[OnlineStore, Floats], FeatureView]
) -> list[tuple[float, float]]:
    """Return the rates of both kinds of requests, by turns."""
    os.environ.update(environment)
    model = by_trees()
    asked = question(model, 1)
    with _project(model, asked.rows, address, fill) as (folder, key), ExitStack() as stack:
        with_key = [f"Authorization: Bearer {key}"]

        def cases(name: str, body: Callable[[int, Floats], dict[str, object]]) -> list[Case]:
            parts = enumerate(asked.rows)
            bodies = [json.dumps(body(number, row), separators=(",", ":")).encode() for number, row in parts]
            return asked.cases([posted(f"/v2/models/{name}/infer", body, with_key) for body in bodies], columns=1)

        ready, looked_up = cases("ready", _ready), cases("looked_up", _looked_up)
        command = ours(folder, "ready", "looked_up")
        server = stack.enter_context(started(command, asks=ready[0].request))
        plan = Plan(seconds=SECONDS, core=LOAD_CORE)
        return [(_rate(server, ready, plan), _rate(server, looked_up, plan)) for _ in range(ROUNDS)]


def _rate(server: Server, cases: Sequence[Case], plan: Plan) -> float:
    return measure(server.port, cases, plan).per_s


def _inputs(row: Floats, names: Sequence[str]) -> list[dict[str, object]]:
    values = zip(names, row[: len(names)].tolist(), strict=True)
    return [{"name": name, "shape": [1], "datatype": "FP64", "data": [value]} for name, value in values]


def _ready(_: int, row: Floats) -> dict[str, object]:
    return {"inputs": _inputs(row, _NAMES)}


def _looked_up(number: int, row: Floats) -> dict[str, object]:
    entity = {"name": "entity", "shape": [1], "datatype": "BYTES", "data": [f"key-{number}"]}
    return {"inputs": [*_inputs(row, _NAMES[:-LOOKED_UP]), entity]}


@contextmanager
def _project(
    model: Model, rows: Floats, address: str, fill: Callable[[OnlineStore, Floats], FeatureView]
) -> Iterator[tuple[Path, str]]:
    """Make a project with the model twice, once with a view of its last columns, and write its online table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        register = project(folder, {"ready": model})
        if address:
            with (folder / "headway.toml").open("a") as file:
                file.write(f'[store]\nonline = "{address}"\n')
        with closing(_open(folder, address)) as store:
            for table in store.tables():
                store.drop(table)
            view = fill(store, rows)
        point(register, "looked_up", publish(register, "looked_up", model, views=[view]))
        yield folder, new_caller(folder)


def _view(features: Sequence[Feature]) -> FeatureView:
    source = FeatureSource(location="none.parquet", event_time="at")
    return FeatureView(
        name="view", version=1, entities=("entity",), source=source, features=tuple(features), ttl_s=86_400.0
    )


def _rows_view() -> FeatureView:
    return _view([Feature(name=name) for name in _NAMES[-LOOKED_UP:]])


def _with_rows(store: OnlineStore, rows: Floats) -> FeatureView:
    """Write the last columns of rows for each entity."""
    view = _rows_view()
    values = np.concatenate([rows[:, -LOOKED_UP:], np.zeros((max(0, KEYS - len(rows)), LOOKED_UP))])[:KEYS]
    now_us = np.full(len(values), time.time_ns() // 1000)
    store.write(view.online_table, [f"key-{number}" for number in range(len(values))], values, now_us)
    return view


def _with_windows(store: OnlineStore, rows: Floats) -> FeatureView:
    """Merge events of the last 30 days for each entity, which all have the values of its last columns."""
    names = _NAMES[-LOOKED_UP:]
    view = _view(
        [
            Feature(name=name, aggregation=Aggregation(function=one, window_s=days * DAY_S, column=f"of {name}"))  # type: ignore[arg-type]
            for name, (one, days) in zip(names, _WINDOWS, strict=True)
        ]
    )
    plan, draw, now_us = WindowPlan.of_view(view), np.random.default_rng(0), time.time_ns() // 1000
    times = now_us - draw.integers(0, 29 * DAY_S * 1_000_000, (KEYS, EVENTS))
    times[:, 0] = now_us
    events = {}
    for number in range(KEYS):
        values = rows[number, -LOOKED_UP:] if number < len(rows) else np.zeros(LOOKED_UP)
        columns = {f"of {name}": np.full(EVENTS, value) for name, value in zip(names, values.tolist(), strict=True)}
        events[f"key-{number}"] = plan.events(times[number], columns)
    merge_events(store, view, events, now_us=now_us)
    return view


def _open(folder: Path, address: str) -> OnlineStore:
    settings = config.load(folder, environment={"HEADWAY_STORE_ONLINE": address} if address else {})
    return open_online(settings)
