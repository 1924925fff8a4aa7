"""Joins larger than memory: equal to the join in memory, in bounded memory, on workers, complete or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.features.join_tables import VIEWS, make_tables

from headway.batch.compute import CheckedWorkers
from headway.core.dataset import Roles
from headway.core.errors import DataError, Refused
from headway.core.workers import HERE
from headway.data import scan
from headway.data.open import make_dataset
from headway.features import join, partitioned_join
from headway.features.compute import read_view_source
from headway.features.historical import get_historical_features
from headway.features.join import join_views
from headway.features.partitioned_join import write_historical_features


@pytest.fixture
def small_batches(monkeypatch):
    """Make batches of some dozens of rows, so that a small table has many."""
    monkeypatch.setattr(partitioned_join, "_BATCH_VALUES", 256)
    monkeypatch.setattr(partitioned_join, "_MAX_ROWS", 100)


@pytest.mark.slow
@pytest.mark.parametrize("memory_bytes", [1 << 30, 100_000, 20_000])
@pytest.mark.parametrize("full_names", [False, True])
def test_the_file_is_what_the_join_in_memory_returns(tmp_path, small_batches, memory_bytes, full_names):
    rows = make_tables(tmp_path)
    how = {"time": "at", "folder": tmp_path, "with_times": True, "full_names": full_names}

    count = write_historical_features(
        tmp_path / "rows.parquet", VIEWS, tmp_path / "out.parquet", memory_bytes=memory_bytes, **how
    )

    expected = get_historical_features(rows, VIEWS, **how)
    assert count == len(rows)
    assert expected.drop_nulls("weather__temp" if full_names else "temp").height > 100
    assert_frame_equal(pl.read_parquet(tmp_path / "out.parquet"), expected, check_exact=True)
    assert not list(tmp_path.glob(".out*"))


def test_rows_without_an_observation_and_a_source_without_rows_give_missing_features(tmp_path, small_batches):
    rows = make_tables(tmp_path, rows=90, seen=0)

    write_historical_features(
        tmp_path / "rows.parquet", VIEWS[:1], tmp_path / "out.parquet", time="at", folder=tmp_path
    )

    found = pl.read_parquet(tmp_path / "out.parquet")
    assert_frame_equal(found.drop("temp", "n"), rows)
    assert found["temp"].null_count() == 90


class Elsewhere:
    """Workers whose replies come last first, as those of a cluster may; `damage` changes a file after its task."""

    def __init__(self, *, damage: bool = False) -> None:
        self._damage = damage

    def map(self, function, shared, tasks, *, proceed=None, alone=False):
        for number, task in reversed(list(enumerate(tasks))):
            ((_, reply),) = HERE.map(function, shared, [task])
            if self._damage:
                for file in reply.result.open():
                    Path(file).write_bytes(b"other")
            yield number, reply


@pytest.mark.slow
def test_workers_elsewhere_give_the_same_file_and_a_sample_is_computed_again(tmp_path, small_batches):
    rows = make_tables(tmp_path)

    write_historical_features(
        tmp_path / "rows.parquet",
        VIEWS,
        tmp_path / "out.parquet",
        time="at",
        folder=tmp_path,
        memory_bytes=20_000,
        workers=CheckedWorkers(Elsewhere()),
    )

    expected = get_historical_features(rows, VIEWS, time="at", folder=tmp_path)
    assert_frame_equal(pl.read_parquet(tmp_path / "out.parquet"), expected, check_exact=True)


@pytest.mark.slow
def test_a_file_that_is_not_the_one_a_worker_reported_is_refused_and_nothing_is_written(tmp_path, small_batches):
    make_tables(tmp_path)
    with pytest.raises(Refused, match="is not the one that its worker reported"):
        write_historical_features(
            tmp_path / "rows.parquet",
            VIEWS,
            tmp_path / "out.parquet",
            time="at",
            folder=tmp_path,
            memory_bytes=20_000,
            workers=CheckedWorkers(Elsewhere(damage=True)),
        )
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda rows: rows.with_columns(at=pl.lit("soon")), "'at' is String, not a time"),
        (lambda rows: rows.with_columns(place=pl.lit(1)), "entity 'place' is Int64 in the rows, and String"),
        (lambda rows: rows.drop("at"), "no column 'at'"),
        (lambda rows: rows.clear(), "'rows.parquet' has no rows"),
        (lambda rows: rows.with_columns(temp=1), "two columns would be named 'temp'"),
    ],
)
def test_a_mistake_in_the_rows_is_named_and_nothing_is_written(tmp_path, small_batches, change, what):
    change(make_tables(tmp_path)).write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=what):
        write_historical_features(
            tmp_path / "rows.parquet", VIEWS[:1], tmp_path / "out.parquet", time="at", folder=tmp_path
        )
    assert not list(tmp_path.glob("*out*"))


def test_rows_of_a_later_batch_are_counted_from_its_first(tmp_path, small_batches):
    rows = make_tables(tmp_path)
    odd = pl.when(pl.int_range(pl.len()) == 700).then(0.5).otherwise(pl.col("gate"))
    rows.with_columns(odd.alias("gate")).write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="entity 'gate' is not a whole number") as caught:
        write_historical_features(
            tmp_path / "rows.parquet", VIEWS[:1], tmp_path / "out.parquet", time="at", folder=tmp_path
        )
    assert caught.value.where == "row 60 (from 0) of 'gate', the rows, counted from row 640"


@pytest.mark.parametrize("large", ["source", "rows", "neither"])
def test_the_table_of_a_project_is_joined_in_partitions_if_it_or_a_source_is_large(tmp_path, monkeypatch, large):
    make_tables(tmp_path)
    table = pl.read_parquet(tmp_path / "rows.parquet").drop_nulls().with_columns(y=0)
    dataset = make_dataset(table, Roles(target="y", time="at"), name="rows")
    sources = {view.name: read_view_source(view, folder=tmp_path) for view in VIEWS if not view.is_on_demand}
    expected = join_views(dataset, VIEWS, folder=tmp_path, sources=sources)
    if large != "neither":
        monkeypatch.setattr(scan if large == "source" else join, "MAX_VALUES", 3_000)
    partitioned = list[pl.DataFrame]()

    def recorded(rows: pl.DataFrame, *args: Any, **kwargs: Any) -> int:
        partitioned.append(rows)
        return write_historical_features(rows, *args, **kwargs)

    monkeypatch.setattr(join, "write_historical_features", recorded)

    joined = join_views(dataset, VIEWS, folder=tmp_path)

    assert_frame_equal(joined.table, expected.table, check_exact=True)
    assert joined.digest == expected.digest
    assert [rows.columns for rows in partitioned] == [["__decision_at", "gate", "place"]] * (large != "neither")
    assert joined.table["product"].count() > 100


IN_MEMORY = """
import sys
from pathlib import Path
import polars as pl
from headway.core.feature_view import Feature, FeatureSource, FeatureView
from headway.features.partitioned_join import write_historical_features
from headway.features.historical import get_historical_features

