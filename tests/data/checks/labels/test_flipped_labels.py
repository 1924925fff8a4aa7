from __future__ import annotations

import polars as pl
import pytest
from tests.data.labels.poisoned_tables import clean, dataset, flipped
from tests.data.tables import small

from headway.core.errors import NotApplicable
from headway.data.checks.labels.flipped_labels import plugin
from headway.data.context import CheckContext


@pytest.mark.slow
def test_a_cell_with_flipped_labels_is_named_with_a_bound():
    cell = (pl.col("kind") == "k0") & (pl.col("town") == "p3")
    (finding,) = plugin(CheckContext(dataset=dataset(flipped(clean(), cell))))
    assert finding.where == "kind=k0 & town=p3"
    assert 0.3 <= finding.measured <= 1
    assert f"{len(clean().filter(cell)):,} rows" in finding.message


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_correct_labels_have_no_finding(seed):
    assert plugin(CheckContext(dataset=dataset(clean(seed)))) == []


@pytest.mark.slow
def test_an_unusual_day_has_no_finding():
    assert plugin(CheckContext(dataset=dataset(flipped(clean(), pl.col("day") == 7)))) == []


def test_a_regression_cannot_be_checked_for_flipped_labels():
    with pytest.raises(NotApplicable):
        plugin(CheckContext(dataset=small(task="regression")))
