"""Partitions and data files of a folder that is scored."""

from __future__ import annotations

from headway.core.batch import is_data_file, parse_partitions


def test_partitions_of_hive_are_columns_with_their_values_unquoted() -> None:
    folders = ["year=2024", "carrier=A%2FB", "note=__HIVE_DEFAULT_PARTITION__", "other"]
    assert parse_partitions(folders) == {"year": "2024", "carrier": "A/B", "note": None}


def test_no_part_of_the_path_of_a_data_file_begins_with_a_dot_or_underscore() -> None:
    names = ("a.parquet", "year=2024/a.parquet", "_temporary/a.parquet", "year=2024/.a.parquet", "a.csv")
    assert [name for name in names if is_data_file(name, ".parquet")] == ["a.parquet", "year=2024/a.parquet"]
