"""Run a checked query with DuckDB: in memory, without files, network, extensions or changes of settings."""

from __future__ import annotations

import re
import threading
import time

import duckdb
import nanoarrow
import polars as pl

from headway.core.errors import DataError

_CLOSED = {
    "enable_external_access": False,
    "autoload_known_extensions": False,
    "autoinstall_known_extensions": False,
    "allow_community_extensions": False,
    "allow_unsigned_extensions": False,
    "python_enable_replacements": False,
    "temp_directory": "",
}


def execute_query(
    sql: str, source: pl.DataFrame, *, table: str, timeout_s: float, memory_mb: int, threads: int
) -> pl.DataFrame:
    """Run one SELECT over a frame; see `headway.features.sql.run_query`."""
    settings = {**_CLOSED, "memory_limit": f"{memory_mb}MB", "threads": threads}
    deadline = time.monotonic() + timeout_s
    with duckdb.connect(":memory:", config=settings) as database:
        timer = threading.Timer(timeout_s, database.interrupt)
        timer.daemon = True
        timer.start()
        try:
            database.register(table, _ArrowFrame(source))
            database.execute("SET lock_configuration = true")
            statements = [statement.type for statement in database.extract_statements(sql)]
            if statements != [duckdb.StatementType.SELECT]:
                raise DataError("the query is not one SELECT", where=sql, hint="SELECT ... FROM source")
            return _fetch(database.sql(sql), sql, deadline=deadline, max_bytes=memory_mb * 2**20)
        except duckdb.InterruptException as error:
            raise _too_slow(sql, timeout_s) from error
        except duckdb.Error as error:
            message = re.sub(r"\s+", " ", str(error).partition("\n")[0])
            raise DataError(f"DuckDB refuses the query: {message}", where=sql, hint="correct the view's sql") from error
        finally:
            timer.cancel()


class _ArrowFrame:
    """Offer only the Arrow stream of a frame: DuckDB reads a polars frame itself, and needs pyarrow for that."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._frame.__arrow_c_stream__(requested_schema)


def _fetch(relation: duckdb.DuckDBPyRelation, sql: str, *, deadline: float, max_bytes: int) -> pl.DataFrame:
    """Read the result in batches: fetched batches are outside DuckDB's memory limit, and have a limit of their own."""
    batches, size = [pl.DataFrame(relation.limit(0))], 0.0
    for batch in nanoarrow.c_array_stream(relation):
        batches.append(pl.DataFrame(batch))
        size += batches[-1].estimated_size()
        if size > max_bytes:
            what = f"the result of the query has more than {max_bytes // 2**20:,} MB"
            raise DataError(what, where=sql, hint="aggregate, or select fewer columns and rows")
        if time.monotonic() > deadline:
            raise duckdb.InterruptException("too slow")
    return pl.concat(batches)


def _too_slow(sql: str, timeout_s: float) -> DataError:
    return DataError(
        f"the query did not end within {timeout_s:g} s", where=sql, hint="join on a key, and aggregate first"
    )
