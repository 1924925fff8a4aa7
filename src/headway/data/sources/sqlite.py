"""Query a SQLite file, `sqlite:///FILE`, opened read-only; string columns of dates are parsed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path
from urllib.parse import quote

import polars as pl

from headway.core.errors import DataError
from headway.data.parsing import FETCH_ROWS, concat_frames, frames_from_batches, parse_dates

SCHEME = "sqlite:///"


class SQLite:
    """Reads results in batches; `sqlite:////data/x.db` is absolute, `sqlite:///x.db` relative to `folder`."""

    strings_hold_dates = True

    def __call__(self, url: str, query: str, *, folder: Path) -> pl.DataFrame:
        """Return the result of a query."""
        return parse_dates(concat_frames(list(self.batches(url, query, folder=folder))))

    def batches(self, url: str, query: str, *, folder: Path) -> Iterator[pl.DataFrame]:
        """Yield the result of a query in batches, one of them in memory."""
        if not url.startswith(SCHEME):
            raise DataError(f"'{url}' names no file", hint="sqlite:///FILE, with three slashes")
        path = folder / url.removeprefix(SCHEME)
        if not path.is_file():
            raise DataError(
                f"no file '{path.name}'",
                where=str(path),
                hint="correct the path: --data, or [data] source in headway.toml",
            )
        try:
            with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)) as database:
                yield from _answer(database, query)
        except sqlite3.Error as error:
            raise DataError(
                f"SQLite refuses the query: {error}", where=f"{url}: {query}", hint="[data] query"
            ) from error


def _answer(database: sqlite3.Connection, query: str) -> Iterator[pl.DataFrame]:
    cursor = database.execute(query)
    if cursor.description is None:
        raise DataError("the query gives no table", where=query, hint='query = "SELECT ... FROM ..."')
    names = [column[0] for column in cursor.description]
    batches = iter(partial(cursor.fetchmany, FETCH_ROWS), [])
    yield from frames_from_batches(names, chain([cursor.fetchmany(FETCH_ROWS)], batches), where=query)


plugin = SQLite()
