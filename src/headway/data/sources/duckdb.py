"""Query a DuckDB file, `duckdb:///FILE`, opened read-only, or files by `duckdb://`, such as parquet in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import nanoarrow
import polars as pl

from headway.core.errors import DataError

SCHEME = "duckdb://"


class DuckDB:
    """Reads results; DuckDB reads, filters and aggregates within its own memory limit.

    `duckdb:////data/x.db` is absolute, `duckdb:///x.db` relative to `folder`, as are the files that a query names.
    """

    strings_hold_dates = False

    def __call__(self, url: str, query: str, *, folder: Path) -> pl.DataFrame:
        """Return the result of a query."""
        with _relation(url, query, folder=folder) as relation:
            return pl.DataFrame(relation)

    def batches(self, url: str, query: str, *, folder: Path) -> Iterator[pl.DataFrame]:
        """Yield the result of a query in batches, one of them in memory."""
        with _relation(url, query, folder=folder) as relation:
            for batch in nanoarrow.c_array_stream(relation):
                yield pl.DataFrame(batch)


@contextmanager
def _relation(url: str, query: str, *, folder: Path) -> Iterator[duckdb.DuckDBPyRelation]:
    if url != SCHEME and not url.startswith(f"{SCHEME}/"):
        raise DataError(f"'{url}' names no file", hint="duckdb:///FILE, with three slashes, or duckdb:// for none")
    name = url.removeprefix(f"{SCHEME}/") if url != SCHEME else ""
    path = folder / name
    if name and not path.is_file():
        raise DataError(
            f"no file '{path.name}'", where=str(path), hint="correct the path: --data, or [data] source in headway.toml"
        )
    settings = {"file_search_path": str(folder.resolve()), "autoinstall_known_extensions": False}
    try:
        with duckdb.connect(str(path) if name else ":memory:", read_only=bool(name), config=settings) as database:
            statements = database.extract_statements(query)
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                raise DataError("the query is not one SELECT", where=query, hint='query = "SELECT ... FROM ..."')
            yield database.sql(query)
    except duckdb.Error as error:
        message = str(error).partition("\n")[0]
        raise DataError(f"DuckDB refuses the query: {message}", where=f"{url}: {query}", hint="[data] query") from error


plugin = DuckDB()
