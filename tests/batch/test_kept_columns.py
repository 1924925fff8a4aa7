"""Columns that are copied through arrive as they were, in whatever format they came and go."""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime, time, timedelta

import polars as pl
import pytest
from polars.testing import assert_series_equal
from tests.batch.scoring import number_table, read_table, score_file, scoring_project, write_table

from headway.core.errors import DataError

pytestmark = pytest.mark.slow

KEPT = {
    "tiny": pl.Series([1, None, -3], dtype=pl.Int8),
    "great": pl.Series([2**63, None, 2**64 - 1], dtype=pl.UInt64),
    "whole": pl.Series([1, 2, 2**53 + 1]),
    "share": pl.Series([0.1, None, float("nan")]),
    "single": pl.Series([0.1, 2.5, -0.0], dtype=pl.Float32),
    "truth": pl.Series([True, None, False]),
    "said": pl.Series(["é, ü", None, 'a "b"']),
    "kind": pl.Series(["x", None, "x"], dtype=pl.Categorical),
    "day": pl.Series([date(2024, 2, 29), None, date(1969, 12, 31)]),
    "moment": pl.Series([datetime(2024, 1, 1, 12, 0, 0, 5), None, datetime(1960, 1, 1)]),
    "zoned": pl.Series([datetime(2024, 7, 1, 12, tzinfo=UTC), None, datetime(1960, 1, 1, tzinfo=UTC)]),
    "instant": pl.Series([1, None, -1]).cast(pl.Datetime("ns")),
    "clock": pl.Series([time(1, 2, 3), None, time(23, 59)]),
    "span": pl.Series([timedelta(days=1), None, timedelta(milliseconds=-1)]),
}
SHOWN = {
    "tiny": ["1", "", "-3"],
    "great": ["9223372036854775808", "", "18446744073709551615"],
    "share": ["0.1", "", "nan"],
    "truth": ["True", "", "False"],
    "day": ["2024-02-29", "", "1969-12-31"],
    "moment": ["2024-01-01T12:00:00.000005", "", "1960-01-01T00:00:00.000000"],
    "zoned": ["2024-07-01T12:00:00.000000Z", "", "1960-01-01T00:00:00.000000Z"],
    "instant": ["1970-01-01T00:00:00.000000001", "", "1969-12-31T23:59:59.999999999"],
    "clock": ["01:02:03.000000000", "", "23:59:00.000000000"],
    "span": ["PT86400.000000S", "", "-PT0.001000S"],
}


def with_kept(rows: int = 3) -> pl.DataFrame:
    return number_table(rows).with_columns(**KEPT)


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("out", [".parquet", ".arrow"])
@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather"])
def test_a_column_of_each_type_is_copied(suffix, out, name, tmp_path):
    source = write_table(with_kept().select("a", "b", "c", name), tmp_path / f"rows{suffix}")
    score_file(scoring_project(tmp_path), source, tmp_path / f"scores{out}", name)
    wanted = KEPT[name].cast(pl.String) if name == "kind" else KEPT[name]
    assert_series_equal(read_table(tmp_path / f"scores{out}")[name], wanted.alias(name))


@pytest.mark.parametrize("name", SHOWN)
def test_csv_formats_values_that_parse_back_to_the_same(name, tmp_path):
    source = write_table(with_kept(), tmp_path / "rows.parquet")
    score_file(scoring_project(tmp_path), source, tmp_path / "scores.csv", name)
    with (tmp_path / "scores.csv").open(newline="") as file:
        assert [row[name] for row in csv.DictReader(file)] == SHOWN[name]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather"])
@pytest.mark.parametrize("values", [[[1], [2], [3]], [b"a", b"b", b"c"], [None, None, None]])
def test_a_column_of_an_unsupported_type_is_rejected_by_name(suffix, values, tmp_path):
    source = write_table(number_table(3).with_columns(odd=pl.Series(values)), tmp_path / f"rows{suffix}")
    with pytest.raises(DataError, match=r"column 'odd' is .*, which cannot be copied"):
        score_file(scoring_project(tmp_path), source, tmp_path / "scores.csv", "odd")


def test_a_column_of_only_nulls_is_missing_to_the_model(tmp_path):
    table = number_table(2).with_columns(c=None)
    receipts = [
        score_file(
            scoring_project(tmp_path / suffix),
            write_table(table, tmp_path / f"rows.{suffix}"),
            tmp_path / f"{suffix}.csv",
        )
        for suffix in ("parquet", "arrow")
    ]
    assert [receipt.refused for receipt in receipts] == [2, 2]  # the mean of a row with a missing value is NaN
