"""Events of a source in an online store of SQLite: the answers at later times equal the offline ones."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace
from tests.storage.redis_server import PASSWORD, RedisServer, redis_server

from headway.core.config import Config
from headway.core.contracts import OnlineStore
from headway.core.errors import DataError, StoreError
from headway.core.feature_view import Feature, FeatureSource, FeatureView
from headway.core.settings.project import ProjectSection
from headway.core.settings.store import StoreSection
from headway.features.compute import event_rows
from headway.features.materialize_windows import events_by_entity, materialize_windows
from headway.features.online_rows import entity_key
from headway.features.window_state import MAX_TILE_EVENTS, WindowPlan, merge_events
from headway.features.windows import aggregate, parse_window
from headway.storage.addresses import open_online

NOW = datetime(2026, 5, 1, tzinfo=UTC)
WINDOWS = {
    "spent_1d": ("number", "sum(amount) over 1d"),
    "spent_mean": ("number", "mean(amount) over 30d"),
    "items": ("integer", "sum(items) over 7d"),
    "payments": ("integer", "count() over 30d"),
    "shops": ("integer", "distinct(shop) over 30d"),
    "last_shop": ("string", "last(shop) over 30d"),
    "last_online": ("boolean", "last(online) over 30d"),
    "first_day": ("datetime", "min(day) over 30d"),
}
VIEW = FeatureView(
    name="payments",
    version=1,
    entities=("card", "member"),
    source=FeatureSource(location="payments.parquet", event_time="at", created_time="stored"),
    features=tuple(
        Feature(name=name, dtype=dtype, aggregation=parse_window(text))  # type: ignore[arg-type]
        for name, (dtype, text) in WINDOWS.items()
    ),
)


def payments(number: int = 900) -> pl.DataFrame:
    """Return payments of three cards up to two hours after NOW; some rows are equal, some are stored late."""
    generator = np.random.default_rng(0)
    minutes = generator.integers(-40 * 1_440, 120, number)
    late = np.where(generator.random(number) < 0.2, generator.integers(0, 5_000, number), 0)
    table = pl.DataFrame(
        {
            "card": generator.choice(["A", "A", "B"], number),
            "member": generator.integers(1, 3, number),
            "at": [NOW + timedelta(minutes=int(minute)) for minute in minutes],
            "stored": [NOW + timedelta(minutes=int(minute)) for minute in minutes + late],
            "amount": generator.normal(size=number).round(2),
            "items": generator.integers(0, 2**60, number) // 1_000,
            "shop": generator.choice(["north", "south", "east"], number),
            "online": generator.random(number) < 0.5,
            "day": [date(2026, 4, 1 + int(minute) % 20) for minute in minutes],
        }
    )
    return pl.concat([table, table.tail(40)])


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[str], RedisServer]]:
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(redis_server(f"{name}-server"))


@pytest.fixture(params=["sqlite", *(pytest.param(name, marks=pytest.mark.services) for name in ("redis", "valkey"))])
def address(request, monkeypatch, servers) -> str:
    """Return the address of an empty store; empty for SQLite."""
    monkeypatch.setenv("HEADWAY_STORE_ONLINE_PASSWORD", PASSWORD)
    return "" if request.param == "sqlite" else servers(request.param).address


@pytest.fixture
def store(tmp_path: Path, address: str) -> Iterator[OnlineStore]:
    opened = open_online(Config(ProjectSection(state=str(tmp_path / "state")), StoreSection(online=address)))
    yield opened
    opened.close()


def served(store: OnlineStore, entities: list[tuple[str, int]], at: datetime) -> list[dict[str, Any]]:
    """Read the states as a server does, in one round trip."""
    plan, at_us = WindowPlan.of_view(VIEW), int(at.timestamp()) * 1_000_000
    keys = [entity_key(entity) for entity in entities]
    wanted = [part for key in keys for part in plan.keys_at(key, at_us)]
    [states] = store.read_with_states([], [(VIEW.states_table, wanted)])[1]
    found = pl.DataFrame(plan.answers(keys, states, at_us)[0], schema=list(WINDOWS)).fill_nan(None)
    codes = found["last_shop"].to_list()
    shops = [None if code is None else store.strings(VIEW.states_table, "shop", [int(code)])[0] for code in codes]
    return found.with_columns(last_shop=pl.Series(shops, dtype=pl.String)).to_dicts()


def offline(rows: pl.DataFrame, entities: list[tuple[str, int]], at: datetime) -> list[dict[str, Any]]:
    """Compute the same features at the time from the source, as a server has them: numbers as floats."""
    requests = pl.DataFrame(entities, schema=["card", "member"], orient="row").with_columns(event_time=pl.lit(at))
    windows = {feature.name: feature.aggregation for feature in VIEW.features if feature.aggregation}
    found = aggregate(rows, requests, windows, entities=VIEW.entities)
    found = found.with_columns(first_day=pl.col("first_day").cast(pl.Datetime("us")).cast(pl.Int64))
    return found.with_columns(pl.exclude("last_shop").cast(pl.Float64)).to_dicts()


ENTITIES = [("A", 1), ("A", 2), ("B", 1), ("C", 1)]


def near(row: dict[str, Any]) -> dict[str, Any]:
    return {name: pytest.approx(value, rel=1e-12) if isinstance(value, float) else value for name, value in row.items()}


def expect_same(online: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    for one, other in zip(online, expected, strict=True):
        assert one == near(other)


def test_what_a_server_reads_equals_the_offline_answer_as_time_goes_on(store):
    rows = event_rows(VIEW, payments())
    materialize_windows(store, VIEW, rows, now=NOW)
    for hours in (0, 1, 30, 24 * 15, 24 * 40):
        at = NOW + timedelta(hours=hours)
        known = rows.filter(pl.max_horizontal("event_time", "created_time") <= NOW)
        expect_same(served(store, ENTITIES, at), offline(known, ENTITIES, at))


def test_a_run_may_be_repeated_and_events_may_be_pushed_before_it(store):
    rows, later = event_rows(VIEW, payments()), NOW + timedelta(hours=3)
    materialize_windows(store, VIEW, rows, now=NOW)
    pushed = rows.filter(pl.col("event_time") > NOW).unique(maintain_order=True)
    for _ in range(2):
        merge_events(store, VIEW, events_by_entity(store, VIEW, pushed), now_us=int(later.timestamp()) * 1_000_000)
        materialize_windows(store, VIEW, rows, now=later)
    known = rows.filter((pl.max_horizontal("event_time", "created_time") <= later) | (pl.col("event_time") > NOW))
    expect_same(served(store, ENTITIES, later), offline(known.drop("created_time"), ENTITIES, later))


def pushed(card: str, hours: float, amount: float = 1.0) -> pl.DataFrame:
    """Return an event some hours after NOW, as `event_rows` does."""
    at = NOW + timedelta(hours=hours)
    row = payments(1).head(1).with_columns(card=pl.lit(card), member=1, at=at, stored=at, amount=amount)
    return event_rows(VIEW, row.cast({"member": pl.Int64}))


def push(store: OnlineStore, rows: pl.DataFrame, now: datetime) -> None:
    events = events_by_entity(store, VIEW, rows, are_numbered=False)
    merge_events(store, VIEW, events, now_us=int(now.timestamp()) * 1_000_000)


def test_a_full_run_forgets_what_the_source_does_not_have_and_keeps_what_was_pushed_since(store):
    rows, later = event_rows(VIEW, payments()), NOW + timedelta(hours=4)
    assert materialize_windows(store, VIEW, rows, now=NOW).mode == "full"
    push(store, pushed("B", 3), later)
    some = rows.filter((pl.col("card") == "A") & (pl.col("event_time") <= NOW))
    done = materialize_windows(store, VIEW, some, now=later, full=True)
    assert (done.mode, done.entities) == ("full", 2)
    assert served(store, [("B", 1)], later)[0]["payments"] == 1
    assert served(store, [("A", 1)], later)[0]["payments"] > 0
    again = materialize_windows(store, VIEW, some, now=later)
    assert (again.mode, again.stored) == ("incremental", 0)


def test_events_that_are_pushed_during_a_full_run_are_seen_before_and_after_it(store, monkeypatch):
    monkeypatch.setattr("headway.features.materialize_windows.BATCH_ENTITIES", 1)
    rows, later = event_rows(VIEW, payments()), NOW + timedelta(hours=4)
    materialize_windows(store, VIEW, rows, now=NOW)
    before = served(store, [("A", 1)], later)[0]["payments"]
    seen = []

    def on_progress(done: int, total: int) -> None:
        push(store, pushed("A", 1 + done / 10), later)
        seen.append(served(store, [("A", 1)], later)[0]["payments"] - before)

    materialize_windows(store, VIEW, rows, now=NOW, full=True, callback=on_progress)
    assert seen == [1, 2, 3, 4] and served(store, [("A", 1)], later)[0]["payments"] == before + 4


def test_an_incremental_run_reads_what_became_visible_and_a_range_adds_its_events(store):
    rows = event_rows(VIEW, payments())
    materialize_windows(store, VIEW, rows.filter(pl.col("event_time") > NOW - timedelta(days=3)), now=NOW)
    since, until = NOW - timedelta(days=6), NOW - timedelta(days=3)
    done = materialize_windows(store, VIEW, rows, since=since, until=until, now=NOW)
    known = rows.filter(pl.max_horizontal("event_time", "created_time") <= NOW)
    assert done.mode == "backfill" and 0 < done.rows < len(known)
    expected = known.filter((pl.col("event_time") > NOW - timedelta(days=3)) | (pl.col("event_time") >= since))
    expect_same(served(store, ENTITIES, NOW), offline(expected, ENTITIES, NOW))
    later = materialize_windows(store, VIEW, rows, now=NOW + timedelta(hours=1))
    assert later.mode == "incremental" and later.rows < 100
    assert later.watermark > done.watermark


def test_a_view_without_created_time_merges_late_events_of_the_source(store):
    source = FeatureSource(location="payments.parquet", event_time="at")
    view = replace(VIEW, source=source)
    rows = event_rows(view, payments()).filter(pl.col("event_time") <= NOW)
    materialize_windows(store, view, rows.gather_every(2), now=NOW)
    materialize_windows(store, view, rows, now=NOW)
    expect_same(served(store, ENTITIES, NOW), offline(rows.drop("created_time"), ENTITIES, NOW))


KILLED = """
import sys
import polars as pl
from headway.core.config import Config
from headway.core.settings.project import ProjectSection
from headway.core.settings.store import StoreSection
from headway.features import materialize_windows
from headway.features.compute import event_rows
from headway.storage.addresses import open_online
from tests.features.test_materialize_windows import NOW, VIEW

