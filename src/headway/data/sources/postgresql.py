"""Query a PostgreSQL server, `postgresql://USER@HOST/DATABASE`, in a read-only transaction."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path

import polars as pl
import psycopg

from headway.core.errors import DataError
from headway.data.parsing import FETCH_ROWS, concat_frames, frames_from_batches

CONNECT_S = 10
_SELECTS = re.compile(r"\s*(select|with|values|table)\b", re.IGNORECASE)


class PostgreSQL:
    """Reads results in batches; without a password in the URL, PGPASSWORD or ~/.pgpass is used, as by psql."""

    strings_hold_dates = False

    def __call__(self, url: str, query: str, *, folder: Path) -> pl.DataFrame:
        """Return the result of a query."""
        return concat_frames(list(self.batches(url, query, folder=folder)))

    def batches(self, url: str, query: str, *, folder: Path) -> Iterator[pl.DataFrame]:
        """Yield the result of a query in batches, one of them in memory."""
        try:
            with psycopg.connect(url, connect_timeout=CONNECT_S) as connection:
                connection.read_only = True
                yield from _answer(connection, query)
        except psycopg.Error as error:
            message = " ".join(str(error).split())
            refused = isinstance(error, psycopg.OperationalError) and error.sqlstate is None
            what = "cannot reach PostgreSQL" if refused else "PostgreSQL refuses the query"
            raise DataError(
                f"{what}: {message}",
                where=url if refused else query,
                hint="[data] source" if refused else "[data] query",
            ) from error


def _answer(connection: psycopg.Connection[tuple[object, ...]], query: str) -> Iterator[pl.DataFrame]:
    """Fetch the result in batches, by a cursor of the server where the query can have one: it holds the result then."""
    with connection.cursor(name="headway") if _SELECTS.match(query) else connection.cursor() as cursor:
        cursor.execute(query.encode())
        if cursor.description is None:
            raise DataError("the query gives no table", where=query, hint='query = "SELECT ... FROM ..."')
        batches = iter(partial(cursor.fetchmany, FETCH_ROWS), [])
        names = [column.name for column in cursor.description]
        yield from frames_from_batches(names, chain([cursor.fetchmany(FETCH_ROWS)], batches), where=query)


plugin = PostgreSQL()
