"""Query a PostgreSQL server, `postgresql://USER@HOST/DATABASE`, in a read-only transaction."""

from __future__ import annotations

import re
from functools import partial
from itertools import chain
from pathlib import Path

import polars as pl
import psycopg

from headway.core.errors import DataError
from headway.data.parsing import FETCH_ROWS, table_from_batches

CONNECT_S = 10
_SELECTS = re.compile(r"\s*(select|with|values|table)\b", re.IGNORECASE)


def plugin(url: str, query: str, *, folder: Path) -> pl.DataFrame:  # noqa: ARG001 - a server has no folder
    """Return the result of a query; without a password in the URL, PGPASSWORD or ~/.pgpass is used, as by psql."""
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_S) as connection:
            connection.read_only = True
            return _answer(connection, query)
    except psycopg.Error as error:
        message = " ".join(str(error).split())
        refused = isinstance(error, psycopg.OperationalError) and error.sqlstate is None
        what = "cannot reach PostgreSQL" if refused else "PostgreSQL refuses the query"
        raise DataError(
            f"{what}: {message}", where=url if refused else query, hint="[data] source" if refused else "[data] query"
        ) from error


def _answer(connection: psycopg.Connection[tuple[object, ...]], query: str) -> pl.DataFrame:
    """Fetch the result in batches, by a cursor of the server where the query can have one: it holds the result then."""
    with connection.cursor(name="headway") if _SELECTS.match(query) else connection.cursor() as cursor:
        cursor.execute(query.encode())
        if cursor.description is None:
            raise DataError("the query gives no table", where=query, hint='query = "SELECT ... FROM ..."')
        batches = iter(partial(cursor.fetchmany, FETCH_ROWS), [])
        names = [column.name for column in cursor.description]
        return table_from_batches(names, chain([cursor.fetchmany(FETCH_ROWS)], batches), where=query)
