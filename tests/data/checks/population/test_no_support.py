from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.data.tables import served, surveyed, wide, with_column

from headway.core.dataset import ASKED_AT
from headway.core.errors import NotApplicable
from headway.data.checks.population.no_support import plugin
from headway.data.context import CheckContext

LONG = wide(6000)


def moved(rows: int, by: float) -> pl.Series:
    """The second number, in every so many rows beyond all that was learned from."""
    far = np.arange(6000) % rows == 0
    return LONG.table["x1"] + pl.Series(np.where(far, by, 0.0))


def test_rows_as_they_were_learned_from_are_no_finding():
    assert plugin(served(LONG, 6000)) == []
    assert plugin(surveyed(LONG)) == []


def test_values_beyond_all_that_was_learned_from_are_a_warning_with_place_and_count():
    [finding] = plugin(served(LONG, 6000, x1=moved(20, 9.0)))

    assert (finding.severity, finding.where, finding.measured) == ("warn", "requests", 0.05)
    assert "300 of 6,000 rows of requests (5.0%)" in finding.message
    assert "x1 above 3." in finding.message and "(300 served, 0 training)" in finding.message


def test_two_values_that_were_never_seen_together_are_named_as_a_pair():
    apart = pl.when(pl.col("x0") > 0).then(pl.lit("UA")).otherwise(pl.lit("B6"))
    dataset = with_column(LONG, carrier=LONG.table.select(apart).to_series())
    mixed = pl.Series(["UA", "B6"] * 3000)
    [finding] = plugin(served(dataset, 6000, carrier=mixed))

    assert finding.severity == "warn" and finding.measured is not None and finding.measured > 0.4
    assert "x0" in finding.message and " and carrier " in finding.message and "0 training" in finding.message


def test_a_text_that_came_new_or_a_value_that_is_missing_is_a_region():
    new = pl.Series(["ZZ" if row % 100 == 0 else "UA" for row in range(6000)])
    assert "carrier ZZ (60 served, 0 training)" in plugin(served(LONG, 6000, carrier=new))[0].message
    absent = LONG.table["x2"].scatter(range(0, 6000, 150), None)
    [finding] = plugin(served(LONG, 6000, x2=absent))
    assert finding.severity == "note" and "x2 missing (40 served, 0 training)" in finding.message


def test_rows_of_one_storm_alone_are_no_region():
    context = served(LONG, 6000, x1=moved(20, 9.0))
    asked = context.requests()
    assert asked is not None
    one_day = asked.with_columns(pl.lit(asked[ASKED_AT][0]).alias(ASKED_AT))
    assert plugin(replace(context, requests=lambda: one_day)) == []


def test_rows_without_a_time_count_each_by_itself_and_an_empty_column_has_no_bins():
    dataset = with_column(wide(6000, time="", ignore=("at",)), gone=[None] * 6000)
    dataset = with_column(dataset, gone=pl.Series([None] * 6000, dtype=pl.Float64))
    assert plugin(surveyed(dataset)) == []


def test_without_served_rows_or_features_of_both_it_cannot_judge():
    with pytest.raises(NotApplicable, match="no row is served"):
        plugin(CheckContext(dataset=LONG))
    with pytest.raises(NotApplicable, match="no feature is both"):
        plugin(replace(surveyed(LONG), requests=lambda: LONG.table.select(other="x1")))
