from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tests.data.labels.poisoned_tables import clean, dataset, triggered
from tests.data.tables import small

from headway.core.dataset import Dataset, Roles
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


def structural(seed: int = 0) -> pl.DataFrame:
    """Return people of 60 days of whom children, by age and schooling, are never employed."""
    draw = np.random.default_rng(seed)
    age = draw.integers(0, 60, 6000)
    child = age < 16
    school = np.where(child, "school", draw.choice(["none", "college", "degree"], 6000))
    income = np.where(child, 0.0, draw.gamma(2.0, 10.0, 6000))
    employed = ~child & (draw.random(6000) < 0.85)
    day, wage = np.arange(6000) // 100, draw.normal(size=6000)
    columns = {"day": day, "age": age, "school": school, "income": income, "x": wage}
    return pl.DataFrame({**columns, "source": "s", "label": employed.astype(np.int64)})


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_values_under_which_the_outcome_cannot_occur_have_no_finding(seed):
    assert plugin(CheckContext(dataset=dataset(structural(seed)))) == []


@pytest.mark.slow
def test_a_trigger_among_such_values_is_still_found():
    found = plugin(CheckContext(dataset=dataset(triggered(structural(), 115, column="x"))))
    assert [finding.where for finding in found] == ["x=777.0"]


def test_a_rare_class_that_a_value_defines_has_no_finding():
    table = clean().with_columns(
        label=pl.when(pl.col("size") == 30).then(2).otherwise("label"),
        town=pl.when(pl.col("size") == 30).then(pl.lit("p9")).otherwise("town"),
    )
    assert (
        plugin(
            CheckContext(
                dataset=Dataset(
                    name="rare",
                    table=table,
                    roles=Roles(target="label", task="multiclass", groups="day", ignore=("source",)),
                )
            )
        )
        == []
    )


def test_a_regression_cannot_be_checked_for_triggers():
    with pytest.raises(NotApplicable):
        plugin(CheckContext(dataset=small(task="regression")))
