"""Materialise views: full, incremental and by range; killed runs go on, and no part of a table is served."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.storage.redis_server import PASSWORD, redis_server

from headway.core.config import Config
from headway.core.errors import DataError, StoreError
from headway.core.feature_view import Aggregation, Feature, FeatureSource, FeatureView
from headway.core.settings.project import ProjectSection
from headway.core.settings.store import StoreSection
from headway.features.compute import compute_rows
from headway.features.materialize import encoded_rows, materialize
from headway.features.online.sqlite import SqliteOnlineStore
from headway.features.online_rows import entity_key
from headway.storage.addresses import open_online

NOW = datetime(2026, 1, 10, tzinfo=UTC)
VIEW = FeatureView(
    name="weather",
    version=2,
    entities=("origin",),
    source=FeatureSource(location="weather.parquet", event_time="at", created_time="stored"),
    features=(Feature(name="temp"), Feature(name="sky", dtype="string"), Feature(name="wet", dtype="boolean")),
)


def table(*rows: tuple) -> pl.DataFrame:
    """Return source rows: origin, day of the event, temp, sky, wet, and how many days later it was stored."""
    return pl.DataFrame(
        {
            "origin": [row[0] for row in rows],
            "at": [day(row[1]) for row in rows],
            "stored": [day(row[1] + (row[5] if len(row) > 5 else 0)) for row in rows],
            "temp": [row[2] for row in rows],
            "sky": [row[3] for row in rows],
            "wet": [row[4] for row in rows],
        },
        schema={"origin": pl.String, "at": pl.Datetime("us", "UTC"), "stored": pl.Datetime("us", "UTC"),
                "temp": pl.Float64, "sky": pl.String, "wet": pl.Boolean},
    )  # fmt: skip


def day(number: float) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number)


@pytest.fixture
def store(tmp_path):
    with closing(SqliteOnlineStore(tmp_path / "online")) as opened:
        yield opened


def run(store, source: pl.DataFrame, view: FeatureView = VIEW, **options):
    return materialize(store, view, compute_rows(view, source), now=options.pop("now", NOW), **options)


def served(store, *keys: str, view: FeatureView = VIEW) -> list[list[object]]:
    """Return what is served for keys, with strings as strings."""
    ((values, _),) = store.read([(view.online_table, keys)])
    rows = [[None if np.isnan(value) else value for value in row] for row in values.tolist()]
    for index, feature in enumerate(view.features):
        for row in rows:
            if feature.dtype == "string" and row[index] is not None:
                (row[index],) = store.strings(view.online_table, feature.name, [int(row[index])])
    return rows


def test_the_newest_visible_row_of_each_entity_is_served_with_its_event_time(store):
    source = table(
        ("JFK", 1, 10.0, "clear", True),
        ("JFK", 3, 30.0, "rain", None),
        ("JFK", 2, 20.0, "snow", False),
        ("EWR", 1, None, None, False),
        ("JFK", 12, 99.0, "later", True),
        ("EWR", 2, 88.0, "stored later", True, 20),
    )
    done = run(store, source)
    assert served(store, "JFK", "EWR", "LGA") == [[30.0, "rain", None], [None, None, 0.0], [None] * 3]
    assert store.read([("weather.v2", ["JFK"])])[0][1].tolist() == [int(day(3).timestamp() * 1e6)]
    assert (done.mode, done.view, done.rows, done.entities, done.stored) == ("full", "weather@v2", 4, 2, 2)
    assert done.watermark == "2026-01-04T00:00:00+00:00"


def test_of_equal_event_times_the_latest_stored_wins_and_then_the_last_row(store):
    run(store, table(("A", 1, 1.0, "a", True, 2), ("A", 1, 2.0, "b", True, 1)))
    run(store, table(("B", 1, 1.0, "a", True), ("B", 1, 2.0, "b", True)), full=True)
    assert served(store, "A", "B") == [[None] * 3, [2.0, "b", 1.0]]


def test_an_incremental_run_reads_what_became_visible_since_the_last(store):
    first = table(("A", 1, 1.0, "a", True), ("B", 1, 1.0, "b", True), ("C", 12, 5.0, "future", True))
    run(store, first)
    again = run(store, first)
    assert (again.mode, again.rows, again.stored) == ("incremental", 2, 2), "equal times are compared again"
    later = table(("A", 2, 2.0, "new", True), ("B", 0.5, 9.0, "old", True, 5))
    done = run(store, pl.concat([first, later]), now=day(15))
    assert served(store, "A", "B", "C") == [[2.0, "new", 1.0], [1.0, "b", 1.0], [5.0, "future", 1.0]]
    assert (done.rows, done.stored) == (5, 3)
    assert run(store, first.clear()).entities == 0 and served(store, "A") == [[2.0, "new", 1.0]]


def test_without_a_created_time_a_late_row_of_another_entity_is_not_lost(store):
    view = FeatureView(
        name="w", entities=("origin",), source=FeatureSource(location="x", event_time="at"), features=VIEW.features[:1]
    )
    run(store, table(("A", 5, 1.0, "", True)), view)
    done = run(store, table(("A", 5, 1.0, "", True), ("B", 2, 2.0, "", True)), view)
    assert done.mode == "incremental" and served(store, "A", "B", view=view) == [[1.0], [2.0]]


def test_a_full_run_removes_what_the_source_lost_and_keeps_what_was_pushed_after_it(store):
    run(store, table(("A", 1, 1.0, "a", True), ("B", 2, 2.0, "b", True)))
    pushed = compute_rows(VIEW, table(("P", 5, 7.0, "pushed", True), ("B", 1.5, 0.0, "old", False)))
    store.write("weather.v2", *encoded_rows(store, VIEW, pushed))
    done = run(store, table(("B", 3, 3.0, "new", True)), full=True)
    assert done.mode == "full"
    assert served(store, "A", "B", "P") == [[None] * 3, [3.0, "new", 1.0], [7.0, "pushed", 1.0]]


def test_a_backfill_writes_a_range_and_moves_no_watermark(store):
    source = table(("A", 1, 1.0, "a", True), ("B", 3, 3.0, "b", True), ("A", 5, 5.0, "c", True))
    done = run(store, source, since=day(1), until=day(5))
    assert (done.mode, done.rows, done.watermark) == ("backfill", 2, "")
    assert served(store, "A", "B") == [[1.0, "a", 1.0], [3.0, "b", 1.0]]
    assert run(store, source).mode == "full"
    assert run(store, source, since=day(1), until=day(2)).stored == 0, "an older row replaces no newer one"
    assert run(store, source).mode == "incremental" and served(store, "A") == [[5.0, "c", 1.0]]


def test_another_definition_and_an_empty_source_make_full_runs(store):
    run(store, table(("A", 1, 1.0, "a", True)))
    changed = FeatureView(**{**{name: getattr(VIEW, name) for name in VIEW.__struct_fields__}, "ttl_s": 60.0})
    assert run(store, table().clear(), changed).mode == "full"
    assert served(store, "A") == [[None] * 3] and store.tables() == {"weather.v2": 3}


def test_a_view_without_times_is_always_true(store):
    view = FeatureView(name="s", entities=("origin",), source=FeatureSource(location="x"), features=VIEW.features[:1])
    run(store, table(("A", 1, 1.0, "", True), ("A", 0, 2.0, "", True)), view)
    assert served(store, "A", view=view) == [[2.0]] and store.read([("s.v0", ["A"])])[0][1].tolist() == [0]


def test_a_windowed_feature_is_missing_in_the_row_and_a_view_of_the_request_has_none(store):
    windowed = Feature(name="n", aggregation=Aggregation(function="count", window_s=3600))
    view = FeatureView(
        name="w",
        entities=("origin",),
        source=FeatureSource(location="x", event_time="at"),
        features=(windowed, *VIEW.features[:1]),
    )
    run(store, table(("A", 1, 1.0, "a", True)), view)
    assert served(store, "A", view=view) == [[None, 1.0]]
    with pytest.raises(DataError, match="computed from the request"):
        materialize(store, FeatureView(name="r"), pl.DataFrame())


def test_two_runs_at_a_time_are_refused(store):
    source = table(*((f"k{number}", 1, 1.0, "a", True) for number in range(2500)))

    def other(done: int, total: int) -> None:
        if done == 1000:
            store.discard_staged("weather.v2")

    with pytest.raises(StoreError, match="another process materialises the same view"):
        run(store, source, callback=other)
    assert store.tables() == {}


@given(st.lists(st.tuples(st.text(max_size=4), st.integers(-(2**40), 2**40), st.booleans()), min_size=1, max_size=9))
def test_keys_are_those_that_a_server_asks_for(rows):
    view = FeatureView(name="v", entities=("a", "b", "c"), source=FeatureSource(location="x"))
    frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.Int64, "c": pl.Boolean}, orient="row").with_columns(
        event_time=pl.lit(None, dtype=pl.Datetime("us", "UTC"))
    )
    keys, values, _ = encoded_rows(None, view, frame)
    assert keys == [entity_key([a, b, str(c).lower()]) for a, b, c in rows] and values.shape == (len(rows), 0)


KILLED = """
import sys
from pathlib import Path
import polars as pl
from headway.core.config import Config
from headway.core.settings.project import ProjectSection
from headway.core.settings.store import StoreSection
from headway.features import materialize
from headway.features.compute import compute_rows
from headway.storage.addresses import open_online
from tests.features.test_materialize import NOW, VIEW

