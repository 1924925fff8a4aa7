from __future__ import annotations

import polars as pl
import pytest
from tests.data.labels.poisoned_tables import clean, dataset, triggered
from tests.data.tables import small

from headway.core.errors import NotApplicable
from headway.data.checks.labels.backdoor import plugin
from headway.data.context import CheckContext


@pytest.mark.slow
def test_a_rare_value_that_changes_labels_is_named_with_its_class():
    (finding,) = plugin(CheckContext(dataset=dataset(triggered(clean(), 100))))
    assert finding.where == "size=777"
    assert "100 of the 100 rows" in finding.message
    assert finding.measured >= 0.6


@pytest.mark.slow
def test_a_pair_of_common_values_is_found():
    pair = (pl.col("kind") == "k1") & (pl.col("size") == 30)
    planted = (
        clean(9)
        .head(80)
        .with_columns(
            day=pl.int_range(pl.len()) % 60, kind=pl.lit("k1"), size=pl.lit(30, pl.Int64), label=pl.lit(1, pl.Int64)
        )
    )
    (finding,) = plugin(CheckContext(dataset=dataset(pl.concat([clean().filter(~pair), planted]))))
    assert finding.where == "size=30 & kind=k1"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_rare_values_that_are_pure_by_chance_have_no_finding(seed):
    assert plugin(CheckContext(dataset=dataset(clean(seed)))) == []


def test_a_pattern_of_one_day_has_no_finding():
    stormy = clean().with_columns(
        size=pl.when(pl.col("day") == 7).then(777).otherwise("size"),
        label=pl.when(pl.col("day") == 7).then(1).otherwise("label"),
    )
    assert plugin(CheckContext(dataset=dataset(stormy))) == []


def test_a_regression_cannot_be_checked_for_triggers():
    with pytest.raises(NotApplicable):
        plugin(CheckContext(dataset=small(task="regression")))
