from __future__ import annotations

from datetime import date, datetime

import polars as pl
import pytest

from headway.data.parsing import parse_date_column, parse_number_texts, replace_missing, unparsed_dates


def text(*values: str | None) -> pl.Series:
    return pl.Series("at", values, dtype=pl.String)


def test_strings_that_are_all_iso_8601_become_dates_or_times():
    assert parse_date_column(text("2024-03-31", None)).to_list() == [date(2024, 3, 31), None]
    assert parse_date_column(text("2024-03-31 17:05", "2024-03-31T17:05:00.5")).to_list() == [
        datetime(2024, 3, 31, 17, 5),
        datetime(2024, 3, 31, 17, 5, 0, 500_000),
    ]


def test_times_of_several_zones_become_utc():
    found = parse_date_column(text("2024-03-31T17:05Z", "2024-03-31T19:05:00+0200"))
    assert found.n_unique() == 1


@pytest.mark.parametrize(
    ("values", "row"),
    [
        (("2024-03-31", "yesterday"), 1),
        (("2024-02-29", "2023-02-29"), 1),
        (("2024-03-31", "2024-03-31 17:05"), 1),
        (("20240331", "2024-03-31"), 0),
    ],
)
def test_one_invalid_date_leaves_the_column_unchanged_and_is_located(values, row):
    assert parse_date_column(text(*values)).dtype == pl.String
    assert unparsed_dates(text(*values)).arg_max() == row


def test_a_column_of_nulls_stays_unchanged():
    assert parse_date_column(text(None, None)).dtype == pl.String


def test_words_for_missing_values_become_null():
    table = replace_missing(pl.DataFrame({"a": ["NA", "x"], "b": ["NA", "NA"], "c": [1, 2]}), ["NA"])
    assert table.to_dict(as_series=False) == {"a": [None, "x"], "b": [None, None], "c": [1, 2]}


@pytest.mark.parametrize("blank", ["", " ", "?", "-", "NA", "n/a", "NaN", "null", "None"])
def test_numbers_with_blanks_become_numbers(blank):
    table, blanks = parse_number_texts(pl.DataFrame({"x": ["1", " 2.5", blank, "-3"]}), ["x"])
    assert table["x"].to_list() == [1.0, 2.5, None, -3.0]
    assert blanks == {"x": {blank: 1}}


@pytest.mark.parametrize(
    "values",
    [
        ["1", "2", "x", "?"],
        ["007", "012", "?", "013"],
        ["1", "?", "?", "?"],
        ["1", "2", "3", None],
        ["no", "yes", "NA", "no"],
    ],
    ids=["a word", "codes", "mostly blank", "no blank", "words"],
)
def test_other_strings_stay_strings(values):
    table, blanks = parse_number_texts(pl.DataFrame({"x": values}), ["x"])
    assert (table["x"].to_list(), blanks) == (values, {})


def test_columns_that_are_not_named_stay_strings():
    table, blanks = parse_number_texts(pl.DataFrame({"x": ["1", "?", "2"]}), [])
    assert (table["x"].dtype, blanks) == (pl.String, {})