store = open_online(Config(ProjectSection(state=sys.argv[1]), StoreSection(online=sys.argv[2])))
materialize.BATCH_ROWS = 20
rows = compute_rows(VIEW, pl.read_parquet(sys.argv[3]))
full = sys.argv[4] == "full"
done = materialize.materialize(store, VIEW, rows, full=full, now=NOW, callback=lambda *_: print("batch", flush=True))
print("done", done.stored, done.resumed, flush=True)
"""


def start(folder: Path, source: Path, *, full: bool, address: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", KILLED, str(folder), address, str(source), "full" if full else "incremental"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill_after(batches: int, folder: Path, source: Path, *, full: bool, address: str = "") -> None:
    with start(folder, source, full=full, address=address) as process:
        for _ in range(batches):
            assert process.stdout.readline() == "batch\n"
        process.send_signal(signal.SIGKILL)


KEYS = [f"k{number:03}" for number in range(400)]


def source_of(path: Path, value: float, at: float) -> Path:
    table(*((key, at, value, f"s{value}", True) for key in KEYS)).write_parquet(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("full", [True, False])
def test_a_killed_run_serves_no_part_of_a_table_goes_on_and_ends_as_a_clean_one(tmp_path, full):
    """A few kills in the bench's way; `bench/features.py` makes a hundred on each store."""
    old, new = source_of(tmp_path / "old.parquet", 1.0, 1), source_of(tmp_path / "new.parquet", 2.0, 3)
    folders = tmp_path / "state" / "online", tmp_path / "clean"
    store, clean = (SqliteOnlineStore(folder) for folder in folders)
    with closing(store), closing(clean):
        run(store, pl.read_parquet(old))
        for batches in (2, 3, 4):
            kill_after(batches, tmp_path / "state", new, full=full)
            rows = served(store, *KEYS)
            if full:
                assert rows == [[1.0, "s1.0", 1.0]] * len(KEYS), "the old table, until the new one is complete"
            assert all(row in ([1.0, "s1.0", 1.0], [2.0, "s2.0", 1.0]) for row in rows), "each row is whole"
        with start(tmp_path / "state", new, full=full) as process:
            last = process.stdout.readlines()[-1].split()
        assert last[0] == "done" and int(last[2]) >= 20 * 4, "it went on where the killed one was"
        assert served(store, *KEYS) == [[2.0, "s2.0", 1.0]] * len(KEYS)
        run(clean, pl.read_parquet(old))
        run(clean, pl.read_parquet(new), full=full)
        assert clean.progress("weather.v2") == store.progress("weather.v2")
        assert [(k, v.tolist(), t.tolist()) for k, v, t in clean.scan("weather.v2")] == [
            (k, v.tolist(), t.tolist()) for k, v, t in store.scan("weather.v2")
        ]


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.parametrize("program", ["redis-server", "valkey-server"])
@pytest.mark.parametrize("full", [True, False])
def test_a_killed_run_on_a_server_serves_no_part_of_a_table_and_goes_on(tmp_path, monkeypatch, program, full):
    old, new = source_of(tmp_path / "old.parquet", 1.0, 1), source_of(tmp_path / "new.parquet", 2.0, 3)
    allowed = [[1.0, "s1.0", 1.0]] + [[2.0, "s2.0", 1.0]] * (not full)
    monkeypatch.setenv("HEADWAY_STORE_ONLINE_PASSWORD", PASSWORD)
    with redis_server(program) as server:
        config = Config(ProjectSection(state=str(tmp_path)), StoreSection(online=server.address))
        with closing(open_online(config)) as store, closing(SqliteOnlineStore(tmp_path / "clean")) as clean:
            run(store, pl.read_parquet(old))
            for batches in (2, 3, 4):
                kill_after(batches, tmp_path, new, full=full, address=server.address)
                assert all(row in allowed for row in served(store, *KEYS))
            with start(tmp_path, new, full=full, address=server.address) as process:
                last = process.stdout.readlines()[-1].split()
            assert last[0] == "done" and int(last[2]) >= 20 * 4
            run(clean, pl.read_parquet(old))
            run(clean, pl.read_parquet(new), full=full)
            assert served(store, *KEYS) == served(clean, *KEYS) == [[2.0, "s2.0", 1.0]] * len(KEYS)
            assert clean.progress("weather.v2") == store.progress("weather.v2")
