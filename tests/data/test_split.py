from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest
from tests.data.tables import small, with_column

from headway.core.errors import ConfigError, DataError
from headway.data.settings.split import SplitSection
from headway.data.split import labeled_rows, split_by_shares, split_dataset

JANUARY = ("2013-01-01", "2013-01-11")
LATER = ("2013-01-11", "2013-02-01")


def test_a_period_holds_the_rows_from_its_start_to_just_before_its_end():
    periods = split_dataset(small(), SplitSection(train=JANUARY, validation=LATER))

    assert list(periods) == ["train", "validation"]
    assert len(periods["train"].table) == 100
    assert periods["validation"].table["at"].min() >= datetime(2013, 1, 11)


def test_labeled_rows_have_an_outcome():
    assert labeled_rows(small()).table["late"].null_count() == 0


def test_periods_that_overlap_are_refused_by_name():
    with pytest.raises(ConfigError, match="'validation' starts before 'train' ends"):
        split_dataset(small(), SplitSection(train=("2013-01-01", "2013-01-12"), validation=LATER))


@pytest.mark.parametrize("texts", [("2013-01-01",), ("soon", "later")])
def test_a_period_that_is_not_two_dates_is_refused(texts):
    with pytest.raises(ConfigError, match="period 'train' is"):
        split_dataset(small(), SplitSection(train=texts))


def test_a_period_that_ends_before_it_starts_is_refused():
    with pytest.raises(ConfigError, match="ends before it starts"):
        split_dataset(small(), SplitSection(train=("2013-02-01", "2013-01-01")))


def test_a_period_without_rows_is_refused():
    with pytest.raises(DataError, match="period 'test' has no rows"):
        split_dataset(small(), SplitSection(test=("2015-01-01", "2015-02-01")))


@pytest.mark.parametrize("text", ["2025-01-31", "2025/01/31", "20250131", "2025-W05", "2025Q1"])
def test_strings_that_begin_with_the_year_are_in_order_of_time(text):
    rows = with_column(small(), at=[text] * len(small().table))
    assert split_by_shares(rows, {"validation": 0.5, "test": 0.5}).keys() == {"validation", "test"}


def test_strings_with_days_of_one_and_two_digits_are_refused():
    days = ["2025-10-1", *["2025-9-1"] * (len(small().table) - 1)]
    with pytest.raises(DataError, match="holds the string '2025-10-1'"):
        split_by_shares(with_column(small(), at=days), {"validation": 0.5, "test": 0.5})


@pytest.mark.parametrize("text", ["9/1/2025", "x", "Jan 2025"])
def test_strings_that_are_not_in_order_of_time_are_refused(text):
    rows = small()
    dates = with_column(rows, at=rows.table["at"].cast(pl.String))
    assert split_by_shares(dates, {"validation": 0.5, "test": 0.5}).keys() == {"validation", "test"}
    texts = with_column(rows, at=[text] * len(rows.table))
    with pytest.raises(DataError, match=f"holds the string '{text}'"):
        split_by_shares(texts, {"validation": 0.5, "test": 0.5})


def test_a_time_column_without_times_is_refused():
    wrong = with_column(small(), at=["yesterday"] * 400)
    with pytest.raises(DataError, match="time column 'at' is not a time"):
        split_dataset(wrong, SplitSection(train=JANUARY))
