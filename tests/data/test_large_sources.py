"""A result is read in batches: what is in memory is its table, not its rows as Python objects."""

from __future__ import annotations

import importlib
import sqlite3
import subprocess
import sys
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from tests.storage.postgres import USER, server

from headway.core.config import Config
from headway.core.errors import ConfigError, DataError
from headway.data.parsing import table_from_batches
from headway.data.read import read_table
from headway.data.settings.data import DataSection

ROWS = 1_500_000
TABLE_MB = ROWS * (8 + 8 + 16) / 2**20
QUERY = f"SELECT g::bigint AS number, g / 4.0::float8 AS fare, 'k' || g AS key FROM generate_series(1, {ROWS}) g"
READ = """
import sys
from headway.core.config import Config
from headway.data.settings.data import DataSection
from headway.data.read import read_table
def peak_mb():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
source, rows, query = sys.argv[1:]
read_table(Config(DataSection(source=source, query="SELECT 1 AS one, 'a' AS key")))
before = peak_mb()
table = read_table(Config(DataSection(source=source, query=query)))
assert len(table) == int(rows)
print(peak_mb() - before)
"""


def read(source: str, query: str = "", folder: Path = Path(".")) -> pl.DataFrame:
    return read_table(Config(DataSection(source=source, query=query), folder=str(folder)))


def test_batches_of_other_types_are_brought_together():
    batches = [
        [(1, None, Decimal("1.5"), None), (2, None, Decimal("2"), None)],
        [(0.5, "a", Decimal("2.25"), None)],
        [(None, None, None, None)],
    ]
    table = table_from_batches(["number", "name", "fare", "none"], batches, where="a query")
    assert table["number"].to_list() == [1.0, 2.0, 0.5, None] and table["name"].to_list() == [None, None, "a", None]
    assert table["fare"].to_list() == [Decimal("1.5"), Decimal("2"), Decimal("2.25"), None]
    assert table["none"].null_count() == 4


def test_a_value_of_another_type_is_named_by_its_row_in_any_batch():
    with pytest.raises(DataError, match="column 'a' holds int and str") as raised:
        table_from_batches(["a"], [[(1,), (None,)], [(2,), ("x",)]], where="the query")
    assert raised.value.where == "'x' in row 4 of the query"


def test_sqlite_is_read_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("headway.data.sources.sqlite.FETCH_ROWS", 3)
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE t (number INTEGER, day TEXT)")
        database.executemany("INSERT INTO t VALUES (?, ?)", [(number, f"2024-01-0{number}") for number in range(1, 9)])
    table = read(f"sqlite:///{path}", "SELECT * FROM t ORDER BY number")
    assert table["number"].to_list() == list(range(1, 9)) and table.schema["day"] == pl.Date
    assert read(f"sqlite:///{path}", "SELECT * FROM t WHERE number < 0").columns == ["number", "day"]


def write_partitions(folder: Path) -> Path:
    for month, carrier in ((1, "AA"), (2, "UA"), (10, "__HIVE_DEFAULT_PARTITION__")):
        where = folder / f"rows/month={month}/carrier={carrier}"
        where.mkdir(parents=True)
        pl.DataFrame({"x": [month, month]}).write_parquet(where / "part.parquet")
    (folder / "rows/old").mkdir()
    pl.DataFrame({"x": [7]}).write_parquet(folder / "rows/old/part.parquet")
    return folder


def test_hive_partitions_are_columns_of_a_folder(tmp_path):
    table = read("rows", folder=write_partitions(tmp_path))
    assert table.schema == {"x": pl.Int64, "month": pl.Int64, "carrier": pl.String}
    assert sorted(table.rows(), key=str) == sorted(
        [(1, 1, "AA")] * 2 + [(2, 2, "UA")] * 2 + [(10, 10, None)] * 2, key=str
    )


def test_files_with_other_partitions_are_an_error(tmp_path):
    write_partitions(tmp_path)
    (tmp_path / "rows/month=3").mkdir()
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "rows/month=3/part.parquet")
    with pytest.raises(DataError, match=r"'month=3/part.parquet' has the partitions month, '.*' has month, carrier"):
        read("rows", folder=tmp_path)


def test_a_query_of_objects_is_refused():
    with pytest.raises(ConfigError, match="a query is for a database"):
        read("s3://bucket/rows", "SELECT 1")


@pytest.mark.services
def test_objects_are_read_with_their_partitions(s3, seaweed, tmp_path):
    bucket, _, prefix = s3.removeprefix("s3://").partition("/")
    rows = write_partitions(tmp_path) / "rows"
    for path in rows.glob("month=*/**/*.parquet"):
        key = f"{prefix}/{path.relative_to(rows).as_posix()}"
        seaweed.client().put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
    assert read(s3).equals(read("rows", folder=tmp_path))
    seaweed.client().put_object(Bucket=bucket, Key=f"{prefix}/bad.parquet", Body=b"no parquet")
    with pytest.raises(DataError, match=r"cannot read 'bad.parquet'"):
        read(s3)
    with pytest.raises(DataError, match=r"no \.parquet object below 's3://.*/none'"):
        read(f"{s3}/none")


@pytest.mark.services
def test_duckdb_reads_its_file_and_files_of_the_project(tmp_path):
    duckdb = importlib.import_module("duckdb")  # pip install 'headway[duckdb]'
    with duckdb.connect(str(tmp_path / "x.duckdb")) as database:
        database.execute("CREATE TABLE t AS SELECT i, 'a' || i AS s FROM range(3) r(i)")
    assert read("duckdb:///x.duckdb", "SELECT * FROM t ORDER BY i", tmp_path).rows() == [
        (0, "a0"),
        (1, "a1"),
        (2, "a2"),
    ]
    write_partitions(tmp_path)
    query = "SELECT month, sum(x) AS x FROM read_parquet('rows/month=*/**/*.parquet') GROUP BY month ORDER BY month"
    assert read("duckdb://", query, tmp_path).rows() == [(1, 2), (2, 4), (10, 20)]


@pytest.mark.services
@pytest.mark.parametrize(
    ("source", "query", "message"),
    [
        ("duckdb://", "COPY (SELECT 1) TO 'out.csv'", "the query is not one SELECT"),
        ("duckdb://", "SELECT 1; SELECT 2", "the query is not one SELECT"),
        ("duckdb://", "SELECT * FROM nothing", "DuckDB refuses the query: Catalog Error"),
        ("duckdb:///absent.duckdb", "SELECT 1", "no file 'absent.duckdb'"),
        ("duckdb://absent.duckdb", "SELECT 1", "names no file"),
    ],
)
def test_what_duckdb_cannot_read_is_an_error(source, query, message, tmp_path):
    with pytest.raises(DataError, match=message):
        read(source, query, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.services
@pytest.mark.slow
def test_a_result_of_postgresql_takes_the_memory_of_its_table():
    with server() as postgres:
        source = f"postgresql://{USER}:s3cr%40t@{postgres.address}/postgres"
        words = [sys.executable, "-c", READ, source, str(ROWS), QUERY]
        run = subprocess.run(words, capture_output=True, text=True, check=True)
    assert float(run.stdout) < 3 * TABLE_MB