store = open_online(Config(ProjectSection(state=sys.argv[1]), StoreSection(online=sys.argv[2])))
materialize_windows.BATCH_ENTITIES = 5
rows = event_rows(VIEW, pl.read_parquet(sys.argv[3]))
done = materialize_windows.materialize_windows(
    store, VIEW, rows, full=sys.argv[4] == "full", now=NOW, callback=lambda *_: print("batch", flush=True)
)
print("done", done.stored, done.resumed, flush=True)
"""


def start(folder: Path, address: str, source: Path, *, full: bool) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", KILLED, str(folder), address, str(source), "full" if full else "incremental"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("full", [True, False])
def test_a_killed_run_serves_no_part_of_a_full_one_goes_on_and_ends_as_a_clean_one(store, address, tmp_path, full):
    many = pl.concat([payments(120).with_columns(card=pl.lit(f"k{number:02}")) for number in range(30)])
    many = many.with_columns(stored="at")
    entities = [(f"k{number:02}", member) for number in range(30) for member in (1, 2)]
    old = event_rows(VIEW, many).filter(pl.col("event_time") <= NOW - timedelta(days=1))
    materialize_windows(store, VIEW, old, now=NOW - timedelta(days=1))
    before = served(store, entities, NOW)
    many.write_parquet(tmp_path / "new.parquet")
    expected = offline(event_rows(VIEW, many).filter(pl.col("event_time") <= NOW), entities, NOW)
    for batches in (2, 3):
        with start(tmp_path / "state", address, tmp_path / "new.parquet", full=full) as process:
            for _ in range(batches):
                assert process.stdout.readline() == "batch\n"
            process.send_signal(signal.SIGKILL)
        for found, first, last in zip(served(store, entities, NOW), before, expected, strict=True):
            assert found == first or (not full and found == near(last))
    with start(tmp_path / "state", address, tmp_path / "new.parquet", full=full) as process:
        last = process.stdout.readlines()[-1].split()
    assert last[0] == "done" and int(last[2]) >= 5 * 4, "it went on where the killed one was"
    expect_same(served(store, entities, NOW), expected)


def test_a_first_run_that_fails_serves_nothing(store):
    many = pl.concat([payments(1)] * (MAX_TILE_EVENTS + 1)).with_columns(at=pl.lit(NOW), stored=pl.lit(NOW))
    with pytest.raises(DataError, match="more than 16,384 events"):
        materialize_windows(store, VIEW, event_rows(VIEW, many), now=NOW)
    assert VIEW.states_table not in store.tables()
    with pytest.raises(StoreError):
        served(store, ENTITIES, NOW)


@pytest.mark.slow
def test_writers_at_the_same_time_lose_no_event(store):
    plan, now_us = WindowPlan.of_view(VIEW), int(NOW.timestamp()) * 1_000_000

    def push(start: int) -> None:
        for index in range(20):
            columns = {name: [index] for name in plan.columns}
            events = plan.events([now_us - start - index], columns)
            merge_events(store, VIEW, {entity_key(("A", 1)): events}, now_us=now_us)

    threads = [threading.Thread(target=push, args=(start,)) for start in (0, 1_000, 2_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [state] = store.read_with_states([], [(VIEW.states_table, ["\x1f" + entity_key(("A", 1))])])[1][0]
    assert plan.answer(entity_key(("A", 1)), {"\x1f" + entity_key(("A", 1)): state}, now_us)[3] == 60


def test_a_column_that_a_window_cannot_aggregate_is_named(store):
    rows = event_rows(VIEW, payments(3)).with_columns(shop=pl.Series([[1]] * 6))
    with pytest.raises(DataError, match="'shop' is List"):
        materialize_windows(store, VIEW, rows, now=NOW + timedelta(days=9))


def test_a_declared_integer_with_a_fraction_is_refused():
    with pytest.raises(DataError, match="'items' is an integer"):
        plan = WindowPlan.of_view(VIEW)
        plan.events([1], {name: [0.5 if name == "items" else 0] for name in plan.columns})
