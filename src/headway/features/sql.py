"""Queries of feature views: one SELECT over the table `source`, of a closed list, run by DuckDB without any access.

The text is checked before it runs (`_sqlglot.py`); what runs is generated from the checked tree. DuckDB is closed
off as well (`_duckdb.py`), so that neither relies on the other.
"""

from __future__ import annotations

import polars as pl

from headway.core.plugins import load_sibling

TABLE = "source"
_READS = "a query of a feature view"


def check_query(sql: str) -> str:
    """Check that a query is one SELECT over `source` with clauses and functions of the closed list.

    Returns
    -------
    str
        The query, generated from the checked tree.

    Raises
    ------
    DataError
        For the first part that is not; the message names it.
    PluginError
        If the SQL parser is not installed (`headway[features]`).
    """
    checked: str = load_sibling(__name__, "sqlglot", reads=_READS).rewrite_query(sql, table=TABLE)
    return checked


def run_query(
    sql: str, source: pl.DataFrame, *, timeout_s: float = 60.0, memory_mb: int = 1_024, threads: int = 2
) -> pl.DataFrame:
    """Check a query once more, and run it over a frame.

    Parameters
    ----------
    sql : str
        The query.
    source : polars.DataFrame
        The only table that it can read.
    timeout_s : float
        Seconds after which it is interrupted.
    memory_mb : int
        Memory that DuckDB may use next to the frame, and the largest result, in MB; nothing is written to disk.
    threads : int
        Threads of DuckDB.

    Raises
    ------
    DataError
        If the query is refused, fails, needs too much memory, or does not end in time.
    PluginError
        If DuckDB or the SQL parser is not installed (`headway[features]`).
    """
    checked = check_query(sql)
    found: pl.DataFrame = load_sibling(__name__, "duckdb", reads=_READS).execute_query(
        checked, source, table=TABLE, timeout_s=timeout_s, memory_mb=memory_mb, threads=threads
    )
    return found
