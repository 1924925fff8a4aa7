from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from headway.core.errors import DataError
from headway.data.read import read_csv


def csv(folder: Path, content: str | bytes) -> Path:
    (folder / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / "t.csv"


def test_numbers_strings_and_iso_times_are_distinguished(tmp_path):
    table = read_csv(csv(tmp_path, "a,b,day,at,zoned\n1,x,2024-03-31,2024-03-31 17:05,2024-03-31T17:05:00+02:00\n"))
    assert table.row(0) == (
        1,
        "x",
        date(2024, 3, 31),
        datetime(2024, 3, 31, 17, 5),
        datetime(2024, 3, 31, 15, 5, tzinfo=UTC),
    )


def test_an_ambiguous_date_stays_a_string(tmp_path):
    assert read_csv(csv(tmp_path, "at\n01/02/2024\n"))["at"].dtype == pl.String


@pytest.mark.parametrize(
    ("content", "message", "line"),
    [
        ("a,b\n1,2\n3,4,5\n", "a row has 3 fields, where 't.csv' names 2 columns: 3,4,5", 3),
        ('a,b\n1,"x\n2,y\n', "unexpected end of data", 3),
        (b"a,b\n1,2\n3,caf\xe9\n", "'t.csv' is not UTF-8: byte 0xe9", 3),
        ("a,b,a\n1,2,3\n", "'t.csv' has two columns 'a'", 1),
        ("a;b\n1;2\n", "'t.csv' separates fields by ';'", 1),
    ],
)
def test_an_error_in_a_csv_file_names_its_line(tmp_path, content, message, line):
    with pytest.raises(DataError) as caught:
        read_csv(csv(tmp_path, content))
    assert message in caught.value.what
    assert caught.value.where.endswith(f"t.csv:{line}")


def test_an_empty_csv_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"'t\.csv' is empty"):
        read_csv(csv(tmp_path, ""))
