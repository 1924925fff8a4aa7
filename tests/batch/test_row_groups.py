"""Parquet files are joined by their row groups without decoding them."""

from __future__ import annotations

import importlib
from pathlib import Path

import polars as pl
import pytest

from headway.batch.row_groups import join_row_groups

DRAWN = {
    "number": [1.5, None, -0.0, float("nan")] * 500,
    "string": ["ä", "", None, "a long text"] * 500,
    "flag": [True, None, False, True] * 500,
    "day": pl.Series([0, 1, None, 20_000] * 500, dtype=pl.Date),
}


def parts_of(table: pl.DataFrame, folder: Path, *sizes: int, **settings: object) -> list[Path]:
    """Write consecutive rows of a table into one file each."""
    found, start = [], 0
    for number, size in enumerate(sizes):
        found.append(folder / f"{number}.parquet")
        table.slice(start, size).write_parquet(found[-1], **settings)
        start += size
    return found


@pytest.mark.parametrize("compression", ["snappy", "zstd", "uncompressed"])
@pytest.mark.parametrize("sizes", [(2000,), (1000, 1000), (1, 1999, 0), (100,) * 20])
def test_the_joined_file_has_the_rows_of_its_parts_in_order(compression, sizes, tmp_path):
    table, out = pl.DataFrame(DRAWN), tmp_path / "out.parquet"
    parts = parts_of(table, tmp_path, *sizes, compression=compression, row_group_size=700)
    assert join_row_groups(parts, out, {"release": "r1", "note": "ä"}, min_rows=0)
    assert pl.read_parquet(out).equals(table, null_equal=True)
    assert pl.scan_parquet(out).slice(950, 120).collect().equals(table.slice(950, 120), null_equal=True)
    metadata = pl.read_parquet_metadata(out)
    assert (metadata["release"], metadata["note"]) == ("r1", "ä")


def test_polars_filters_the_joined_file_by_the_statistics_of_its_row_groups(tmp_path):
    table, out = pl.DataFrame({"row": range(3000)}), tmp_path / "out.parquet"
    join_row_groups(parts_of(table, tmp_path, 1000, 1000, 1000), out, {}, min_rows=0)
    assert pl.scan_parquet(out).filter(pl.col("row") == 2500).collect()["row"].to_list() == [2500]


@pytest.mark.services
def test_another_reader_finds_the_same_rows(tmp_path):
    duckdb = importlib.import_module("duckdb")

    table, out = pl.DataFrame(DRAWN), tmp_path / "out.parquet"
    join_row_groups(parts_of(table, tmp_path, 1200, 800), out, {}, min_rows=0)
    found = duckdb.sql(f"select count(*), count(string), sum(day - date '1970-01-01') from '{out}'").fetchall()
    assert found == [(2000, 1500, sum(day for day in [0, 1, 20_000] * 500))]
    assert duckdb.sql(f"select count(*), sum(num_values) from parquet_metadata('{out}')").fetchall()[0][0] == 8


def test_many_row_groups_are_joined(tmp_path):
    table, out = pl.DataFrame({"row": range(20_000)}), tmp_path / "out.parquet"
    parts = parts_of(table, tmp_path, 20_000, row_group_size=1)
    assert join_row_groups([parts[0], parts[0]], out, {}, min_rows=0)
    assert pl.read_parquet(out)["row"].to_list() == [*range(20_000), *range(20_000)]


def test_small_parts_and_those_of_another_schema_are_not_joined(tmp_path):
    table, out = pl.DataFrame(DRAWN), tmp_path / "out.parquet"
    parts = parts_of(table, tmp_path, 10, 10, 10)
    assert not join_row_groups(parts, out, {}, min_rows=16)
    assert join_row_groups(parts, out, {}, min_rows=15)
    table.select("flag").write_parquet(parts[1])
    assert not join_row_groups(parts, out, {}, min_rows=0)
