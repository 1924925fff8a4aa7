from __future__ import annotations

import polars as pl
import pytest
from tests.data.tables import small, with_column

from headway.data.settings.split import SplitSection
from headway.data.split import split_dataset
from headway.monitoring.assessment.assess import split_buckets, time_buckets


def test_forty_days_are_divided_into_weeks():
    found = time_buckets(small())
    assert [bucket.name for bucket in found][:2] == ["2012-12-31", "2013-01-07"]
    assert sum(bucket.n_rows for bucket in found) == 400


def test_missing_values_are_a_share_of_the_rows_of_their_bucket():
    table = small().table
    found = time_buckets(small())
    late = table.filter(pl.col("at").dt.truncate("1w") == pl.datetime(2013, 1, 7))["late"]
    assert found[1].missing["late"] == late.null_count() / len(late)
    assert "hour" not in found[1].missing


def test_the_mean_of_the_target_has_its_interval_by_group():
    [part] = split_buckets(small(), {"all": small()})
    [mean] = part.target
    known = small().table["late"].drop_nulls()
    assert mean.value == pytest.approx(known.mean())
    assert mean.low < mean.value < mean.high and mean.n_groups == 40


def test_several_classes_have_a_share_each():
    dataset = with_column(
        small(task="multiclass", classes=("a", "b", "c")), late=[float(row % 3) for row in range(400)]
    )
    [part] = split_buckets(dataset, {"all": dataset})
    assert [(share.slice, round(share.value, 2)) for share in part.target] == [("a", 0.34), ("b", 0.33), ("c", 0.33)]


def test_rows_without_a_time_have_split_buckets_but_no_time_buckets():
    dataset = small(time="")
    assert time_buckets(dataset) == ()
    assert [bucket.name for bucket in split_buckets(dataset, split_dataset(dataset, SplitSection()))] == [
        "train",
        "validation",
        "test",
    ]
