from __future__ import annotations

import polars as pl
from tests.data.tables import small, with_column

from headway.monitoring.assessment.changes import GROUP, RARE, decode_sample, draw_sample, encode_sample


def test_a_sample_keeps_the_shares_of_each_day_but_no_row():
    dataset = small()
    sample = draw_sample(dataset)
    by_day = dataset.table.group_by(pl.col("day").cast(pl.Int32).cast(pl.Int64).alias(GROUP)).agg(pl.col("hour").sum())
    sampled = sample.group_by(GROUP).agg(pl.col("hour").sum().cast(pl.Int64))
    assert sampled.sort(GROUP).equals(by_day.sort(GROUP))
    assert sample["hour"].to_list() != dataset.table.sort("day")["hour"].to_list()


def test_rare_categories_and_columns_of_many_categories_are_left_out():
    names = [f"person {row}" for row in range(400)]
    rare = ["AA"] * 395 + ["a name"] * 5
    sample = draw_sample(with_column(small(), who=names, carrier=rare))
    assert "who" not in sample.columns
    assert set(sample["carrier"].unique()) == {"AA", RARE}


def test_a_decoded_sample_equals_the_encoded_one():
    sample = draw_sample(small())
    assert decode_sample(encode_sample(sample)).equals(sample)


def test_without_a_time_the_declared_groups_are_numbered():
    assert draw_sample(small(time=""))[GROUP].n_unique() == 40


def test_categories_of_an_earlier_sample_stay_and_all_others_are_rare():
    earlier = draw_sample(with_column(small(), carrier=["AA"] * 200 + ["UA"] * 190 + [None] * 10))
    later = with_column(small(), carrier=["AA"] * 390 + ["UA", "UA", "XX", "XX"] + [None] * 6)

    assert set(draw_sample(later)["carrier"]) == {"AA", RARE, None}
    assert set(draw_sample(later, like=earlier)["carrier"]) == {"AA", "UA", RARE, None}
