"""Queries of views: what DuckDB runs over the source, and what cannot leave the sandbox."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import polars as pl
import pytest

from headway.core.errors import DataError
from headway.features import _duckdb
from headway.features.sql import check_query, run_query

pytestmark = pytest.mark.slow
SOURCE = pl.DataFrame(
    {
        "origin": ["EWR", "JFK", "EWR", "LGA"],
        "temp": [30.5, None, 41.0, 28.0],
        "n": [1, 2, 3, 4],
        "at": [dt.datetime(2024, 1, day, 12) for day in (1, 2, 3, 4)],
    }
)


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT origin, temp FROM source WHERE temp > 30 ORDER BY temp", [("EWR", 30.5), ("EWR", 41.0)]),
        ("SELECT origin, avg(temp) AS mean FROM source GROUP BY origin HAVING count(*) > 1", [("EWR", 35.75)]),
        (
            "WITH warm AS (SELECT * FROM source WHERE temp > 29) SELECT s.n, w.n AS m FROM source s "
            "JOIN warm w ON s.origin = w.origin AND s.n < w.n",
            [(1, 3)],
        ),
        (
            "SELECT n, lag(n) OVER (PARTITION BY origin ORDER BY at) AS before FROM source ORDER BY n",
            [(1, None), (2, None), (3, 1), (4, None)],
        ),
        (
            "SELECT n FROM source QUALIFY row_number() OVER (PARTITION BY origin ORDER BY at DESC) = 1 "
            "ORDER BY n DESC LIMIT 2",
            [(4,), (3,)],
        ),
        ("SELECT CAST(n AS DOUBLE) / 2 AS half FROM source WHERE n::VARCHAR = '3'", [(1.5,)]),
        ("SELECT n FROM source WHERE n = 1 UNION ALL SELECT n FROM source WHERE n = 4", [(1,), (4,)]),
        (
            "SELECT date_trunc('day', at) AS day, extract(isodow FROM at) AS d FROM source WHERE n = 1",
            [(dt.datetime(2024, 1, 1), 1)],
        ),
        ("SELECT coalesce(temp, -1) AS t, upper(substring(origin, 1, 2)) AS o FROM source WHERE n = 2", [(-1.0, "JF")]),
        ("SELECT n FROM source WHERE n IN (SELECT max(n) FROM source) /* comment */", [(4,)]),
        ("SELECT n FROM source WHERE n > 9", []),
    ],
)
def test_a_query_of_the_list_runs_over_the_source(sql: str, rows: list[tuple[object, ...]]) -> None:
    assert run_query(sql, SOURCE).rows() == rows


ESCAPES = [
    "SELECT * FROM read_csv('{file}')",
    "SELECT * FROM read_csv_auto('{file}')",
    "SELECT * FROM read_text('{file}')",
    "SELECT * FROM read_blob('{file}')",
    "SELECT * FROM read_json('{file}')",
    "SELECT * FROM read_parquet('{file}')",
    "SELECT * FROM parquet_scan('{file}')",
    "SELECT * FROM sniff_csv('{file}')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM '{file}'",
    'SELECT * FROM "{file}"',
    "SELECT * FROM 'https://example.com/a.csv'",
    "SELECT * FROM read_csv('https://example.com/a.csv')",
    "SELECT * FROM read_parquet('s3://bucket/a.parquet')",
    "SELECT * FROM source, read_text('{file}')",
    "SELECT * FROM source WHERE n IN (SELECT content FROM read_text('{file}'))",
    "SELECT (SELECT content FROM read_text('{file}')) FROM source",
    "WITH a AS (SELECT * FROM read_text('{file}')) SELECT * FROM a",
    'WITH "{file}" AS (SELECT 1) SELECT * FROM "{file}"',
    "SELECT * FROM source UNION ALL SELECT * FROM '{file}'",
    "SELECT * FROM source JOIN LATERAL (SELECT * FROM read_text('{file}')) ON true",
    "ATTACH '{folder}/x.db'",
    "ATTACH '{folder}/x.db' AS x; SELECT * FROM x.t",
    "COPY source TO '{folder}/x.csv'",
    "COPY (SELECT * FROM source) TO '{folder}/x.parquet'",
    "EXPORT DATABASE '{folder}/x'",
    "IMPORT DATABASE '{folder}'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{folder}/x.duckdb_extension'",
    "FORCE INSTALL spatial FROM community",
    "SET enable_external_access = true",
    "RESET memory_limit",
    "SET GLOBAL threads = 64",
    "PRAGMA database_list",
    "PRAGMA enable_profiling",
    "SELECT getenv('HOME')",
    "SELECT getvariable('x') FROM source",
    "SET VARIABLE x = 1",
    "SELECT current_setting('memory_limit')",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM pg_catalog.pg_class",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM main.source",
    "SELECT * FROM memory.main.source",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('source')",
    "SELECT * FROM pragma_database_list()",
    "CREATE TABLE x AS SELECT * FROM source",
    "CREATE MACRO f(x) AS x",
    "CREATE SECRET s (TYPE s3)",
    "INSERT INTO source VALUES (1)",
    "DELETE FROM source",
    "UPDATE source SET n = 1",
    "DROP VIEW source",
    "CALL pragma_version()",
    "CHECKPOINT",
    "EXPLAIN ANALYZE SELECT * FROM source",
    "DESCRIBE source",
    "SHOW TABLES",
    "SUMMARIZE source",
    "SELECT 1; SELECT 2",
    "SELECT 1 FROM source; COPY source TO '{folder}/x.csv'",
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT * FROM t",
    "SELECT * FROM range(1000000000000)",
    "SELECT * FROM generate_series(1, 1000000000000)",
    "SELECT unnest(range(1000000000000)) FROM source",
    "SELECT repeat('x', 1000000000) FROM source",
    "SELECT random() FROM source",
    "SELECT now() FROM source",
    "SELECT list(n) FROM source",
    "SELECT * FROM source TABLESAMPLE 10 PERCENT",
    "SELECT * FROM source PIVOT (sum(n) FOR origin IN ('EWR'))",
    "SELECT COLUMNS('.*') FROM source",
    "SELECT n::regclass FROM source",
    "SELECT n::INT[] FROM source",
    "SELECT read_text('{file}') FROM source",
    "SELECT x -> x + 1 FROM source",
    "VALUES (1)",
    "FROM '{file}'",
]


@pytest.mark.parametrize("escape", ESCAPES)
def test_an_escape_is_refused_before_it_runs(escape: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\n1,hidden\n")
    before = sorted(tmp_path.iterdir())

    with pytest.raises(DataError) as caught:
        run_query(escape.format(file=secret, folder=tmp_path), SOURCE)

    assert caught.value.hint
    assert "hidden" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before
    assert secret.read_text() == "a,b\n1,hidden\n"


REACHES = re.compile(
    r"read_|scan|sniff|glob|'\{|\"\{|http|s3:|ATTACH|COPY|EXPORT|IMPORT|INSTALL|LOAD|^SET |RESET|getenv|SECRET"
)
"""Escapes that reach for files, the network or settings."""


@pytest.mark.parametrize("escape", [escape for escape in ESCAPES if REACHES.search(escape)])
def test_duckdb_itself_refuses_what_reaches_outside(escape: str, tmp_path: Path) -> None:
    """The second wall: were the check to miss it, DuckDB would not read the file either."""
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\n1,hidden\n")
    query = escape.format(file=secret, folder=tmp_path)

    try:
        found = _duckdb.execute_query(query, SOURCE, table="source", timeout_s=20.0, memory_mb=200, threads=1)
    except DataError as error:
        assert "hidden" not in str(error)
    else:
        assert "hidden" not in str(found.rows()), query
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]


def test_a_cross_join_is_stopped_by_time() -> None:
    rows = pl.DataFrame({"n": range(200_000)})
    with pytest.raises(DataError, match=r"did not end within 0.5 s"):
        run_query("SELECT sum(a.n * b.n % 7) AS s FROM source a, source b", rows, timeout_s=0.5)


def test_a_result_beyond_the_limit_is_stopped() -> None:
    rows = pl.DataFrame({"n": range(200_000)})
    with pytest.raises(DataError, match="more than 50 MB"):
        run_query("SELECT a.n FROM source a, source b", rows, memory_mb=50)


def test_a_query_beyond_its_memory_is_stopped() -> None:
    rows = pl.DataFrame({"n": range(200_000)})
    query = "SELECT a.n, row_number() OVER (ORDER BY a.n * b.n) AS r FROM source a, source b"
    with pytest.raises(DataError, match="Out of Memory"):
        run_query(query, rows, memory_mb=100, timeout_s=60)


def test_what_runs_is_written_from_what_was_checked() -> None:
    assert check_query("select n -- '; drop table x\nfrom source /* a */") == "SELECT n FROM source"


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("", "not one SELECT"),
        ("SELECT missing FROM source", "DuckDB refuses the query"),
        ("SELECT " + "(" * 3000, "not SQL"),
        ("SELECT " + ", ".join(f"n + {number}" for number in range(2000)) + " FROM source", "more than 5000 parts"),
        ("SELECT " + "n, " * 9_000 + "n FROM source", "characters"),
    ],
)
def test_a_wrong_query_is_named(sql: str, what: str) -> None:
    with pytest.raises(DataError) as caught:
        run_query(sql, SOURCE)
    assert what in caught.value.what
