from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tests.data.tables import small

from headway.core.config import Config
from headway.core.errors import ConfigError, DataError, PluginError
from headway.data.read import read_table
from headway.data.settings.data import DataSection


def read(folder: Path, source: str, **data: object) -> pl.DataFrame:
    return read_table(Config(DataSection(source=source, **data), folder=str(folder)))


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("suffix", ["parquet", "csv", "arrow", "ipc", "feather"])
def test_a_file_is_read_by_its_suffix(tmp_path, suffix):
    table = small().table
    {"parquet": table.write_parquet, "csv": table.write_csv}.get(suffix, table.write_ipc)(tmp_path / f"t.{suffix}")

    assert (
        read(tmp_path, f"t.{suffix}")
        .cast({"late": pl.Int8, "at": pl.Datetime("us")})
        .equals(table.with_columns(pl.col("at").cast(pl.Datetime("us"))))
    )


@pytest.mark.parametrize("suffix", ["arrow", "arrows"])
def test_an_arrow_stream_is_read_as_well_as_a_file(tmp_path, suffix):
    small().table.write_ipc_stream(tmp_path / f"t.{suffix}")
    assert read(tmp_path, f"t.{suffix}").equals(small().table)


@pytest.mark.parametrize("source", ["parts", "parts/", "parts/*.parquet"])
def test_files_of_a_folder_or_pattern_are_concatenated_by_name(tmp_path, source):
    (tmp_path / "parts").mkdir()
    for name, rows in (("b", [3]), ("a", [1, 2])):
        pl.DataFrame({"x": rows}).write_parquet(tmp_path / f"parts/{name}.parquet")

    assert read(tmp_path, source)["x"].to_list() == [1, 2, 3]


def test_a_file_with_other_columns_than_the_first_of_its_folder_is_named(tmp_path):
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"x": [1.5]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"'b.parquet' has other columns than 'a.parquet': x \(Float64, not Int64\)"):
        read(tmp_path, "*.parquet")


def test_a_folder_without_tables_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no file '\*.parquet'"):
        read(tmp_path, "*.parquet")


def test_a_function_of_the_project_gives_the_table(tmp_path):
    folder = write(tmp_path, "mine.py", "import polars\ndef load(): return polars.DataFrame({'late': [0, 1]})")
    assert read(folder, "mine:load")["late"].to_list() == [0, 1]


def test_any_arrow_table_is_accepted(tmp_path):
    folder = write(tmp_path, "mine.py", "import pandas\ndef load(): return pandas.DataFrame({'late': [0, 1]})")
    assert read(folder, "mine:load")["late"].to_list() == [0, 1]


def test_a_function_that_returns_no_table_is_named(tmp_path):
    with pytest.raises(DataError, match="mine:load gave int, not a table"):
        read(write(tmp_path, "mine.py", "def load(): return 3"), "mine:load")


def test_a_file_that_is_absent_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no file 't\.parquet'"):
        read(tmp_path, "t.parquet")


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_file_in_another_format_than_its_suffix_is_named(tmp_path, suffix):
    with pytest.raises(DataError, match=rf"cannot read 't\.{suffix}'.*\n.*\n  try: is it a {suffix} file"):
        read(write(tmp_path, f"t.{suffix}", "nothing of the kind"), f"t.{suffix}")


@pytest.mark.parametrize(
    ("source", "query", "message"),
    [
        ("", "", "no data source"),
        ("t.xlsx", "", "cannot read 't.xlsx'"),
        ("t.csv", "SELECT 1", "a query is for a database"),
        ("sqlite:///t.db", "", "a database needs a query"),
    ],
)
def test_an_invalid_source_is_refused(tmp_path, source, query, message):
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, source, query=query)


def test_an_unknown_database_is_named_with_the_known_ones(tmp_path):
    with pytest.raises(PluginError, match="no source named 'mysql'\n  at: known: duckdb, postgresql, sqlite"):
        read(tmp_path, "mysql://ada:secret@db/flights", query="SELECT 1")


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("mysql://ada:s3cret@db/flights", "s3cret"),
        ("sqlite://ada:s3cret@db/flights", "s3cret"),
        ("sqlite:///s3cret%40x.db?password=s3cret%40x", "s3cret"),
        ("postgresql://ada:s3cr%40t@127.0.0.1:1/flights", "s3cr"),
    ],
)
def test_no_error_shows_the_password_of_a_url(tmp_path, url, secret):
    with pytest.raises((DataError, PluginError)) as caught:
        read(tmp_path, url, query="SELECT 1")
    assert secret not in str(caught.value)


@pytest.mark.parametrize("password", ["s3c@r3t", "s3c/r3t", "s3c#r3t", "s3c?r3t"])
def test_a_password_with_special_characters_of_urls_is_refused(tmp_path, password):
    with pytest.raises(ConfigError, match="%40 for @") as caught:
        read(tmp_path, f"postgresql://ada:{password}@127.0.0.1/flights", query="SELECT 1")
    assert "r3t" not in str(caught.value)


def test_words_for_missing_values_apply_to_any_source(tmp_path):
    pl.DataFrame({"wind": ["1", "NA", "2.5"], "carrier": ["NA", "AA", "x"]}).write_parquet(tmp_path / "t.parquet")
    table = read(tmp_path, "t.parquet", missing=("NA",))

    assert table["wind"].to_list() == [1.0, None, 2.5]
    assert table["carrier"].to_list() == [None, "AA", "x"]
