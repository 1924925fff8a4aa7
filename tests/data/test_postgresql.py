"""A real server is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime

import polars as pl
import pytest
from tests.storage.postgres import USER, server

from headway.core.config import Config
from headway.core.errors import DataError
from headway.data.open import open_dataset
from headway.data.read import read_table
from headway.data.settings.data import DataSection

pytestmark = [pytest.mark.slow, pytest.mark.services]

TABLE = """
CREATE TABLE flights AS SELECT
  g::int AS number, (g / 4.0)::numeric(6, 2) AS fare, g::real AS wind, g % 2 = 0 AS late, 'UA' || g AS carrier,
  timestamp '2013-01-01 05:15' + g * interval '1 hour' AS at, timestamptz '2013-01-01 05:15+00' AS seen,
  date '2013-01-01' + g / 24 AS day, CASE WHEN g > 1 THEN g END AS gate, gen_random_uuid() AS id
FROM generate_series(0, 99) g
"""
COLUMNS = "number, fare, wind, late, carrier, at, seen, day, gate"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with server() as postgres:
        with postgres.connect() as connection:
            connection.execute(TABLE.encode())
        yield postgres.address


def config(address: str, query: str, password: str = ":s3cr%40t", **data: object) -> Config:
    source = f"postgresql://{USER}{password}@{address}/postgres"
    return Config(DataSection(source=source, query=query, **data))


def ask(address: str, query: str, password: str = ":s3cr%40t") -> pl.DataFrame:
    return read_table(config(address, query, password))


def test_a_query_gives_a_table_with_the_types_of_its_columns(address):
    table = ask(address, f"SELECT {COLUMNS} FROM flights ORDER BY number")

    assert table.shape == (100, 9)
    assert table.row(1, named=True) == {
        "number": 1,
        "fare": pytest.approx(0.25),
        "wind": 1.0,
        "late": False,
        "carrier": "UA1",
        "at": datetime(2013, 1, 1, 6, 15),
        "seen": datetime(2013, 1, 1, 5, 15, tzinfo=UTC),
        "day": date(2013, 1, 1),
        "gate": None,
    }
    assert table["fare"].dtype.is_numeric()


def test_a_dataset_names_the_database_and_the_query_and_not_the_password(address):
    query = "SELECT at, day, wind, late::int FROM flights WHERE carrier LIKE 'UA%'"
    dataset = open_dataset(config(address, query, target="late", time="at", groups="day"))

    shown = f"postgresql://{USER}:***@{address}/postgres"
    assert (dataset.name, dataset.provenance) == (shown, {"source": shown, "query": query})


def test_a_password_may_come_from_the_environment(address, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "s3cr@t")
    assert len(ask(address, "SELECT 1 AS one", password="")) == 1


def test_nothing_can_be_written(address):
    with pytest.raises(DataError, match="cannot execute DELETE in a read-only transaction"):
        ask(address, "DELETE FROM flights")
    assert len(ask(address, "SELECT number FROM flights")) == 100


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT * FROM fligths", 'relation "fligths" does not exist'),
        ("SELEC", "syntax error"),
        ("SELECT 1 / 0", "division by zero"),
        ("SELECT id FROM flights", "column 'id' holds UUID, which a table cannot hold\n  at: SELECT id"),
        ("SELECT at, at FROM flights", "two columns 'at'"),
        ("SET TIME ZONE 'UTC'", "gives no table"),
    ],
)
def test_a_query_without_a_table_is_an_error_with_the_reason(address, query, message):
    with pytest.raises(DataError, match=re.escape(message)):
        ask(address, query)


@pytest.mark.parametrize(
    ("password", "server_address", "message"),
    [
        (":wr0ng", "", "password authentication failed"),
        (":s3cr%40t", "nowhere", "cannot reach PostgreSQL"),
        (":s3cr%40t", "127.0.0.1:1", "cannot reach PostgreSQL: .*refused"),
    ],
)
def test_a_refused_connection_is_an_error_without_the_password(address, password, server_address, message):
    with pytest.raises(DataError, match=message) as caught:
        ask(server_address or address, "SELECT 1", password)
    assert "s3cr" not in str(caught.value) and "wr0ng" not in str(caught.value)
    assert caught.value.where.startswith(f"postgresql://{USER}:***@")
