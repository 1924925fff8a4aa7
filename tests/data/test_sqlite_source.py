from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date, datetime
from pathlib import Path

import pytest

from headway.core.errors import DataError
from headway.data.sources.sqlite import plugin


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A database of two flights, of which one never arrived."""
    with closing(sqlite3.connect(tmp_path / "flights.db")) as database, database:
        database.execute("CREATE TABLE flights (at TEXT, day TEXT, carrier TEXT, wind REAL, late INTEGER, odd)")
        rows = [
            ("2013-01-01 05:15", "2013-01-01", "UA", 12, 0, 1),
            ("2013-01-02 17:30", "2013-01-02", None, 3.5, None, "x"),
        ]
        database.executemany("INSERT INTO flights VALUES (?, ?, ?, ?, ?, ?)", rows)
    return tmp_path


def ask(folder: Path, query: str, url: str = "sqlite:///flights.db"):
    return plugin(url, query, folder=folder)


def test_a_query_gives_a_table_with_dates_and_missing_values(folder):
    table = ask(folder, "SELECT at, day, carrier, wind, late FROM flights")
    assert table.rows() == [
        (datetime(2013, 1, 1, 5, 15), date(2013, 1, 1), "UA", 12.0, 0),
        (datetime(2013, 1, 2, 17, 30), date(2013, 1, 2), None, 3.5, None),
    ]


def test_integers_and_floats_in_one_column_are_numbers(folder):
    table = ask(folder, "SELECT 1 AS x UNION ALL SELECT 2.5 UNION ALL SELECT NULL")
    assert sorted(table["x"].drop_nulls()) == [1.0, 2.5]


def test_a_path_may_be_absolute(folder):
    assert len(ask(Path("/"), "SELECT * FROM flights LIMIT 1", f"sqlite:///{folder}/flights.db")) == 1


def test_a_query_without_rows_keeps_its_columns(folder):
    assert ask(folder, "SELECT at, late FROM flights WHERE 0").columns == ["at", "late"]


def test_nothing_can_be_written(folder):
    with pytest.raises(DataError, match="readonly database"):
        ask(folder, "DELETE FROM flights")
    assert len(ask(folder, "SELECT carrier FROM flights")) == 2


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT odd FROM flights", "column 'odd' holds int and str\n  at: 'x' in row 2 of SELECT odd"),
        ("SELECT late, late FROM flights", "two columns 'late'"),
        ("SELECT * FROM fligths", "no such table: fligths"),
        ("SELEC", "syntax error"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
        ("PRAGMA user_version = 3", "readonly database|gives no table"),
        ("", "gives no table"),
    ],
)
def test_a_query_without_a_table_is_an_error_with_the_reason(folder, query, message):
    with pytest.raises(DataError, match=message):
        ask(folder, query)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:///flihgts.db", "no file 'flihgts.db'"),
        ("sqlite://flights.db", "with three slashes"),
        ("sqlite:///", "no file"),
    ],
)
def test_a_missing_file_is_named_and_not_created(folder, url, message):
    with pytest.raises(DataError, match=message):
        ask(folder, "SELECT 1", url)
    assert [path.name for path in folder.iterdir()] == ["flights.db"]


def test_a_file_that_is_not_a_database_is_named(folder):
    (folder / "text.db").write_text("no database" * 100)
    with pytest.raises(DataError, match="file is not a database"):
        ask(folder, "SELECT * FROM x", "sqlite:///text.db")
