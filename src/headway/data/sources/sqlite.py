"""Query a SQLite file, `sqlite:///FILE`, opened read-only; string columns of dates are parsed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path
from urllib.parse import quote

import polars as pl

from headway.core.errors import DataError
from headway.data.parsing import FETCH_ROWS, parse_dates, table_from_batches

SCHEME = "sqlite:///"


def plugin(url: str, query: str, *, folder: Path) -> pl.DataFrame:
    """Return the result of a query; `sqlite:////data/x.db` is absolute, `sqlite:///x.db` relative to `folder`."""
    if not url.startswith(SCHEME):
        raise DataError(f"'{url}' names no file", hint="sqlite:///FILE, with three slashes")
    path = folder / url.removeprefix(SCHEME)
    if not path.is_file():
        raise DataError(
            f"no file '{path.name}'", where=str(path), hint="correct the path: --data, or [data] source in headway.toml"
        )
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)) as database:
            return _answer(database, query)
    except sqlite3.Error as error:
        raise DataError(f"SQLite refuses the query: {error}", where=f"{url}: {query}", hint="[data] query") from error


def _answer(database: sqlite3.Connection, query: str) -> pl.DataFrame:
    cursor = database.execute(query)
    if cursor.description is None:
        raise DataError("the query gives no table", where=query, hint='query = "SELECT ... FROM ..."')
    names = [column[0] for column in cursor.description]
    batches = iter(partial(cursor.fetchmany, FETCH_ROWS), [])
    return parse_dates(table_from_batches(names, chain([cursor.fetchmany(FETCH_ROWS)], batches), where=query))
