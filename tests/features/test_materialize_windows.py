"""Events of a source in an online store of SQLite: the answers at later times equal the offline ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from headway.core.errors import DataError, StoreError
from headway.core.feature_view import Feature, FeatureSource, FeatureView
from headway.features.compute import event_rows
from headway.features.materialize_windows import events_by_entity, materialize_windows
from headway.features.online.sqlite import SqliteOnlineStore
from headway.features.online_rows import entity_key
from headway.features.window_state import MAX_TILE_EVENTS, WindowPlan, merge_events, states_table
from headway.features.windows import aggregate, parse_window

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


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteOnlineStore]:
    opened = SqliteOnlineStore(tmp_path)
    yield opened
    opened.close()


def served(store: SqliteOnlineStore, entities: list[tuple[str, int]], at: datetime) -> list[dict[str, Any]]:
    """Read the states as a server does, in one round trip."""
    plan, at_us = WindowPlan.of_view(VIEW), int(at.timestamp()) * 1_000_000
    keys = [entity_key(entity) for entity in entities]
    wanted = [part for key in keys for part in plan.keys_at(key, at_us)]
    [states] = store.read_with_states([], [(states_table(VIEW), wanted)])[1]
    found = pl.DataFrame(plan.answers(keys, states, at_us), schema=list(WINDOWS)).fill_nan(None)
    codes = found["last_shop"].to_list()
    shops = [None if code is None else store.strings("payments.v1", "shop", [int(code)])[0] for code in codes]
    return found.with_columns(last_shop=pl.Series(shops, dtype=pl.String)).to_dicts()


def offline(rows: pl.DataFrame, entities: list[tuple[str, int]], at: datetime) -> list[dict[str, Any]]:
    """Compute the same features at the time from the source, as a server has them: numbers as floats."""
    requests = pl.DataFrame(entities, schema=["card", "member"], orient="row").with_columns(event_time=pl.lit(at))
    windows = {feature.name: feature.aggregation for feature in VIEW.features if feature.aggregation}
    found = aggregate(rows, requests, windows, entities=VIEW.entities)
    found = found.with_columns(first_day=pl.col("first_day").cast(pl.Datetime("us")).cast(pl.Int64))
    return found.with_columns(pl.exclude("last_shop").cast(pl.Float64)).to_dicts()


ENTITIES = [("A", 1), ("A", 2), ("B", 1), ("C", 1)]


def expect_same(online: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    for one, other in zip(online, expected, strict=True):
        for name, value in other.items():
            assert one[name] == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value), name


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


def test_a_full_run_forgets_what_the_source_does_not_have(store):
    rows = event_rows(VIEW, payments())
    materialize_windows(store, VIEW, rows, now=NOW)
    materialize_windows(store, VIEW, rows.filter(pl.col("card") == "A"), now=NOW, full=True)
    assert served(store, [("B", 1)], NOW)[0]["payments"] == 0
    assert served(store, [("A", 1)], NOW)[0]["payments"] > 0


def test_a_first_run_that_fails_serves_nothing(store):
    many = pl.concat([payments(1)] * (MAX_TILE_EVENTS + 1)).with_columns(at=pl.lit(NOW), stored=pl.lit(NOW))
    with pytest.raises(DataError, match="more than 16,384 events"):
        materialize_windows(store, VIEW, event_rows(VIEW, many), now=NOW)
    assert states_table(VIEW) not in store.tables()
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
    [state] = store.read_with_states([], [(states_table(VIEW), ["\x1f" + entity_key(("A", 1))])])[1][0]
    assert plan.answer(entity_key(("A", 1)), {"\x1f" + entity_key(("A", 1)): state}, now_us)[3] == 60


def test_a_column_that_a_window_cannot_aggregate_is_named(store):
    rows = event_rows(VIEW, payments(3)).with_columns(shop=pl.Series([[1]] * 6))
    with pytest.raises(DataError, match="'shop' is List"):
        materialize_windows(store, VIEW, rows, now=NOW + timedelta(days=9))


def test_a_declared_integer_with_a_fraction_is_refused():
    with pytest.raises(DataError, match="'items' is an integer"):
        plan = WindowPlan.of_view(VIEW)
        plan.events([1], {name: [0.5 if name == "items" else 0] for name in plan.columns})
