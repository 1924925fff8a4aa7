from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.data.tables import served_context, split_context, wide, with_column

from headway.core.dataset import ASKED_AT
from headway.core.errors import NotApplicable
from headway.data.checks.population.no_support import plugin
from headway.data.context import CheckContext

LONG = wide(6000)


def moved(rows: int, by: float) -> pl.Series:
    """Return the second number, moved by `by` in one of every `rows` rows, beyond the training range."""
    far = np.arange(6000) % rows == 0
    return LONG.table["x1"] + pl.Series(np.where(far, by, 0.0))


def test_rows_like_the_training_rows_have_no_finding():
    assert plugin(served_context(LONG, 6000)) == []
    assert plugin(split_context(LONG)) == []


def test_values_beyond_the_training_range_warn_with_region_and_count():
    [finding] = plugin(served_context(LONG, 6000, x1=moved(20, 9.0)))

    assert (finding.severity, finding.where, finding.measured) == ("warn", "requests", 0.05)
    assert "300 of 6,000 rows of requests (5.0%)" in finding.message
    assert "x1 above 3." in finding.message and "(300 served, 0 training)" in finding.message


def test_two_values_never_seen_together_are_named_as_a_pair():
    apart = pl.when(pl.col("x0") > 0).then(pl.lit("UA")).otherwise(pl.lit("B6"))
    dataset = with_column(LONG, carrier=LONG.table.select(apart).to_series())
    mixed = pl.Series(["UA", "B6"] * 3000)
    [finding] = plugin(served_context(dataset, 6000, carrier=mixed))

    assert finding.severity == "warn" and finding.measured is not None and finding.measured > 0.4
    assert "x0" in finding.message and " and carrier " in finding.message and "0 training" in finding.message


def test_a_new_category_or_a_missing_value_is_a_region():
    new = pl.Series(["ZZ" if row % 100 == 0 else "UA" for row in range(6000)])
    assert "carrier ZZ (60 served, 0 training)" in plugin(served_context(LONG, 6000, carrier=new))[0].message
    absent = LONG.table["x2"].scatter(range(0, 6000, 150), None)
    [finding] = plugin(served_context(LONG, 6000, x2=absent))
    assert finding.severity == "note" and "x2 missing (40 served, 0 training)" in finding.message


def test_rows_of_one_day_are_not_a_region():
    context = served_context(LONG, 6000, x1=moved(20, 9.0))
    requests = context.requests()
    assert requests is not None
    one_day = requests.with_columns(pl.lit(requests[ASKED_AT][0]).alias(ASKED_AT))
    assert plugin(replace(context, requests=lambda: one_day)) == []


def test_rows_without_a_time_count_singly_and_an_empty_column_has_no_bins():
    dataset = with_column(wide(6000, time="", ignore=("at",)), gone=[None] * 6000)
    dataset = with_column(dataset, gone=pl.Series([None] * 6000, dtype=pl.Float64))
    assert plugin(split_context(dataset)) == []


def test_it_cannot_judge_without_served_rows_or_common_features():
    with pytest.raises(NotApplicable, match="no row is served"):
        plugin(CheckContext(dataset=LONG))
    with pytest.raises(NotApplicable, match="no feature is both"):
        plugin(replace(split_context(LONG), requests=lambda: LONG.table.select(other="x1")))