folder, memory_bytes = Path(sys.argv[1]), int(sys.argv[2])
view = FeatureView(
    name="view", entities=("key",),
    source=FeatureSource(location="source.parquet", event_time="at", created_time="stored"),
    features=tuple(Feature(name=f"x{n}") for n in range(4)),
)
if memory_bytes:
    write_historical_features(
        folder / "rows.parquet", [view], folder / "out.parquet", time="at", folder=folder, memory_bytes=memory_bytes
    )
else:
    rows = pl.read_parquet(folder / "rows.parquet")
    get_historical_features(rows, [view], time="at", folder=folder).write_parquet(folder / "all.parquet")
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def peak_mb(folder: Path, memory_bytes: int) -> float:
    """Join in a child process, and return the most memory that it had."""
    command = [sys.executable, "-c", IN_MEMORY, str(folder), str(memory_bytes)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(run.stdout) / 1024


@pytest.mark.long
def test_a_join_in_partitions_takes_a_fraction_of_the_memory_and_gives_the_same(tmp_path):
    draw, count = np.random.default_rng(5), 3_000_000
    for name, width in (("source", 4), ("rows", 1)):
        columns = {f"x{n}" if width > 1 else "asked": draw.normal(size=count) for n in range(width)}
        at = pl.Series(draw.integers(0, 10**13, count)).cast(pl.Datetime("us", "UTC"))
        late = pl.Series(draw.integers(0, 10**10, count)).cast(pl.Duration("us"))
        table = pl.DataFrame({"key": draw.integers(0, 50_000, count), "at": at, "stored": at + late, **columns})
        table.write_parquet(tmp_path / f"{name}.parquet", row_group_size=100_000)

    in_memory, in_parts = peak_mb(tmp_path, 0), peak_mb(tmp_path, 1 << 27)

    assert in_parts < 0.6 * in_memory
    assert in_parts < 700
    joined, expected = (pl.scan_parquet(tmp_path / name) for name in ("out.parquet", "all.parquet"))
    assert_frame_equal(joined.collect(), expected.collect(), check_exact=True)
